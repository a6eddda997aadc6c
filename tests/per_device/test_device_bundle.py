# SPDX-License-Identifier: Apache-2.0
"""The bundle that boards share holds no key of theirs; the one of a board is like any other, and right."""

from __future__ import annotations

import importlib.resources
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from board_runs import template
from click.testing import Result
from support.typed_documents import data_of

from secure_ext.bundle.read import FinishedBundle, has_passed_rehearsal, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.documents.manifest import ManifestImage
from secure_ext.errors import InputError
from secure_ext.per_device.board import _record
from secure_ext.per_device.device_bundle import write_device_bundle
from secure_ext.per_device.device_keys import new_keys, own_steps
from secure_ext.per_device.throw_away import bundle_of_a_board
from secure_ext.policy.profile import Profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions


def schema(package: str, name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((importlib.resources.files(package) / name).read_text()))


@pytest.fixture(
    scope="module", params=["esp32s3", *(pytest.param(chip, marks=pytest.mark.long) for chip in ("esp32", "esp32c2"))]
)
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path]
) -> FinishedBundle:
    """The shared bundle of a chip; it must not be changed."""
    chip = request.param
    key = signing_keys["ecdsa256" if chip == "esp32c2" else "rsa_0"]
    return template(tmp_path_factory.mktemp(chip), chip, key)


def test_the_shared_bundle_says_what_it_is(shared: FinishedBundle) -> None:
    """Plaintext that is marked as such, no key and no fingerprint, by the schemas."""
    schema("secure_ext.documents", "manifest.schema.json").validate(data_of(shared.manifest))
    schema("secure_ext.documents", "plan.schema.json").validate(data_of(shared.plan))
    own = set(shared.own_roles)
    assert own and not (shared.folder / "keys").exists()
    keys = [(key.role, key.fingerprint) for key in shared.manifest.keys]
    for role, found in (*keys, *((key.role, key.fingerprint) for key in own_steps(shared.plan, sorted(own)))):
        assert (found is None) == (role in own)
    assert shared.has_per_device_keys
    for image in shared.manifest.images:
        assert (image.encrypted, image.encrypt_per_device) == (False, True)
    app = (shared.folder / "images" / "sample.bin").read_bytes()
    assert app.startswith((shared.folder.parent / "project" / "build" / "sample.bin").read_bytes())
    assert not list(shared.folder.glob("commands.*"))


def test_its_script_sends_to_the_command(shared: FinishedBundle) -> None:
    done = subprocess.run(
        [sys.executable, str(shared.script), "--port", "x", "--yes"], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, "secure-provision flash BUNDLE --port PORT" in done.stderr) == (2, True)


def test_the_bundle_of_a_board_is_like_any_other(shared: FinishedBundle) -> None:
    """By its schemas, with keys that fit their fingerprints, and images that espsecure decrypts to the shared ones."""
    with bundle_of_a_board(shared) as made:
        schema("secure_ext.documents", "manifest.schema.json").validate(data_of(made.manifest))
        schema("secure_ext.documents", "plan.schema.json").validate(data_of(made.plan))
        again = read_bundle(made.folder)
        assert (again.manifest, again.plan) == (made.manifest, made.plan)
        assert not made.has_per_device_keys
        for image in made.manifest.images:
            assert (image.encrypted, image.encrypt_per_device) == (True, False)
            decrypted = espsecure_decrypts(made, image, made.folder.parent / "plain")
            assert decrypted.startswith((shared.folder / image.file).read_bytes())
    assert not made.folder.parent.exists()


