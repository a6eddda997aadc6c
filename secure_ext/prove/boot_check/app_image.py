# SPDX-License-Identifier: Apache-2.0
"""Is this a whole image for this chip? Header, segments, checksum, SHA-256, as ROM and bootloader read them.

Source: ESP-IDF ``esp_app_format.h`` and ``bootloader_support/src/esp_image_format.c``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from secure_ext.prove.boot_check.chip_facts import CHIPS
from secure_ext.prove.boot_check.efuses import Efuses
from secure_ext.prove.boot_check.findings import Findings, Refused

_HEADER = struct.Struct("<BBBBI4sHBHH4sB")
_MAGIC = 0xE9
_MOST_SEGMENTS = 16
_LONGEST_SEGMENT = 0x1000000
_CHECKSUM_SEED = 0xEF
_DESCRIPTION_MAGIC = 0xABCD5432
_UNSET = (0, 0xFFFF)


@dataclass(frozen=True)
class Region:
    """Where an image may be: its name for messages, its offset, the bytes it may use, and how they are read."""

    name: str
    offset: int
    size: int
    seen: Callable[[int, int], bytes]

    def read(self, at: int, size: int) -> bytes:
        """Bytes from `at` on, counted from the start. Raises Refused beyond the end."""
        if at + size > self.size:
            raise Refused("BC07", f"{self.name}: the image goes on beyond the {self.size:#x} bytes it has")
        return self.seen(self.offset + at, size)


@dataclass(frozen=True)
class WholeImage:
    """An image that is whole: its bytes with the SHA-256 and without the signature."""

    content: bytes = field(repr=False)

    @property
    def flash_size_code(self) -> int:
        """The number in its header that stands for a flash size."""
        return self.content[3] >> 4


def read_image(region: Region, efuses: Efuses, findings: Findings, *, is_app: bool, is_signed: bool) -> WholeImage:
    """The image in a region. Raises Refused if ROM or bootloader would not start it.

    On a chip with secure boot (`is_signed`) neither looks at the SHA-256, which the signature covers: a wrong one is a
    fault all the same, because the image is then not what its build made.
    """
    name = region.name
    magic, count, *_, image_id, _, least, most, _, has_hash = _HEADER.unpack(region.read(0, _HEADER.size))
    if magic != _MAGIC or not 1 <= count <= _MOST_SEGMENTS:
        raise Refused(
            "BC07", f"{name}: at {region.offset:#x} is not an image (as plaintext, or decrypted with this key)"
        )
    if image_id != CHIPS[efuses.chip].image_id:
        raise Refused("BC08", f"{name} is for the chip with ID {image_id}, not for {efuses.chip}")
    _check_revision(name, efuses, least, most if is_app else 0)
    position, checksum = _HEADER.size, _CHECKSUM_SEED
    for index in range(count):
        _, length = struct.unpack("<II", region.read(position, 8))
        if length % 4 or length >= _LONGEST_SEGMENT:
            raise Refused("BC07", f"{name}: segment {index} has an impossible length of {length:#x}")
        content = region.read(position + 8, length)
        if is_app and index == 0:
            _check_efuse_version(name, efuses, content)
        checksum ^= _xor(content)
        position += 8 + length
    end = (position + 16) // 16 * 16
    if region.read(end - 1, 1)[0] != checksum:
        raise Refused("BC10", f"{name}: the checksum of its segments is wrong")
    if not has_hash:
        return WholeImage(region.read(0, end))
    if hashlib.sha256(region.read(0, end)).digest() != region.read(end, 32):
        if not is_signed:
            raise Refused("BC10", f"{name}: its SHA-256 is wrong")
        findings.fault("BC10", f"{name}: its SHA-256 is wrong; the chip starts it, but no build made this image")
    return WholeImage(region.read(0, end + 32))


def _xor(content: bytes) -> int:
    """Of all bytes: the number that they make is folded in half until one byte is left."""
    number, bits = int.from_bytes(content, "little"), 8 << len(content).bit_length()
    while bits > 8:
        bits //= 2
        number = number >> bits ^ number & ((1 << bits) - 1)
    return number


def _check_revision(name: str, efuses: Efuses, least: int, most: int) -> None:
    """``bootloader_common_check_chip_revision_validity`` of ``bootloader_common_loader.c``."""
    revision = efuses.revision()
    if revision < least:
        raise Refused("BC09", f"{name} needs chip revision {_shown(least)}; this is {_shown(revision)}")
    if most not in _UNSET and revision > most and not efuses.value("DISABLE_WAFER_VERSION_MAJOR"):
        raise Refused("BC09", f"{name} runs up to chip revision {_shown(most)}; this is {_shown(revision)}")


def _check_efuse_version(name: str, efuses: Efuses, first_segment: bytes) -> None:
    """The description of an app begins its first segment: ``esp_app_desc_t`` of ``esp_app_desc.h``."""
    if len(first_segment) < 180 or int.from_bytes(first_segment[:4], "little") != _DESCRIPTION_MAGIC:
        raise Refused("BC07", f"{name}: its first segment does not begin with an app description")
    if efuses.chip == "esp32":
        return
    least, most = struct.unpack_from("<HH", first_segment, 176)
    version = efuses.value("BLK_VERSION_MAJOR") * 100 + efuses.value("BLK_VERSION_MINOR")
    if least not in _UNSET and version < least:
        raise Refused("BC09", f"{name} needs eFuse block version {_shown(least)}; this is {_shown(version)}")
    if most not in _UNSET and version > most and not efuses.value("DISABLE_BLK_VERSION_MAJOR"):
        raise Refused("BC09", f"{name} runs up to eFuse block version {_shown(most)}; this is {_shown(version)}")


def _shown(number: int) -> str:
    return f"{number // 100}.{number % 100}"
