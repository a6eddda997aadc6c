# SPDX-License-Identifier: Apache-2.0
"""Update packages: what espsecure says of them, and everything that is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from support.matrix_tools import esptool_version

from secure_ext.bundle.archive import write_archive
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.app_description import read_app_description
from secure_ext.formats.image import parse_image
from secure_ext.formats.partition_table import TYPE_APP, TYPE_DATA, Partition
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

SECURE = SampleOptions(flash_encryption="release", secure_boot=True)
DASH = "-" if esptool_version() >= (5, 0) else "_"


@dataclass(frozen=True)
class World:
    """A fleet with its build, the signing keys, and the command line."""

    build: Path
    fleet: Path
    keys: dict[str, Path]
    run: Callable[..., Result]
    folder: Path

    def ota(self, *options: object, fleet: Path | None = None, build: Path | None = None) -> Result:
        line = ("-B", build or self.build, "--fleet", fleet or self.fleet, "-o", self.folder / "update")
        return self.run("ota", *line, *options)

    def make_build(self, chip: str = "esp32c3", options: SampleOptions = SECURE) -> Path:
        return make_sample_build(self.folder / "other", chip, options=options)


@pytest.fixture(scope="session")
def fleets(
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """The bundle that the boards of a chip were made with; it must not be changed."""
    made: dict[str, Path] = {}

    def fleet(chip: str) -> Path:
        if chip not in made:
            made[chip] = tmp_path_factory.mktemp("fleet") / chip
            keys = ("rsa_0",) if chip == "esp32" else ("rsa_0", "rsa_1")
            options = [word for name in keys for word in ("--signing-key", signing_keys[name])]
            done = run_cli("bundle", "-B", sample_project(chip) / "build", "-o", made[chip], *options)
            assert done.exit_code == 0, done.output
        return made[chip]

    return fleet


@pytest.fixture
def world(
    fleets: Callable[[str], Path],
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path: Path,
) -> World:
    return World(sample_project("esp32c3") / "build", fleets("esp32c3"), signing_keys, run_cli, tmp_path)


def manifest(world: World) -> dict[str, Any]:
    content = json.loads((world.folder / "update" / "manifest.json").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def espsecure(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "espsecure", *(str(word) for word in words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def decrypted(chip: str, image: Path, key: Path, address: int, to: Path) -> bytes:
    """What espsecure says that a chip would read of `image` at this address."""
    xts = [] if chip == "esp32" else [f"--aes{DASH}xts"]
    line = [*xts, "--keyfile", key, "--address", hex(address), "--output", to, image]
    done = espsecure(f"decrypt{DASH}flash{DASH}data", *line)
    assert done.returncode == 0, done.stdout + done.stderr
    return to.read_bytes()


def is_image(content: bytes) -> bool:
    try:
        parse_image(content, place="")
    except SecureProvisionError:
        return False
    return True


def with_secure_version(image: bytes, version: int) -> bytes:
    """The app with another secure version (one byte), its checksum and hash mended."""
    length = parse_image(image, place="").image_length
    content = bytearray(image)
    content[length - 33] ^= content[0x24] ^ version
    content[0x24] = version
    content[length - 32 : length] = hashlib.sha256(content[: length - 32]).digest()
    return bytes(content)


# ---- what is made


def test_the_plain_app_is_signed_and_nothing_else(world: World) -> None:
    done = world.ota("--signing-key", world.keys["rsa_0"])
    assert done.exit_code == 0, done.output
    update = world.folder / "update"
    assert {path.name for path in update.iterdir()} == {"app.bin", "manifest.json", "README.txt"}
    assert (update / "app.bin").read_bytes().startswith((world.build / "sample.bin").read_bytes())
    line = (f"verify{DASH}signature", "--version", "2", "--keyfile", world.keys["rsa_0"], update / "app.bin")
    assert espsecure(*line).returncode == 0


@pytest.mark.parametrize("chip", [pytest.param("esp32", marks=pytest.mark.long), "esp32c3"])
def test_pre_encrypted_images_decrypt_to_the_app_in_their_slot_alone(
    chip: str, world: World, fleets: Callable[[str], Path], sample_project: Callable[[str], Path]
) -> None:
    fleet, build = fleets(chip), sample_project(chip) / "build"
    done = world.ota("--signing-key", world.keys["rsa_0"], "--pre-encrypted", fleet=fleet, build=build)
    assert done.exit_code == 0, done.output
    update, key = world.folder / "update", fleet / "keys" / "flash_encryption_key.bin"
    app = (update / "app.bin").read_bytes()
    slots = manifest(world)["slots"]
    assert [slot["partition"] for slot in slots] == ["ota_0", "ota_1"]
    readme = (update / "README.txt").read_text()
    for slot in slots:
        image = update / slot["image"]["file"]
        assert hashlib.sha256(image.read_bytes()).hexdigest() == slot["image"]["sha256"]
        assert decrypted(chip, image, key, slot["offset"], world.folder / "plain") == app
        other = next(row for row in slots if row is not slot)
        assert not is_image(decrypted(chip, image, key, other["offset"], world.folder / "plain"))
        assert slot["image"]["file"] in readme
    assert "does not boot there" in readme
    seen = {(check["name"], check["place"]) for check in manifest(world)["checks"]}
    assert {("slot-decrypts", "ota_0"), ("slot-only-there", "ota_0"), ("slot-only-there", "ota_1")} <= seen


def test_the_manifest_keeps_to_its_schema_and_holds_no_key(world: World) -> None:
    schema = json.loads((resources.files("secure_ext.documents") / "update.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert world.ota("--signing-key", world.keys["rsa_0"], "--pre-encrypted").exit_code == 0
    jsonschema.Draft202012Validator(schema).validate(manifest(world))
    secret = (world.fleet / "keys" / "flash_encryption_key.bin").read_bytes()
    for path in (world.folder / "update").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert secret not in content and secret.hex().encode() not in content


def test_a_factory_archive_is_enough_for_the_plain_app(world: World) -> None:
    """Its partition table is encrypted, but it is the build's; its app is too, so its secure version is not known."""
    archive = world.folder / "fleet.zip"
    write_archive(world.fleet, archive)
    done = world.ota("--signing-key", world.keys["rsa_0"], fleet=archive)
    assert done.exit_code == 0, done.output
    assert "not verifiable  app-secure-version" in done.stdout
    key = world.fleet / "keys" / "flash_encryption_key.bin"
    more = ("--pre-encrypted", "--flash-encryption-key", key)
    assert world.ota("--signing-key", world.keys["rsa_0"], *more, fleet=archive).exit_code == 0


