# SPDX-License-Identifier: Apache-2.0
"""Which app the bootloader starts: what otadata says, else factory, else the first slot.

Source: ESP-IDF ``bootloader_support/src/bootloader_utility.c``, ``bootloader_utility_get_selected_boot_partition``,
and ``bootloader_common_loader.c``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from secure_ext.prove.boot_check.findings import Findings, Refused
from secure_ext.prove.boot_check.partition_table import Partition

_ENTRY = struct.Struct("<I20sII")
_SECTOR = 0x1000
_ERASED = 0xFFFFFFFF
_NEW, _PENDING = 0, 1
"""States of a slot: an update that starts for the first time, one that has and was not confirmed."""
_NOT_BOOTABLE = (3, 4)
"""Likewise: invalid, aborted."""


@dataclass(frozen=True)
class OtaEntry:
    """One of the two copies of otadata: its sequence number, and whether the bootloader heeds it."""

    sequence: int
    is_erased: bool
    is_valid: bool
    is_on_trial: bool

    @classmethod
    def of_bytes(cls, content: bytes, *, rolls_back: bool) -> OtaEntry:
        """From its 32 bytes; the CRC covers the sequence number.

        A bootloader that rolls back takes an app that was started and not confirmed for one that failed.
        """
        sequence, _, state, crc = _ENTRY.unpack(content)
        is_erased = sequence == _ERASED
        fits = crc == zlib.crc32(content[:4], _ERASED)
        failed = state in _NOT_BOOTABLE or (rolls_back and state == _PENDING)
        is_valid = fits and not is_erased and not failed
        return cls(sequence, is_erased, is_valid, is_valid and rolls_back and state == _NEW)


@dataclass(frozen=True)
class Choice:
    """The app's partition; on trial it is left again unless the app confirms itself."""

    partition: Partition
    is_on_trial: bool = False


def chosen_app(
    partitions: list[Partition], seen: Callable[[int, int], bytes], findings: Findings, *, rolls_back: bool
) -> Choice:
    """What the bootloader starts; `rolls_back` if it was built to. Raises Refused if there is nothing."""
    slots = {partition.slot: partition for partition in partitions if partition.slot is not None}
    factory = next((partition for partition in partitions if partition.is_factory), None)
    otadata = next((partition for partition in partitions if partition.is_otadata), None)
    if otadata and slots:
        if otadata.size < 2 * _SECTOR:
            raise Refused("BC16", f"partition {otadata.label!r} is smaller than two sectors")
        read = (seen(otadata.offset + at, _ENTRY.size) for at in (0, _SECTOR))
        entries = [OtaEntry.of_bytes(content, rolls_back=rolls_back) for content in read]
        for number, entry in enumerate(entries):
            if not entry.is_erased and not entry.is_valid:
                findings.fault("BC16", f"copy {number} of {otadata.label!r} is neither erased nor valid")
        valid = [entry for entry in entries if entry.is_valid]
        if valid:
            active = max(valid, key=lambda entry: entry.sequence)
            number = (active.sequence - 1) % len(slots)
            if number not in slots:
                raise Refused("BC17", f"{otadata.label!r} chooses slot {number}, which is not there")
            return Choice(slots[number], active.is_on_trial)
    app = factory or slots.get(0)
    if app is None:
        raise Refused("BC17", "the partition table has no app to start")
    return Choice(app)
