# SPDX-License-Identifier: Apache-2.0
"""Images that esptool itself writes, from an ELF of filler: valid in every field, made of nobody's code."""

from __future__ import annotations

import functools
import importlib.metadata
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from secure_ext.errors import ToolError
from secure_ext.sample.chip_facts import sample_chip
from secure_ext.sample.elf import build_elf, filler
from secure_ext.sample.options import AppFacts
from secure_ext.station.frozen import frozen

BOOTLOADER_SIZE = 20_000
"""Bytes of code in the sample's bootloader; those of real projects have 20 to 32 KB."""

_APP_DESCRIPTION = struct.Struct("<II8x32s32s16s16s32s32sHHBB2x72x")
"""``esp_app_desc_t`` of ``components/esp_app_format/include/esp_app_desc.h``, 256 bytes."""

_BOOTLOADER_DESCRIPTION = struct.Struct("<B2xBI32s24s16x")
"""``esp_bootloader_desc_t`` of ``components/esp_bootloader_format/include/esp_bootloader_desc.h``, 80 bytes."""

_APP_DESCRIPTION_MAGIC = 0xABCD5432
_BOOTLOADER_DESCRIPTION_MAGIC = 80
_NO_LIMIT = 0xFFFF
_LOG2_OF_MMU_PAGE = 16
_IMAGE_AND_SEGMENT_HEADER = 0x20
_ELF_HASH_OFFSET = 0xB0
_ASKS_NOTHING = AppFacts()
_LONGEST_REASON = 300


@frozen
class ImageSettings:
    """What both images of one build share; revisions are major * 100 + minor, ``max_revision`` None for the default."""

    chip: str
    flash_size: str
    min_revision: int
    secure_boot: bool
    max_revision: int | None = None


@functools.lru_cache(maxsize=64)
def make_bootloader(settings: ImageSettings, version: tuple[str, int] | None = None) -> bytes:
    """A bootloader image; with secure boot padded to 4 KB, as ESP-IDF does for one that is signed elsewhere.

    `version` is what it says of itself, if anything: the ESP-IDF that built it, and its secure version.
    """
    facts = sample_chip(settings.chip)
    described = b""
    if version is not None:
        magic = _BOOTLOADER_DESCRIPTION_MAGIC
        described = _BOOTLOADER_DESCRIPTION.pack(magic, version[1], 1, version[0].encode(), b"Jan  1 2026 00:00:00")
    elf = build_elf(facts.machine, ".iram.text", facts.ram, described + filler("bootloader", BOOTLOADER_SIZE))
    return _elf_to_image(elf, settings, ("--pad-to-size", "4KB") if settings.secure_boot else ())


@functools.lru_cache(maxsize=64)
def make_app(settings: ImageSettings, project: str, size: int, asks: AppFacts = _ASKS_NOTHING) -> bytes:
    """An application image with an app description; with secure boot padded to the end of an MMU page (64 KB)."""
    facts = sample_chip(settings.chip)
    content = _app_description(project, asks) + filler(project, size)
    elf = build_elf(facts.machine, ".flash.appdesc", facts.flash + _IMAGE_AND_SEGMENT_HEADER, content)
    padding = ("--secure-pad-v2",) if settings.secure_boot else ()
    return _elf_to_image(elf, settings, ("--elf-sha256-offset", hex(_ELF_HASH_OFFSET), *padding))


def _app_description(project: str, asks: AppFacts) -> bytes:
    return _APP_DESCRIPTION.pack(
        _APP_DESCRIPTION_MAGIC,
        asks.secure_version,
        b"1.0.0",
        project.encode(),
        b"00:00:00",
        b"Jan  1 2026",
        asks.idf_version.encode(),
        bytes(32),
        asks.min_block_revision,
        _NO_LIMIT if asks.max_block_revision is None else asks.max_block_revision,
        _LOG2_OF_MMU_PAGE,
        0,
    )


def _elf_to_image(elf: bytes, settings: ImageSettings, more: tuple[str, ...]) -> bytes:
    """Run ``esptool elf2image`` in a directory of its own and return the image.

    Raises:
        ToolError: SE190, when esptool is missing, does not know the chip, or fails.
    """
    facts = sample_chip(settings.chip)
    dash = "-" if _esptool_major_version() >= 5 else "_"
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "sample.elf").write_bytes(elf)
        command = [sys.executable, "-m", "esptool", "--chip", settings.chip, "elf2image"]
        command += [f"--flash{dash}mode", "dio", f"--flash{dash}freq", facts.flash_frequency]
        command += [f"--flash{dash}size", settings.flash_size]
        most = facts.max_revision if settings.max_revision is None else settings.max_revision
        command += ["--min-rev-full", str(settings.min_revision), "--max-rev-full", str(most)]
        command += [*more, "-o", "sample.bin", "sample.elf"]
        result = subprocess.run(command, cwd=directory, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if result.returncode != 0:
            output = (result.stdout + result.stderr).decode(errors="replace").strip()
            raise _failed(settings.chip, output[-_LONGEST_REASON:])
        return Path(directory, "sample.bin").read_bytes()


def _esptool_major_version() -> int:
    try:
        return int(importlib.metadata.version("esptool").split(".")[0])
    except importlib.metadata.PackageNotFoundError as error:
        raise _failed("any chip", "esptool is not installed") from error


def _failed(chip: str, reason: str) -> ToolError:
    return ToolError(
        "SE190",
        f"esptool could not make a sample image for {chip}: {reason}",
        cure="install an esptool that knows this chip (`pip install -U esptool`), or choose another chip",
        place="esptool",
    )
