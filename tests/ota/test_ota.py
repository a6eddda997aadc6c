# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F811 (fixtures)
"""Update packages: what espsecure says of them, and everything that is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from ota_world import (  # noqa: F401 (fixtures)
    DASH,
    World,
    decrypted,
    espsecure,
    fleets,
    is_image,
    manifest,
    with_secure_version,
    world,
)

from secure_ext.bundle.archive import write_archive
from secure_ext.formats.app_description import read_app_description
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions


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