def espsecure_decrypts(bundle: FinishedBundle, image: ManifestImage, output: Path) -> bytes:
    """What espsecure makes of an image with the key in the bundle's folder."""
    halves = [bundle.folder / "keys" / f"flash_encryption_key_half_{number}.bin" for number in (1, 2)]
    key = bundle.folder / "keys" / "flash_encryption_key.bin"
    if halves[0].exists():
        key = bundle.folder.parent / "whole.bin"
        key.write_bytes(b"".join(half.read_bytes() for half in halves))
    words = [sys.executable, "-m", "espsecure", "decrypt-flash-data", "--keyfile", str(key), "--output", str(output)]
    words += ["--address", str(image.offset)]
    words += [] if bundle.plan.chip == "esp32" else ["--aes-xts"]
    done = subprocess.run([*words, str(bundle.folder / image.file)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return output.read_bytes()


def test_what_is_on_the_chip_already_is_taken_over(shared: FinishedBundle, tmp_path: Path) -> None:
    """With a hidden flash encryption key nothing can be encrypted again: images and fingerprint are the record's."""
    own = own_steps(shared.plan, shared.own_roles)
    begun = write_device_bundle(shared, new_keys(own), tmp_path / "record", tmp_path / "keys-1")
    hmac = [step for step in own if step.role == "nvs_hmac_key"]
    made = write_device_bundle(shared, new_keys(hmac), tmp_path / "record", tmp_path / "keys-2", begun)
    assert [image.sha256 for image in made.plan.images] == [image.sha256 for image in begun.plan.images]
    before = {key.role: key.fingerprint for key in begun.manifest.keys}
    after = {key.role: key.fingerprint for key in made.manifest.keys}
    assert {role for role in before if before[role] != after[role]} == {step.role for step in hmac}
    assert {path.stem for path in (tmp_path / "keys-2").glob("*")} == {step.role for step in hmac}
    assert read_bundle(tmp_path / "record").plan == made.plan


def test_keys_that_boards_share_are_in_the_bundle_of_each(tmp_path: Path, signing_keys: dict[str, Path]) -> None:
    """An NVS HMAC key for all, a flash encryption key for each."""
    bundle = template(tmp_path / "made", "esp32c3", signing_keys["rsa_0"], nvs__key="generate")
    assert bundle.own_roles == ("flash_encryption_key",)
    with bundle_of_a_board(bundle) as made:
        shared_key = (bundle.folder / "keys" / "nvs_hmac_key.bin").read_bytes()
        assert (made.folder / "keys" / "nvs_hmac_key.bin").read_bytes() == shared_key
    (bundle.folder / "keys" / "nvs_hmac_key.bin").unlink()
    with pytest.raises(InputError) as raised, bundle_of_a_board(bundle):
        pass
    assert raised.value.code == "SE731"


def test_made_again_it_keeps_journal_and_sealed_copies(tmp_path: Path, signing_keys: dict[str, Path]) -> None:
    """They are the only way to finish boards that were begun, and to know their keys."""
    build = make_sample_build(
        tmp_path / "project", "esp32c3", options=SampleOptions(flash_encryption="release", secure_boot=True)
    )
    decision = decide(
        build,
        Profile(tmp_path, {"secure_boot.keys": (str(signing_keys["rsa_0"]),), "flash_encryption.key": "per-device"}),
    )
    folder = write_bundle(decision, tmp_path / "bundle", lambda _: None).folder
    for name in ("sealed/0200000000aa.sealed", "journal/boards/0200000000aa/plan.json"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("kept")
    write_bundle(decision, folder, lambda _: None)
    assert (folder / "sealed" / "0200000000aa.sealed").read_text() == "kept"
    assert (folder / "journal" / "boards" / "0200000000aa" / "plan.json").read_text() == "kept"
    assert not any(name.startswith(("sealed", "journal")) for name in read_bundle(folder).manifest.files)


def test_a_key_of_an_earlier_bundle_is_not_lost(tmp_path: Path, signing_keys: dict[str, Path]) -> None:
    """Boards may carry the shared key of a bundle that is made again with keys per device."""
    bundle = template(tmp_path / "made", "esp32c3", signing_keys["rsa_0"], flash_encryption__key="generate")
    key = (bundle.folder / "keys" / "flash_encryption_key.bin").read_bytes()
    shutil.rmtree(tmp_path / "made" / "project")
    (tmp_path / "made" / "private.pem").unlink()
    again = template(tmp_path / "made", "esp32c3", signing_keys["rsa_0"])
    assert [path.read_bytes() for path in (again.folder / "keys").rglob("flash_encryption_key*")] == [key]
    assert not (again.folder / "keys" / "flash_encryption_key.bin").exists()


@pytest.mark.parametrize(("words", "code"), [(("--until", "flash"), "SE851"), (("--flash-is-written",), "SE864")])
def test_the_flash_alone_is_not_written(
    words: tuple[str, ...], code: str, shared: FinishedBundle, run_cli: Callable[..., Result]
) -> None:
    """Nobody would have the key to what is in it."""
    done = run_cli("flash", shared.folder, "--port", "nowhere", *words, "--without-rehearsal")
    assert (done.exit_code, code in done.stderr) == (2, True)


def test_no_board_on_the_port_is_said_as_the_script_says_it(
    shared: FinishedBundle, run_cli: Callable[..., Result]
) -> None:
    done = run_cli("flash", shared.folder, "--port", "/dev/nowhere", "--yes", "--without-rehearsal")
    assert (done.exit_code, "STOP SE810" in done.stdout) == (4, True), done.output
    assert not (shared.folder / "journal").exists()


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    assert _record(tmp_path / "none") is None
    (tmp_path / "record").mkdir()
    with pytest.raises(InputError) as raised:
        _record(tmp_path / "record")
    assert raised.value.code == "SE688"


def test_the_doctor_is_content_with_keys_per_device(tmp_path: Path, signing_keys: dict[str, Path]) -> None:
    build = make_sample_build(tmp_path / "p", "esp32c3", options=SampleOptions(flash_encryption="release"))
    for value, expected in (("generate", True), ("per-device", False)):
        decision = decide(build, Profile(tmp_path, {"flash_encryption.key": value}))
        assert any(finding.code == "SP081" for finding in decision.findings) is expected


@pytest.mark.long
def test_a_rehearsal_of_one_board_counts_for_the_bundle(
    tmp_path: Path, signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    """Throw-away keys, a virtual chip, the boot check; no key of it stays, and `flash` takes the bundle then."""
    bundle = template(tmp_path / "made", "esp32c3", signing_keys["rsa_0"])
    refused = run_cli("flash", bundle.folder, "--port", "/dev/nowhere", "--yes")
    assert (refused.exit_code, "SE732" in refused.stderr) == (2, True)
    done = run_cli("rehearse", bundle.folder, "--format", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["bundle"] == bundle.identity
    assert has_passed_rehearsal(read_bundle(bundle.folder))
    assert not (bundle.folder / "keys").exists()
    taken = run_cli("flash", bundle.folder, "--port", "/dev/nowhere", "--yes")
    assert (taken.exit_code, "STOP SE810" in taken.stdout) == (4, True)
