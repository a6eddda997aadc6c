# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F811 (fixtures)
"""Both NVS schemes through plan and bundle to a provisioned virtual chip; what is kept, what is refused, what leaks."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from nvs_bundles import (  # noqa: F401 (fixtures)
    CA,
    CSV,
    FURTHER,
    HMAC_CHIPS,
    OTHER_CHIPS,
    PASSWORD,
    decided,
    image_of,
    made,
    nvs_keys,
    quick,
)
from support.matrix_tools import esptool_version, provision, read_efuses
from support.release_oracle import Wanted, not_release
from support.typed_documents import data_of

from secure_ext.bundle.nvs_image import check_nvs_image
from secure_ext.bundle.read import read_bundle
from secure_ext.bundle.write import Bundle, write_bundle
from secure_ext.checks import Check, Outcome
from secure_ext.chips.facts import chip_facts
from secure_ext.doctor.decide import Decision
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.flash_encryption import FlashEncryptionScheme, decrypt, flash_encryption_key
from secure_ext.formats.nvs_csv import read_nvs_csv
from secure_ext.formats.nvs_keys import generate_nvs_keys, load_nvs_keys
from secure_ext.formats.secure_boot import public_key_digest
from secure_ext.keys.signing import load_signing_key
from secure_ext.plan.recipe import NvsFromCsv, NvsKeysImage
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand, verify_bundle
from secure_ext.sample.options import SampleOptions, partitions_of


@pytest.mark.parametrize("chip", quick(HMAC_CHIPS, "esp32c3", "esp32s31"))
def test_the_image_is_readable_with_the_keys_derived_from_the_hmac_key(
    chip: str, made: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = made(chip)
    image, content = image_of(bundle, "nvs")
    check_nvs_image(content, read_nvs_csv(tmp_path / "nvs.csv"), nvs_keys(bundle))
    assert (image.size, image.encrypted, image.recipe) == (0x6000, False, "nvs-csv")
    key = next(key for key in bundle.manifest.keys if key.role == "nvs_hmac_key")
    assert (key.block, key.purpose) == ("BLOCK_KEY4" if chip == "esp32s31" else "BLOCK_KEY5", "HMAC_UP")


@pytest.mark.parametrize("chip", quick(HMAC_CHIPS))
def test_a_chip_is_provisioned_with_everything(
    chip: str, made: Callable[..., Bundle], signing_key_for: Callable[[str], Path], tmp_path: Path
) -> None:
    """Flash encryption, secure boot where the chip has it, the HMAC key read-protected, with its purpose."""
    if chip in ("esp32h21", "esp32s31", "esp32h4") and esptool_version() < (5, 6):
        pytest.skip("this esptool does not know the chip's eFuses")
    bundle = made(chip)
    chip_file = tmp_path / "chip.bin"
    done = provision(bundle.folder, chip_file)
    assert done.exit_code == 0, done.output
    efuses = read_efuses(chip, chip_file)
    block = 4 if chip == "esp32s31" else 5
    assert f"BLOCK_KEY{block}" in efuses.hidden
    assert efuses.words[f"KEY_PURPOSE_{block}"] == "HMAC_UP"
    digest = public_key_digest(load_signing_key(signing_key_for(chip)).verification_key)
    wanted = Wanted(
        min_revision=bundle.plan.min_revision,
        flash_encryption=True,
        digests=(digest,) if chip_facts(chip).schemes else (),
        hmac_block=block,
    )
    assert not_release(chip, efuses, wanted) == []


@pytest.mark.parametrize("nvs", [{"key_id": 3}, {"key_id": None}], ids=["another block", "-1, as in ESP-IDF 6.0"])
def test_a_key_block_that_the_firmware_does_not_use_stops_the_bundle(
    nvs: dict[str, Any], decided: Callable[..., Decision]
) -> None:
    given = {name: value for name, value in nvs.items() if value is not None}
    config = {} if given else {"NVS_SEC_HMAC_EFUSE_KEY_ID": -1}
    with pytest.raises(SecureProvisionError) as caught:
        decided("esp32c3", given, config=config).require_healthy()
    assert caught.value.code == "SE404" and "SP027" in caught.value.cause
    assert "CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID" in caught.value.cure


# ---- the flash encryption scheme


@pytest.mark.parametrize("chip", quick(OTHER_CHIPS, "esp32"))
def test_generated_nvs_keys_lie_flash_encrypted_in_their_partition(
    chip: str, made: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = made(chip)
    image, content = image_of(bundle, "nvs_keys")
    assert (image.size, image.encrypted, image.recipe) == (0x1000, True, "nvs-keys")
    scheme = FlashEncryptionScheme.ESP32 if chip == "esp32" else FlashEncryptionScheme.XTS
    flash_key = flash_encryption_key(scheme, (bundle.folder / "keys" / "flash_encryption_key.bin").read_bytes())
    plaintext = decrypt(content, key=flash_key, flash_offset=image.offset)
    key_file = bundle.folder / "keys" / "nvs_keys.bin"
    assert plaintext == key_file.read_bytes()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    nvs, encrypted = image_of(bundle, "nvs")
    assert not nvs.encrypted, "NVS is encrypted by NVS alone"
    check_nvs_image(encrypted, read_nvs_csv(tmp_path / "nvs.csv"), nvs_keys(bundle))


SCHEME = {"scheme": "flash-encryption"}
BUILT_SO = {"config": {"NVS_SEC_KEY_PROTECT_USING_HMAC": False, "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC": True}}


def test_an_hmac_chip_can_have_the_flash_encryption_scheme(made: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = made("esp32c6", SCHEME, **BUILT_SO)
    assert not [key for key in bundle.manifest.keys if key.role == "nvs_hmac_key"]
    keys = load_nvs_keys(bundle.folder / "keys" / "nvs_keys.bin")
    check_nvs_image(image_of(bundle, "nvs")[1], read_nvs_csv(tmp_path / "nvs.csv"), keys)


def test_a_file_of_keys_is_used(made: Callable[..., Bundle], tmp_path: Path) -> None:
    keys = generate_nvs_keys()
    (tmp_path / "mine.bin").write_bytes(keys.image())
    bundle = made("esp32", {"key": "mine.bin"})
    check_nvs_image(image_of(bundle, "nvs")[1], read_nvs_csv(tmp_path / "nvs.csv"), keys)


@pytest.mark.parametrize("nvs", [{"images": {}}, {"images": {}, "key": "device"}])
def test_without_values_the_keys_are_left_to_the_device(nvs: dict[str, Any], decided: Callable[..., Decision]) -> None:
    decision = decided("esp32", nvs)
    assert "nvs_keys" not in [image.partition for image in decision.images]
    assert "nvs_keys" in [blank.partition.label for blank in decision.blanks]
    decision.require_healthy()


def test_keys_without_values(made: Callable[..., Bundle]) -> None:
    bundle = made("esp32", {"images": {}, "key": "generate"})
    assert image_of(bundle, "nvs_keys")[0].recipe == "nvs-keys"


def test_keys_of_the_device_and_values_from_here_do_not_go_together(decided: Callable[..., Decision]) -> None:
    with pytest.raises(SecureProvisionError) as caught:
        decided("esp32", {"key": "device"}).require_healthy()
    assert "SP092" in caught.value.cause


@pytest.mark.parametrize("chip", quick(["esp32", "esp32c3"]))
def test_the_rehearsal_passes(
    chip: str, made: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script writes the NVS images, and the boot check finds them as they are to be."""
    outcome = rehearse_bundle(read_bundle(made(chip).folder), lambda _: None)
    assert outcome.passed, (outcome.means, outcome.script_output)
    assert any("nvs at 0xd000, plain" in line for line in outcome.boot_log)