def test_an_app_that_the_build_signed_needs_no_key_and_takes_another_signature(world: World, tmp_path: Path) -> None:
    build = world.make_build()
    content = sign((build / "sample.bin").read_bytes(), [load_signing_key(world.keys["rsa_0"])], place="")
    (build / "sample.bin").write_bytes(content)
    assert world.ota(build=build).exit_code == 0
    assert (world.folder / "update" / "app.bin").read_bytes() == content
    assert world.ota("--signing-key", world.keys["rsa_1"], build=build).exit_code == 0
    assert len(manifest(world)["app"]["signed_by"]) == 2


def test_a_fleet_without_security_gets_its_app_as_it_is(world: World) -> None:
    build = make_sample_build(world.folder / "plain", "esp32c3", options=SampleOptions(flash_encryption="release"))
    fleet = world.folder / "fleet"
    assert world.run("bundle", "-B", build, "-o", fleet, "--no-secure-boot").exit_code == 0
    assert world.ota(build=build, fleet=fleet).exit_code == 0
    assert (world.folder / "update" / "app.bin").read_bytes() == (build / "sample.bin").read_bytes()
    refused = world.ota("--signing-key", world.keys["rsa_0"], build=build, fleet=fleet)
    assert (refused.exit_code, "SE765" in refused.stderr) == (2, True)


