# SPDX-License-Identifier: Apache-2.0
"""What a bootloader says of itself: the ESP-IDF that built it, and its secure version.

Source: ``esp_bootloader_desc_t`` in ESP-IDF's ``components/esp_bootloader_format/include/esp_bootloader_desc.h``, since
5.2; it begins the first segment, behind the image's header (24 bytes) and the segment's (8).
"""

from __future__ import annotations

import struct

from secure_ext.station.frozen import frozen

_DESCRIPTION = struct.Struct("<B2sBI32s")
_OFFSET = 0x20
_MAGIC = 80


@frozen
class BootloaderDescription:
    """ESP-IDF's version as text, ``v5.5.1-dirty`` or a bare commit; the version that the ROM compares."""

    idf_version: str
    secure_version: int


def read_bootloader_description(image: bytes) -> BootloaderDescription | None:
    """The description in a bootloader's image; None if it has none, as before ESP-IDF 5.2."""
    if len(image) < _OFFSET + _DESCRIPTION.size:
        return None
    magic, _, secure_version, _, text = _DESCRIPTION.unpack_from(image, _OFFSET)
    version, end, rest = text.partition(b"\0")
    if magic != _MAGIC or not version.isascii() or not version.decode().isprintable() or not version or not end:
        return None
    return BootloaderDescription(version.decode(), secure_version) if not any(rest) else None