# ---- both


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_made_again_keeps_the_keys_and_saves_those_not_used_any_more(
    chip: str, decided: Callable[..., Decision], tmp_path: Path
) -> None:
    name = "nvs_keys" if chip == "esp32" else "nvs_hmac_key"
    first = write_bundle(decided(chip), tmp_path / "bundle", lambda _: None)
    keys = (first.folder / "keys" / f"{name}.bin").read_bytes()
    image = image_of(first, "nvs")[1]
    again = write_bundle(decided(chip), tmp_path / "bundle", lambda _: None)
    assert (again.folder / "keys" / f"{name}.bin").read_bytes() == keys
    assert image_of(again, "nvs")[1] == image
    new = generate_nvs_keys().image() if chip == "esp32" else os.urandom(32)
    (tmp_path / "new.bin").write_bytes(new)
    other = write_bundle(decided(chip, {"key": "new.bin"}), tmp_path / "bundle", lambda _: None)
    assert (other.folder / "keys" / f"{name}.bin").read_bytes() == new
    saved = list((other.folder / "keys" / "superseded").iterdir())
    assert [path.read_bytes() for path in saved] == [keys]
    assert saved[0].name.startswith(name)


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_several_partitions(chip: str, made: Callable[..., Bundle], tmp_path: Path) -> None:
    """Each its own CSV and size, a small one read-only, all with the same keys."""
    (tmp_path / "serial.csv").write_text("key,type,encoding,value\nid,namespace,,\nsn,data,u32,7\n")
    images = {"nvs": "nvs.csv", "factory": "nvs.csv", "serial": "serial.csv"}
    rows = (*partitions_of(SampleOptions()), *FURTHER)
    bundle = made(chip, {"images": images}, partitions=rows)
    keys = nvs_keys(bundle)
    for label, size in (("nvs", 0x6000), ("factory", 0x4000), ("serial", 0x1000)):
        image, content = image_of(bundle, label)
        assert (image.size, len(content)) == (size, size)
        check_nvs_image(content, read_nvs_csv(tmp_path / images[label]), keys)


