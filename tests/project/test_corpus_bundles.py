# SPDX-License-Identifier: Apache-2.0
"""Builds of real projects (see test_build_corpus) become bundles, or are refused for the right reason."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_build_corpus import CORPUS, EXPECTED, rebuild

from secure_ext.bundle.read import read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.cli.show.rehearsal import rehearsal_text
from secure_ext.doctor.decide import decide
from secure_ext.errors import SecureProvisionError
from secure_ext.policy.profile import Profile
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.station.chip_facts import FACTS

pytestmark = pytest.mark.skipif(not CORPUS, reason="SECURE_EXT_CORPUS does not name a folder with builds")

SIGNED_BOOTLOADER_DOES_NOT_FIT = "SP001"
ACCEPTED = ("SP020", "SP021", "SP022", "SP023", "SP025")
"""These projects were not built for secure boot or flash encryption; here only the images and the plan matter."""


def image_of_size(chip: str, size: int, flash_megabytes: int, described: bytes = b"") -> bytes:
    """A whole ESP image of one segment with exactly `size` bytes, checksum and hash included (esp_app_format.h).

    The segment begins with `described`.
    """
    flash = flash_megabytes.bit_length() - 1 << 4
    length = size - 24 - 8 - 32 - 16
    content = bytes(index * 31 % 251 for index in range(256)) * (length // 256 + 1)
    length -= (24 + 8 + length + 16) % 16
    content = (described + content)[:length]
    header = struct.pack("<BBBBIB3sHBHH4sB", 0xE9, 1, 2, flash, 0, 0, b"", FACTS[chip].image_id, 0, 0, 0xFFFF, b"", 1)
    body = header + struct.pack("<II", 0x3F400020, length) + content
    checksum = 0xEF
    for byte in content:
        checksum ^= byte
    body += bytes(15 - len(body) % 16) + bytes([checksum])
    return body + hashlib.sha256(body).digest()


def description(idf_version: str) -> bytes:
    """What an app says of itself, ``esp_app_desc_t``: made with this ESP-IDF, for any eFuse block version."""
    return struct.pack(
        "<II8x32s32s16s16s32s32sHH76x", 0xABCD5432, 0, b"1", b"app", b"", b"", idf_version.encode(), b"", 0, 0xFFFF
    )


def with_whole_images(name: str, destination: Path) -> Path:
    build_dir = rebuild(name, destination)
    chip = EXPECTED[name][0]
    sizes = json.loads((Path(CORPUS, name) / "image-sizes.json").read_text())
    megabytes = int(json.loads((build_dir / "config/sdkconfig.json").read_text())["ESPTOOLPY_FLASHSIZE"][:-2])
    apps = json.loads((build_dir / "project_description.json").read_text())["app_bin"]
    for file, size in sizes.items():
        if file in (apps, "bootloader/bootloader.bin", "esp_tee/esp_tee.bin"):
            version = name.split("-")[1]
            described = b"" if file.startswith("bootloader") else description(version)
            (build_dir / file).write_bytes(image_of_size(chip, size, megabytes, described))
        elif file == "ota_data_initial.bin":
            (build_dir / file).write_bytes(b"\xff" * size)
    return build_dir


def attempt(name: str, tmp_path: Path, settings: dict[str, object]) -> str:
    """Makes a bundle and runs its script on virtual eFuses; returns "bundle", or the code of the refusal."""
    build_dir = with_whole_images(name, tmp_path / "a b" / name)
    profile = Profile(tmp_path, {"doctor.accept": ACCEPTED, **settings})  # type: ignore[dict-item]
    try:
        decision = decide(build_dir, profile)
        stopping = [finding.code for finding in decision.findings if finding.stops]
        if stopping:
            return stopping[0]
        bundle = write_bundle(decision, tmp_path / "bundle", lambda _: None)
    except SecureProvisionError as error:
        return error.code
    script = [sys.executable, str(bundle.folder / "provision.py"), "--virt", str(tmp_path / "chip.bin"), "--yes"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return "bundle"


@pytest.mark.parametrize("name", EXPECTED)
def test_flash_encryption_of_a_real_build(name: str, tmp_path: Path) -> None:
    refused = {"esp32-v5.1-secureboot-v1": "SE310"}
    outcome = attempt(name, tmp_path, {"flash_encryption.mode": "release", "secure_boot.enabled": False})
    assert outcome == refused.get(name, "bundle")


@pytest.mark.parametrize("name", EXPECTED)
def test_both_features_on_a_real_build(name: str, tmp_path: Path, signing_key_for: Callable[[str], Path]) -> None:
    refused = {
        "esp32-v5.1-secureboot-v1": "SE310",
        "esp32-v5.3": SIGNED_BOOTLOADER_DOES_NOT_FIT,
        "esp32c5-v6.1": SIGNED_BOOTLOADER_DOES_NOT_FIT,
        "esp32p4-v5.5": SIGNED_BOOTLOADER_DOES_NOT_FIT,
        "esp32s3-v5.0-flashenc-dev": SIGNED_BOOTLOADER_DOES_NOT_FIT,
    }
    settings = {
        "flash_encryption.mode": "release",
        "secure_boot.enabled": True,
        "secure_boot.keys": (str(signing_key_for(EXPECTED[name][0])),),
    }
    assert attempt(name, tmp_path, settings) == refused.get(name, "bundle")


@pytest.mark.long
@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("secure_boot", [False, True], ids=["flash encryption", "both"])
def test_every_bundle_of_a_real_build_passes_its_rehearsal(
    name: str, tmp_path: Path, signing_key_for: Callable[[str], Path], *, secure_boot: bool
) -> None:
    """On a virtual chip with the build's own flash size, to the boot."""
    settings: dict[str, object] = {"flash_encryption.mode": "release", "secure_boot.enabled": secure_boot}
    if secure_boot:
        settings["secure_boot.keys"] = (str(signing_key_for(EXPECTED[name][0])),)
    if attempt(name, tmp_path, settings) != "bundle":
        pytest.skip("no bundle is made of this build")
    rehearsal = rehearse_bundle(read_bundle(tmp_path / "bundle"), lambda _: None)
    assert rehearsal.passed, rehearsal_text(rehearsal)