def test_another_project_is_said(world: World) -> None:
    fleet = world.folder / "fleet"
    shutil.copytree(world.build.parent, world.folder / "project")
    build = world.folder / "project" / "build"
    description = build / "project_description.json"
    description.write_text(description.read_text().replace('"project_name": "sample"', '"project_name": "lamp"'))
    made = world.run("bundle", "-B", build, "-o", fleet, "--signing-key", world.keys["rsa_0"])
    assert made.exit_code == 0, made.output
    done = world.ota("--signing-key", world.keys["rsa_0"], fleet=fleet)
    assert done.exit_code == 0
    assert "not verifiable  app-project" in done.stdout and "'lamp'" in done.stdout


def test_secure_version_is_compared_with_the_fleets_app(world: World) -> None:
    build = world.make_build()
    app = build / "sample.bin"
    app.write_bytes(with_secure_version(app.read_bytes(), 3))
    description = read_app_description(app.read_bytes())
    assert description is not None and description.secure_version == 3
    fleet = world.folder / "fleet"
    made = world.run("bundle", "-B", build, "-o", fleet, "--signing-key", world.keys["rsa_0"])
    assert made.exit_code == 0, made.output
    key = ("--signing-key", world.keys["rsa_0"])
    assert world.ota(*key, build=build, fleet=fleet).exit_code == 0
    older = world.ota(*key, fleet=fleet)
    assert (older.exit_code, "SE758" in older.stderr) == (1, True)


def test_an_update_replaces_an_earlier_one_and_nothing_else(world: World) -> None:
    for options in (("--pre-encrypted",), ()):
        assert world.ota("--signing-key", world.keys["rsa_0"], *options).exit_code == 0
    update = world.folder / "update"
    assert not (update / "pre-encrypted").exists()
    bundle = world.folder / "bundle"
    shutil.copytree(world.fleet, bundle)
    photos = world.folder / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_bytes(b"jpg")
    for output in (bundle, photos):
        line = ("-B", world.build, "--fleet", world.fleet, "--signing-key", world.keys["rsa_0"], "-o", output)
        done = world.run("ota", *line)
        assert (done.exit_code, "SE701" in done.stderr) == (3, True)
    assert (bundle / "keys" / "flash_encryption_key.bin").exists() and (photos / "holiday.jpg").exists()
    over = world.run("bundle", "-B", world.build, "-o", update, "--signing-key", world.keys["rsa_0"])
    assert (over.exit_code, "SE701" in over.stderr) == (3, True)
    assert (update / "app.bin").exists()
    assert not list(world.folder.glob(".*"))


# ---- what is refused


def slot_table(*rows: Partition) -> SampleOptions:
    return SampleOptions(flash_encryption="release", secure_boot=True, partitions=rows)


NVS = Partition("nvs", TYPE_DATA, 0x02, 0xD000, 0x6000)
FACTORY = Partition("factory", TYPE_APP, 0x00, 0x20000, 0x100000)
SMALL = (
    *(NVS, Partition("otadata", TYPE_DATA, 0x00, 0x13000, 0x2000), FACTORY),
    Partition("ota_0", TYPE_APP, 0x10, 0x120000, 0x20000),
)


def fleet_of(world: World, options: SampleOptions) -> Path:
    build = make_sample_build(world.folder / "fleet-project", "esp32c3", options=options)
    made = world.run("bundle", "-B", build, "-o", world.folder / "fleet", "--signing-key", world.keys["rsa_0"])
    assert made.exit_code == 0, made.output
    return world.folder / "fleet"


def without_keys(world: World, fleet: Path) -> Path:
    folder = world.folder / "without-keys"
    shutil.copytree(fleet, folder, ignore=shutil.ignore_patterns("keys"))
    return folder


def damaged_fleet(world: World) -> Result:
    folder = without_keys(world, world.fleet)
    (folder / "images" / "bootloader.bin").write_bytes(b"changed")
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=folder)


def fleet_with_a_damaged_plan(world: World) -> Result:
    folder = without_keys(world, world.fleet)
    (folder / "plan.json").write_text("{}")
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=folder)


def foreign_flash_key(world: World) -> Result:
    key = world.folder / "key.bin"
    key.write_bytes(hashlib.sha256(b"another key").digest())
    return world.ota("--signing-key", world.keys["rsa_0"], "--flash-encryption-key", key)


def other_chip(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], build=world.make_build("esp32c6"))