def test_with_nvs_encryption_off_the_image_is_plain(made: Callable[..., Bundle], tmp_path: Path) -> None:
    config = {"NVS_ENCRYPTION": False, "NVS_SEC_KEY_PROTECT_USING_HMAC": False}
    bundle = made("esp32c3", {"scheme": "off"}, config=config)
    content = image_of(bundle, "nvs")[1]
    check_nvs_image(content, read_nvs_csv(tmp_path / "nvs.csv"), None)
    assert PASSWORD.encode() in content


def test_the_plan_shows_the_image_with_its_final_size_and_no_value(
    decided: Callable[..., Decision], run_cli: Callable[..., Result], tmp_path: Path
) -> None:
    decision = decided("esp32")
    by_label = {image.partition: image for image in decision.images}
    assert by_label["nvs"].final_size == 0x6000
    assert by_label["nvs_keys"].final_size == 0x1000
    assert isinstance(by_label["nvs"].recipe, NvsFromCsv) and isinstance(by_label["nvs_keys"].recipe, NvsKeysImage)
    assert by_label["nvs"].recipe.inputs == (tmp_path / "nvs.csv", tmp_path / "ca.bin")
    assert PASSWORD not in repr(decision)


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_nothing_secret_is_left_anywhere(
    chip: str,
    made: Callable[..., Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No value of the CSV and no NVS key: not in the bundle beside keys/, not in temporary files, not printed."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    bundle = made(chip)
    keys = nvs_keys(bundle)
    secrets = [PASSWORD.encode(), CA[:32], keys.data[:32], keys.data[32:]]
    secrets += [secret.hex().encode() for secret in secrets]
    public = [path for path in bundle.folder.rglob("*") if path.is_file() and path.parent.name != "keys"]
    assert len(public) > 8
    for path in public:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], path
    assert list(temporary.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    image = image_of(bundle, "nvs")[0]
    schema = json.loads((resources.files("secure_ext.documents") / "manifest.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data_of(bundle.manifest))
    assert (image.source, image.source_sha256) == ("nvs.csv", None)
    assert hashlib.sha256(CSV.encode()).hexdigest() not in json.dumps(data_of(bundle.manifest))
    proof = next(check for check in bundle.manifest.checks if check.image == "nvs")
    assert proof.name == "holds the values of the CSV" and proof.evidence.startswith("3 values")


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "key_file"),
    [
        pytest.param({}, "nvs_hmac_key.bin", id="hmac"),
        pytest.param({"nvs": SCHEME, **BUILT_SO}, "flash_encryption_key.bin", id="flash-encryption"),
    ],
)
def test_verify_reads_the_values_if_the_keys_are_at_hand(
    options: dict[str, Any], key_file: str, made: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = made("esp32c3", **options)
    at_hand = AtHand(BuildAtHand(tmp_path, None))

    def outcome() -> tuple[Outcome, list[Check]]:
        checks = verify_bundle(bundle.folder, at_hand)
        failures = [check for check in checks if check.outcome is Outcome.FAILED and check.name != "file-missing"]
        return next(check.outcome for check in checks if check.name == "image-nvs"), failures

    assert outcome() == (Outcome.PASSED, [])
    image, content = image_of(bundle, "nvs")
    key = bundle.folder / "keys" / key_file
    right = key.read_bytes()
    key.unlink()
    assert outcome()[0] is Outcome.NOT_VERIFIABLE
    key.write_bytes(right)
    (bundle.folder / image.file).write_bytes(content[:64] + bytes(32) + content[96:])
    assert outcome()[0] is Outcome.FAILED
