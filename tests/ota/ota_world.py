# SPDX-License-Identifier: Apache-2.0
"""A fleet of boards, and the build that it shall be updated to."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.matrix_tools import esptool_version

from secure_ext.errors import SecureProvisionError
from secure_ext.formats.image import parse_image
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
