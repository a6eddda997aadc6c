# SPDX-License-Identifier: Apache-2.0
"""What an identity belongs to: which profiles, bundles, CAs and records are refused, and what goes with which key."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from cryptography.hazmat.primitives.asymmetric import rsa
from identity_runs import identity_bundle, read_partition
from support.authority import IDENTITY_ROW, with_identity_row, write_authority

from secure_ext.build.build import read_build
from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.checks import Outcome
from secure_ext.errors import SecureProvisionError
from secure_ext.field.cable.prepare import prepare
from secure_ext.field.cable.wish import CableWish
from secure_ext.field.fleet_signatures import Wanted
from secure_ext.field.ota.fleet import read_fleet
from secure_ext.formats.digital_signature import encrypt_rsa_key
from secure_ext.formats.flash_encryption import decrypt
from secure_ext.keys.secret_source import NO_SECRETS
from secure_ext.per_device.device_bundle import write_device_bundle
from secure_ext.per_device.device_keys import DeviceKeys, new_keys, own_steps
from secure_ext.per_device.identity_choice import identity_of_board
from secure_ext.per_device.identity_record import keep_certificate
from secure_ext.per_device.throw_away import bundle_of_a_board
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand, verify_bundle
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions
from secure_ext.sign.signers import open_signer

MAC, OTHER = "0200000000e1", "0200000000e2"
IDENTITY = "extra_key_0"
FLASH = "flash_encryption_key"
SECURE = SampleOptions(flash_encryption="release", secure_boot=True)


@pytest.fixture(scope="module", name="bundle")
def make_bundle(tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path]) -> FinishedBundle:
    """The shared bundle of an ESP32-C3 with RSA; it must not be changed. Its CA lies beside it."""
    return identity_bundle(tmp_path_factory.mktemp("c3"), "esp32c3", signing_keys["rsa_0"], "rsa2048")


@pytest.fixture(name="keys")
def make_keys(bundle: FinishedBundle) -> DeviceKeys:
    return new_keys(own_steps(bundle.plan, bundle.own_roles))


def board(
    bundle: FinishedBundle, folder: Path, keys: DeviceKeys, begun: FinishedBundle | None = None, mac: str = MAC
) -> FinishedBundle:
    """The bundle of a board, as `flash` makes it, in place of the record that was begun."""
    made = identity_of_board(bundle, begun, keys, mac, str(bundle.folder.parent / "ca_key.pem"), NO_SECRETS)
    private = folder.parent / f"keys-{len(list(folder.parent.iterdir()))}"
    write_device_bundle(bundle, keys, folder, private, begun, identity=made)
    return read_bundle(folder)


def plain(made: FinishedBundle, keys: DeviceKeys) -> bytes:
    """The partition as the chip reads it."""
    key = keys.cipher_key(made.plan.chip)
    assert key is not None
    return decrypt((made.folder / "images/esp_secure_cert.bin").read_bytes(), key=key, flash_offset=IDENTITY_ROW.offset)


def only(keys: DeviceKeys, role: str) -> DeviceKeys:
    return DeviceKeys({role: keys.burned[role]})


@pytest.mark.parametrize(
    ("chip", "identity", "code", "said"),
    [
        ("esp32", {"key": "rsa2048"}, "SE450", "it has neither"),
        ("esp32c2", {"key": "ecdsa256"}, "SE450", "it has neither"),
        ("esp32c3", {"key": "rsa4096"}, "SE450", "take one of: rsa2048, rsa3072"),
        ("esp32c3", {"key": "ecdsa256"}, "SE450", "take one of: rsa2048, rsa3072"),
        ("esp32c61", {"key": "rsa2048"}, "SE450", "take one of: ecdsa256"),
        ("esp32c3", {}, "SE451", "the kind of key"),
        ("esp32c3", {"key": "rsa2048", "ca": None}, "SE451", "the certificate of the CA"),
        ("esp32c3", {"key": "rsa2048", "subject": "CN=board"}, "SE451", "the same for all boards"),
        ("esp32c3", {"key": "rsa2048", "subject": "CN={mac},OU={}"}, "SE451", "a place for nothing"),
        ("esp32c3", {"key": "rsa2048", "subject": "CN={mac},board"}, "SE451", "RFC 4514"),
        ("esp32c3", {"key": "rsa2048", "ca": "none.pem"}, "SE452", "No such file"),
        ("esp32c3", {"key": "rsa2048", "ca": "ca_key.pem"}, "SE452", "no certificate in PEM"),
        ("esp32c3", {"key": "rsa2048"}, "SE453", "there is none"),
    ],
)
def test_profiles_that_are_refused(  # noqa: PLR0917 (fixtures)
    chip: str,
    identity: dict[str, str | None],
    code: str,
    said: str,
    sample_project: Callable[[str], Path],
    tmp_path: Path,
    run_cli: Callable[..., Result],
) -> None:
    write_authority(tmp_path)
    values = {name: value for name, value in {"ca": "ca.pem", **identity}.items() if value is not None}
    (tmp_path / "profile.yaml").write_text(json.dumps({"schema": 1, "identity": values}), encoding="utf-8")
    done = run_cli("plan", "-B", sample_project(chip) / "build", "--profile", tmp_path / "profile.yaml")
    assert done.exit_code in {2, 3} and code in done.stderr and said in done.stderr, done.output


def test_a_partition_of_another_type(
    new_build: Callable[..., Path], tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    write_authority(tmp_path)
    options = replace(SECURE, partitions=with_identity_row(replace(IDENTITY_ROW, type=1)))
    (tmp_path / "profile.yaml").write_text("{schema: 1, identity: {key: rsa2048, ca: ca.pem}}", encoding="utf-8")
    done = run_cli("plan", "-B", new_build(options=options), "--profile", tmp_path / "profile.yaml")
    assert "SE453" in done.stderr and "it is of type data" in done.stderr, done.output


@pytest.mark.long
def test_a_rehearsal_needs_no_ca(bundle: FinishedBundle) -> None:
    """Its certificate is of somebody whom nobody trusts."""
    with bundle_of_a_board(bundle) as one:
        found = read_partition((one.folder / "identity.bin").read_bytes() + b"\xff" * 4)
        real = (bundle.folder / "identity_ca.pem").read_bytes()
        assert found.chain not in real
        assert rehearse_bundle(one, lambda _: None).passed


def test_the_bundles_of_boards(bundle: FinishedBundle, keys: DeviceKeys, tmp_path: Path) -> None:
    """What all boards share holds no identity; what a board has is encrypted, and its plaintext shows no key."""
    shared = (bundle.folder / "images/esp_secure_cert.bin").read_bytes()
    assert shared == b"\xff" * IDENTITY_ROW.size
    made = board(bundle, tmp_path / "record", keys)
    content = (made.folder / "identity.bin").read_bytes()
    assert plain(made, keys) == content.ljust(IDENTITY_ROW.size, b"\xff")
    assert keys.burned[IDENTITY] not in content and b"PRIVATE" not in content
    assert stat.S_IMODE((made.folder / "identity.bin").stat().st_mode) & 0o077 == 0o044
    (image,) = (image for image in made.manifest.images if image.recipe == "identity")
    assert image.source_sha256 == hashlib.sha256(plain(made, keys)).hexdigest()


def test_key_and_certificate_stay_together(bundle: FinishedBundle, keys: DeviceKeys, tmp_path: Path) -> None:
    """A burned key keeps its identity, whatever else is made anew; a new key has a new one."""
    begun = board(bundle, tmp_path / "record", keys)
    first = plain(begun, keys)
    new = new_keys(own_steps(bundle.plan, bundle.own_roles))
    again = board(bundle, tmp_path / "record", only(new, FLASH), begun)
    assert plain(again, new) == first, "hidden"
    both = DeviceKeys({FLASH: keys.burned[FLASH], IDENTITY: keys.burned[IDENTITY]})
    assert plain(board(bundle, tmp_path / "record", both, again), keys) == first, "readable"
    assert plain(board(bundle, tmp_path / "record", new, again), new) != first, "neither was burned"


def test_an_identity_that_nobody_can_encrypt(bundle: FinishedBundle, keys: DeviceKeys, tmp_path: Path) -> None:
    begun = board(bundle, tmp_path / "record", keys)
    new = new_keys(own_steps(bundle.plan, (IDENTITY,)))
    with pytest.raises(SecureProvisionError) as caught:
        board(bundle, tmp_path / "record", new, begun)
    assert caught.value.code == "SE455"
    assert read_bundle(begun.folder).plan == begun.plan, "the record is as it was"


def test_the_identity_of_another_board_in_the_record(bundle: FinishedBundle, keys: DeviceKeys, tmp_path: Path) -> None:
    """Somebody may have written there: what is taken over is this board's, and the CA's."""
    begun = board(bundle, tmp_path / "record", keys, mac=OTHER)
    flash = only(new_keys(own_steps(bundle.plan, bundle.own_roles)), FLASH)
    for change in (lambda content: content, lambda content: content[:-1], lambda _: b""):
        path = begun.folder / "identity.bin"
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(SecureProvisionError) as caught:
            board(bundle, tmp_path / "record", flash, begun)
        assert caught.value.code == "SE457"


def test_a_ca_that_does_not_live_long_enough(bundle: FinishedBundle, keys: DeviceKeys, tmp_path: Path) -> None:
    """The doctor has looked when the bundle was made; years may have passed."""
    device = bundle.manifest.per_device
    assert device is not None and device.identity is not None
    later = replace(device, identity=replace(device.identity, days=9001))
    with pytest.raises(SecureProvisionError) as caught:
        board(replace(bundle, manifest=replace(bundle.manifest, per_device=later)), tmp_path / "record", keys)
    assert caught.value.code == "SE456"


def test_other_certificates_in_the_bundle(keys: DeviceKeys, tmp_path: Path, signing_keys: dict[str, Path]) -> None:
    bundle = identity_bundle(tmp_path, "esp32c3", signing_keys["rsa_0"], "rsa2048")
    write_authority(tmp_path, intermediates=1)
    (bundle.folder / "identity_ca.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    with pytest.raises(SecureProvisionError) as caught:
        board(bundle, tmp_path / "record", keys)
    assert caught.value.code == "SE731"
    checks = verify_bundle(bundle.folder, AtHand(BuildAtHand(tmp_path / "none", None)))
    assert {check.name for check in checks if check.outcome is Outcome.FAILED} == {"file-hash", "board-identity"}


def test_a_ciphertext_that_holds_another_key(
    bundle: FinishedBundle, keys: DeviceKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the maker is seen before the board is touched."""
    other = rsa.generate_private_key(65537, 2048)
    monkeypatch.setattr(
        "secure_ext.per_device.identity.encrypt_rsa_key", lambda _, *more: encrypt_rsa_key(other, *more)
    )
    with pytest.raises(SecureProvisionError) as caught:
        board(bundle, tmp_path / "record", keys)
    assert caught.value.code == "SE459"