def later_revision(world: World) -> Result:
    options = SampleOptions(flash_encryption="release", secure_boot=True, min_revision=101)
    return world.ota("--signing-key", world.keys["rsa_0"], build=world.make_build(options=options))


def no_key(world: World) -> Result:
    return world.ota()


def foreign_key(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_2"])


def revoked_key(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_1"], "--revoked-slot", 1)


def signed_by_the_build_with_foreign_keys(world: World) -> Result:
    build = world.make_build()
    keys = [load_signing_key(world.keys[name]) for name in ("rsa_2", "rsa_3")]
    (build / "sample.bin").write_bytes(sign((build / "sample.bin").read_bytes(), keys, place=""))
    return world.ota(build=build)


def signed_by_the_build_with_a_revoked_key(world: World) -> Result:
    build = world.make_build()
    key = load_signing_key(world.keys["rsa_0"])
    (build / "sample.bin").write_bytes(sign((build / "sample.bin").read_bytes(), [key], place=""))
    return world.ota("--revoked-slot", 0, build=build)


def too_old(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], "--least-secure-version", 1)


def too_large(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=fleet_of(world, slot_table(*SMALL)))


def other_table_that_cannot_be_read(world: World) -> Result:
    fleet = without_keys(world, fleet_of(world, slot_table(*SMALL)))
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=fleet)


def no_slots(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=fleet_of(world, slot_table(NVS, FACTORY)))


def key_not_at_hand(world: World) -> Result:
    fleet = without_keys(world, world.fleet)
    return world.ota("--signing-key", world.keys["rsa_0"], "--pre-encrypted", fleet=fleet)


def no_description(world: World) -> Result:
    build = world.make_build()
    (build / "sample.bin").write_bytes((build / "bootloader" / "bootloader.bin").read_bytes())
    return world.ota("--signing-key", world.keys["rsa_0"], build=build)


def built_without_flash_encryption(world: World) -> Result:
    return world.ota(
        "--signing-key", world.keys["rsa_0"], build=world.make_build(options=SampleOptions(secure_boot=True))
    )


def built_without_secure_boot(world: World) -> Result:
    options = SampleOptions(flash_encryption="release")
    return world.ota("--signing-key", world.keys["rsa_0"], build=world.make_build(options=options))


def no_fleet(world: World) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], fleet=world.folder / "nowhere")


REFUSALS: dict[Callable[[World], Result], tuple[str, int]] = {
    damaged_fleet: ("SE753", 1),
    fleet_with_a_damaged_plan: ("SE875", 3),
    foreign_flash_key: ("SE753", 1),
    other_chip: ("SE754", 1),
    later_revision: ("SE755", 1),
    no_key: ("SE756", 3),
    foreign_key: ("SE757", 1),
    revoked_key: ("SE757", 1),
    signed_by_the_build_with_foreign_keys: ("SE757", 1),
    signed_by_the_build_with_a_revoked_key: ("SE757", 1),
    too_old: ("SE758", 1),
    too_large: ("SE759", 1),
    other_table_that_cannot_be_read: ("SE760", 3),
    no_slots: ("SE761", 3),
    key_not_at_hand: ("SE762", 3),
    no_description: ("SE764", 3),
    built_without_flash_encryption: ("SE767", 1),
    built_without_secure_boot: ("SE767", 1),
    no_fleet: ("SE730", 3),
}


@pytest.mark.parametrize("refused", REFUSALS, ids=lambda refused: refused.__name__)
def test_a_refusal_has_its_code_and_writes_nothing(refused: Callable[[World], Result], world: World) -> None:
    done = refused(world)
    code, exit_code = REFUSALS[refused]
    assert (done.exit_code, f"error {code}" in done.stderr) == (exit_code, True), done.output + done.stderr
    assert not (world.folder / "update").exists() and not list(world.folder.glob(".*"))


def test_ciphertext_that_does_not_decrypt_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from secure_ext.field.ota import slots

    monkeypatch.setattr(slots, "encrypt", lambda data, **_: data)
    done = world.ota("--signing-key", world.keys["rsa_0"], "--pre-encrypted")
    assert (done.exit_code, "error SE763" in done.stderr) == (1, True)
    assert not (world.folder / "update").exists()
