# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F811 (fixtures)
"""Data of an update: signed as the app looks for it, and refused where no board would take it."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from ota_world import (  # noqa: F401 (fixtures)
    DASH,
    World,
    espsecure,
    fleets,
    manifest,
    world,
)

from secure_ext.errors import InputError
from secure_ext.formats.partition_table import TYPE_DATA, Partition
from secure_ext.formats.signed_data import data_signers, sign_data, signed_size
from secure_ext.keys.signing import SignatureScheme, generate_signing_key, load_signing_key
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions, partitions_of

SECTOR = 0x1000
WEB = Partition("web", TYPE_DATA, 6, 0x320000, 0x4000)
ROWS = (*partitions_of(SampleOptions()), WEB)
WANTED = {"SECURE_SIGNED_DATA_PARTITION": True}


def build_in(folder: Path, config: dict[str, Any], **more: Any) -> Path:
    options: dict[str, Any] = {"flash_encryption": "release", "secure_boot": True, "app_size": 40_000, **more}
    return make_sample_build(folder, "esp32c3", options=SampleOptions(partitions=ROWS, config=config, **options))


@pytest.fixture
def web(tmp_path: Path) -> Path:
    path = tmp_path / "index.bin"
    path.write_bytes(b"<html>" * 1000)
    return path


def package(world: World, build: Path, fleet: Path, *words: object) -> Result:
    return world.ota("--signing-key", world.keys["rsa_0"], *words, build=build, fleet=fleet)


def bundle_of(world: World, build: Path, name: str = "fleet") -> Path:
    made = world.run("bundle", "-B", build, "-o", world.folder / name, "--signing-key", world.keys["rsa_0"])
    assert made.exit_code == 0, made.output
    return world.folder / name


def test_it_is_signed_as_the_app_looks_for_it(world: World, web: Path) -> None:
    build = build_in(world.folder / "project", WANTED)
    done = package(world, build, bundle_of(world, build), "--data", f"web={web}")
    assert done.exit_code == 0, done.output
    signed = world.folder / "update" / "data" / "web-at-0x320000.bin"
    content = signed.read_bytes()
    assert len(content) == signed_size(6000) == 3 * SECTOR
    assert content[: 2 * SECTOR] == web.read_bytes().ljust(2 * SECTOR, b"\xff")
    line = (f"verify{DASH}signature", "--version", "2", "--keyfile", world.keys["rsa_0"], signed)
    assert espsecure(*line).returncode == 0
    (data,) = manifest(world)["data"]
    assert (data["partition"], data["size"]) == ("web", len(content))
    assert data["source_sha256"] == hashlib.sha256(web.read_bytes()).hexdigest()
    assert data["signed_by"] == manifest(world)["app"]["signed_by"]
    schema = json.loads((resources.files("secure_ext.documents") / "update.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(manifest(world))
    assert "web-at-0x320000.bin" in (world.folder / "update" / "README.txt").read_text()


def test_the_same_as_espsecure_makes_it(world: World, web: Path) -> None:
    """But for the signature itself, which no two runs have in common."""
    to = world.folder / "theirs.bin"
    line = (f"sign{DASH}data", "--version", "2", "--keyfile", world.keys["rsa_0"], "--output", to, web)
    assert espsecure(*line).returncode == 0
    ours = sign_data(web.read_bytes(), [load_signing_key(world.keys["rsa_0"])], place="web")
    theirs = to.read_bytes()
    assert len(ours) == len(theirs) and ours[: 2 * SECTOR + 0x300] == theirs[: 2 * SECTOR + 0x300]
    assert data_signers(theirs, "web") == data_signers(ours, "web") != ()


@settings(deadline=None, max_examples=30)
@given(content=st.binary(max_size=3 * SECTOR) | st.binary(max_size=64).map(lambda end: b"\xe9\x01" + bytes(9000) + end))
def test_whatever_the_data_look_like(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also like the beginning of an app: the signature is in the last sector."""
    key = tmp_path_factory.getbasetemp() / "data.pem"
    if not key.exists():
        key.write_bytes(generate_signing_key(SignatureScheme.ECDSA256))
        key.chmod(0o600)
    signed = sign_data(content, [load_signing_key(key)], place="data")
    assert len(signed) == signed_size(len(content)) and signed.startswith(content)
    assert len(data_signers(signed, "data")) == 1
    with pytest.raises(InputError) as caught:
        sign_data(signed, [load_signing_key(key)], place="data")
    assert caught.value.code == "SE523"
    changed = bytes([signed[0] ^ 1]) + signed[1:]
    assert data_signers(changed, "data") == ()


@pytest.mark.parametrize(
    ("what", "code"),
    [("nothing", "SE442"), ("storage", "SE442"), ("web", "SE443"), ("web=", ""), ("=index.bin", "")],
)
def test_what_is_no_data_for_a_partition(what: str, code: str, world: World, web: Path) -> None:
    """`storage` is for a file system, whose updates no app verifies; 0x4000 bytes have no room for a signature."""
    build = build_in(world.folder / "project", WANTED)
    web.write_bytes(bytes(0x4000))
    words = what if "=" in what else f"{what}={web}"
    done = package(world, build, bundle_of(world, build), "--data", words)
    assert done.exit_code in (1, 2) and (code or "LABEL=FILE") in done.stderr, done.output
    assert not (world.folder / "update").exists()


@pytest.mark.parametrize(
    ("fleets_config", "ours", "said"),
    [
        (WANTED, {}, "the boards' own app wants data signed"),
        ({"SECURE_SIGNED_DATA_PARTITION": False}, WANTED, "send it first"),
        ({}, {}, "the fleet's bundle does not record it"),
        ({"SECURE_SIGNED_DATA_PARTITION": False}, {}, "SE444"),
    ],
)
def test_which_app_looks_at_it(
    fleets_config: dict[str, Any], ours: dict[str, Any], said: str, world: World, web: Path
) -> None:
    fleet = bundle_of(world, build_in(world.folder / "first", fleets_config))
    done = package(world, build_in(world.folder / "project", ours), fleet, "--data", f"web={web}")
    assert said in done.output + done.stderr
    assert done.exit_code == ("SE444" in said)


def test_boards_do_not_take_it_from_another_key(world: World, web: Path) -> None:
    build = build_in(world.folder / "project", WANTED)
    fleet = bundle_of(world, build)
    signed = world.ota("--signing-key", world.keys["rsa_0"], build=build, fleet=fleet)
    assert signed.exit_code == 0
    app = build / "sample.bin"
    app.write_bytes((world.folder / "update" / "app.bin").read_bytes())
    no_key = world.ota("--data", f"web={web}", build=build, fleet=fleet)
    assert (no_key.exit_code, "SE446" in no_key.stderr) == (3, True), no_key.output
    other = world.ota("--signing-key", world.keys["rsa_1"], "--data", f"web={web}", build=build, fleet=fleet)
    assert (other.exit_code, "SE445" in other.stderr) == (1, True), other.output
