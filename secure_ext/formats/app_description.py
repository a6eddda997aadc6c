# SPDX-License-Identifier: Apache-2.0
"""What an app says of itself: project, version, and what anti-rollback and the eFuse blocks are compared with.

Source: ``esp_app_desc_t`` in ESP-IDF's ``components/esp_app_format/include/esp_app_desc.h``; it begins the first
segment, behind the image's header (24 bytes) and the segment's (8).
"""

from __future__ import annotations

import struct

from secure_ext.station.frozen import frozen

_DESCRIPTION = struct.Struct("<II8x32s32s96xHH")
_OFFSET = 0x20
_MAGIC = 0xABCD5432
_NO_LIMIT = (0, 0xFFFF)


@frozen
class AppDescription:
    """What it says.

    Attributes:
        project: name of the project.
        version: the app's own version.
        secure_version: a number.
        min_block_revision: least eFuse block revision, major * 100 + minor; 0 if any will do.
        max_block_revision: greatest one, None if there is no limit. Releases before 5.1.6, 5.2.4, 5.3.2 and 5.4 leave
            both at 0 (IS_FIELD_SET in ``bootloader_common_loader.c``: 0 and 65535 are no limit).
    """

    project: str
    version: str
    secure_version: int
    min_block_revision: int = 0
    max_block_revision: int | None = None


def read_app_description(image: bytes) -> AppDescription | None:
    """The description in an app's image; None if it has none, as a bootloader has not."""
    if len(image) < _OFFSET + _DESCRIPTION.size:
        return None
    magic, secure_version, version, project, least, most = _DESCRIPTION.unpack_from(image, _OFFSET)
    if magic != _MAGIC:
        return None
    return AppDescription(
        _text(project),
        _text(version),
        secure_version,
        0 if least in _NO_LIMIT else least,
        None if most in _NO_LIMIT else most,
    )


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", errors="replace")