def test_a_journal_that_cannot_be_written(bundle: FinishedBundle, keys: DeviceKeys, tmp_path: Path) -> None:
    made = identity_of_board(bundle, None, keys, MAC, str(bundle.folder.parent / "ca_key.pem"), NO_SECRETS)
    assert made is not None
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(SecureProvisionError) as caught:
        keep_certificate(tmp_path / "journal", MAC, "project", made.certificate)
    assert caught.value.code == "SE458"


def test_no_update_writes_an_identity(tmp_path: Path, signing_keys: dict[str, Path]) -> None:
    """The new build has an image for the partition all the same."""
    fleet = identity_bundle(tmp_path, "esp32c3", signing_keys["rsa_0"], "rsa2048", flash_key="generate").folder
    data = {"esp_secure_cert": b"for all boards", "storage": b"new"}
    options = replace(SECURE, app_size=20_000, partitions=with_identity_row(), data_images=data)
    build = read_build(make_sample_build(tmp_path / "new", "esp32c3", options=options))
    everything = CableWish(Wanted((open_signer(str(signing_keys["rsa_0"]), NO_SECRETS, 1, place=""),)), everything=True)
    made = prepare(build, read_fleet(fleet, None), fleet, everything, None)
    assert [piece.name for piece in made.data] == ["storage"]
    with pytest.raises(SecureProvisionError, match="SE979"):
        prepare(build, read_fleet(fleet, None), fleet, replace(everything, only=("esp_secure_cert",)), None)
