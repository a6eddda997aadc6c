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
_NEW, _PENDING, _VALID, _INVALID, _ABORTED = range(5)


def starting(slot: int) -> bytes:
    """OTA data that have the bootloader start OTA slot `slot`.

    The app counts as confirmed: with rollback it is no update on trial, and with anti-rollback its secure version is
    recorded. The bootloader notes the same of the first slot when it finds the OTA data erased.
    """
    return _entry(slot + 1, _VALID).ljust(SIZE, b"\xff")


def started_slot(content: bytes, slots: int, *, rolls_back: bool = False) -> int | None:
    """The OTA slot that OTA data choose among `slots`; None where no entry is valid: then factory, or the first.

    `rolls_back`: the bootloader takes an app that was started and not confirmed for one that failed.
    """
    active = _active(content, rolls_back=rolls_back)
    return None if active is None or not slots else (active[1] - 1) % slots


def switched(content: bytes, slot: int, slots: int, *, rolls_back: bool, on_trial: bool) -> tuple[int, bytes]:
    """What to write so that OTA data choose another slot: the offset of one of the two sectors, and its content.

    The entry that is heeded now stays as it is: until the new one is whole, the bootloader starts what it did. The
    number is the next that stands for the slot (``esp_ota_ops.c``, esp_rewrite_ota_data). `on_trial`: a bootloader that
    rolls back starts the app once, and goes back unless it confirms itself.
    """
    active = _active(content, rolls_back=rolls_back)
    state = _NEW if on_trial else _VALID
    if active is None:
        return 0, _entry(slot + 1, state).ljust(SECTOR_SIZE, b"\xff")
    at, number = active
    following = number + 1 + (slot - number) % slots
    return SECTOR_SIZE - at, _entry(following, state).ljust(SECTOR_SIZE, b"\xff")


def _entry(number: int, state: int) -> bytes:
    return _ENTRY.pack(number, _UNUSED, state, zlib.crc32(struct.pack("<I", number), _ERASED))


def _active(content: bytes, *, rolls_back: bool) -> tuple[int, int] | None:
    """Offset and sequence number of the entry that the bootloader heeds; of two alike it is the first."""
    failed = (_INVALID, _ABORTED, _PENDING) if rolls_back else (_INVALID, _ABORTED)
    found = [(at, number) for at in (0, SECTOR_SIZE) if (number := _number(content[at:], failed)) is not None]
    return max(found, key=lambda item: item[1], default=None)


def _number(content: bytes, failed: tuple[int, ...]) -> int | None:
    """The sequence number of an entry that the bootloader heeds."""
    entry = content[: _ENTRY.size]
    if len(entry) < _ENTRY.size:
        return None
    number, _, state, crc = _ENTRY.unpack(entry)
    fits = number != _ERASED and crc == zlib.crc32(entry[:4], _ERASED)
    return int(number) if fits and state not in failed else None
