# SPDX-License-Identifier: Apache-2.0
"""The OTA data: which app slot the bootloader starts.

Two sectors, each with one entry (ESP-IDF ``esp_flash_partitions.h``, esp_ota_select_entry_t): a sequence number, 20
bytes that nothing reads, the state of the app, and the CRC-32 of the sequence number. The valid entry with the greater
number n chooses slot (n - 1) modulo the number of slots (``bootloader_utility.c``).
"""

from __future__ import annotations

import struct
import zlib

from secure_ext.station.flash_sectors import SECTOR_SIZE

SIZE = 2 * SECTOR_SIZE
"""Bytes that the bootloader reads, and a partition has at least."""
_ENTRY = struct.Struct("<I20sII")
_UNUSED = b"\xff" * 20
_ERASED = 0xFFFFFFFF
_VALID, _INVALID, _ABORTED = 2, 3, 4


def starting(slot: int) -> bytes:
    """OTA data that have the bootloader start OTA slot `slot`.

    The app counts as confirmed: with rollback it is no update on trial, and with anti-rollback its secure version is
    recorded. The bootloader notes the same of the first slot when it finds the OTA data erased.
    """
    number = struct.pack("<I", slot + 1)
    entry = _ENTRY.pack(slot + 1, _UNUSED, _VALID, zlib.crc32(number, _ERASED))
    return entry.ljust(SIZE, b"\xff")


def started_slot(content: bytes, slots: int) -> int | None:
    """The OTA slot that OTA data choose among `slots`; None where no entry is valid: then factory, or the first."""
    numbers = [number for at in (0, SECTOR_SIZE) if (number := _number(content[at : at + _ENTRY.size])) is not None]
    return (max(numbers) - 1) % slots if numbers and slots else None


def _number(entry: bytes) -> int | None:
    """The sequence number of an entry that the bootloader heeds."""
    if len(entry) < _ENTRY.size:
        return None
    number, _, state, crc = _ENTRY.unpack(entry)
    fits = number != _ERASED and crc == zlib.crc32(entry[:4], _ERASED)
    return int(number) if fits and state not in (_INVALID, _ABORTED) else None
