# SPDX-License-Identifier: Apache-2.0
"""The partition table, as the bootloader reads it.

Source: ESP-IDF ``esp_flash_partitions.h`` and ``bootloader_support/src/flash_partitions.c``.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise

from secure_ext.prove.boot_check.findings import Refused

TABLE_SIZE = 0xC00
_ENTRY = struct.Struct("<HBBII16sI")
_ENTRY_MAGIC, _MD5_MAGIC, _END_MAGIC = 0x50AA, 0xEBEB, 0xFFFF
_APP, _DATA, _BOOTLOADER, _TABLE = 0, 1, 2, 3
_FACTORY, _OTA_SLOTS = 0x00, range(0x10, 0x20)
_OTADATA = 0x00
_ENCRYPTED_DATA = (0x00, 0x04, 0x90)
"""otadata, nvs_keys, and the otadata of the trusted execution environment."""


@dataclass(frozen=True)
class Partition:
    """One entry."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int
    flags: int

    @property
    def end(self) -> int:
        """The first offset behind it."""
        return self.offset + self.size

    @property
    def is_factory(self) -> bool:
        """The app that runs when nothing else was chosen."""
        return (self.type, self.subtype) == (_APP, _FACTORY)

    @property
    def is_otadata(self) -> bool:
        """Where the bootloader reads which slot to start."""
        return (self.type, self.subtype) == (_DATA, _OTADATA)

    @property
    def slot(self) -> int | None:
        """Its number among the OTA slots."""
        return self.subtype & 0xF if self.type == _APP and self.subtype in _OTA_SLOTS else None

    @property
    def is_decrypted(self) -> bool:
        """Whether firmware reads it through the flash decryption (``load_partitions`` of ``esp_partition``)."""
        is_system = self.type in (_APP, _BOOTLOADER, _TABLE) or (self.type == _DATA and self.subtype in _ENCRYPTED_DATA)
        return is_system or bool(self.flags & 1)


def parse(table: bytes, flash_size: int) -> list[Partition]:
    """The entries of a table, for a bootloader that believes in `flash_size` bytes.

    Raises Refused if the bootloader would reject the table, or if it lacks its MD5 or has overlapping entries.
    """
    partitions: list[Partition] = []
    has_md5 = False
    for start in range(0, len(table), _ENTRY.size):
        magic, kind, subtype, offset, size, label, flags = _ENTRY.unpack_from(table, start)
        if magic == _ENTRY_MAGIC:
            name = label.split(b"\0")[0].decode("utf-8", "replace")
            partitions.append(Partition(name, kind, subtype, offset, size, flags))
            if offset + size > flash_size:
                raise Refused(
                    "BC15",
                    f"partition {name!r} ends at {offset + size:#x}: beyond the {flash_size:#x} bytes of flash that "
                    "the bootloader believes in",
                )
        elif magic == _MD5_MAGIC and not has_md5:
            has_md5 = True
            md5 = hashlib.md5(table[:start], usedforsecurity=False).digest()
            if table[start + 16 : start + 32] != md5:
                raise Refused("BC14", "the MD5 of the partition table is wrong")
        elif magic == _END_MAGIC and start and (kind, subtype) == (0xFF, 0xFF):
            break
        else:
            raise Refused("BC14", f"entry {start // _ENTRY.size} of the partition table begins with {magic:#06x}")
    else:
        raise Refused("BC14", "the partition table does not end")
    if not has_md5:
        raise Refused("BC14", "the partition table has no MD5")
    ordered = sorted(partitions, key=lambda partition: partition.offset)
    for before, after in pairwise(ordered):
        if before.end > after.offset:
            raise Refused("BC15", f"partitions {before.label!r} and {after.label!r} overlap")
    return partitions
