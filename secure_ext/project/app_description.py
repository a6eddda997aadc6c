"""What an app says of itself: project, version, and the secure version that anti-rollback compares.

Source: ``esp_app_desc_t`` in ESP-IDF's ``components/esp_app_format/include/esp_app_desc.h``; it begins the first
segment, behind the image's header (24 bytes) and the segment's (8).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_DESCRIPTION = struct.Struct("<II8x32s32s")
_OFFSET = 0x20
_MAGIC = 0xABCD5432


@dataclass(frozen=True)
class AppDescription:
    """Project name and version as text; the secure version as a number."""

    project: str
    version: str
    secure_version: int


def read_app_description(image: bytes) -> AppDescription | None:
    """The description in an app's image; None if it has none, as a bootloader has not."""
    if len(image) < _OFFSET + _DESCRIPTION.size:
        return None
    magic, secure_version, version, project = _DESCRIPTION.unpack_from(image, _OFFSET)
    if magic != _MAGIC:
        return None
    return AppDescription(_text(project), _text(version), secure_version)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", errors="replace")
