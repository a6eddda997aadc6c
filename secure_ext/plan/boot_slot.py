# SPDX-License-Identifier: Apache-2.0
"""Which app a new board starts, if the profile says so: its slot, the build's files as they lie then, the OTA data.

Source: ESP-IDF ``components/bootloader_support/src/bootloader_utility.c`` (bootloader_utility_load_partition_table,
bootloader_utility_get_selected_boot_partition).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from secure_ext.build.build import Build, BuildFile, Role
from secure_ext.errors import UsageError
from secure_ext.formats.ota_data import SIZE, starting
from secure_ext.formats.partition_table import DATA_OTA, TYPE_APP, TYPE_DATA, Partition, PartitionTable
from secure_ext.policy.policy import Policy

_FACTORY, _TEST = 0x00, 0x20
_OTA_SLOTS = range(0x10, 0x20)
_PLACE = "profile: boot"
_APP = "app"
"""ESP-IDF's name of the project's own app in flasher_args.json."""


def slot_number(partition: Partition) -> int | None:
    """The number of an OTA slot; None for any other partition."""
    is_slot = partition.type == TYPE_APP and partition.subtype in _OTA_SLOTS
    return partition.subtype - _OTA_SLOTS.start if is_slot else None


def ota_slots(table: PartitionTable) -> list[Partition]:
    """The OTA slots of a table, by number."""
    return sorted(
        (row for row in table.partitions if slot_number(row) is not None), key=lambda row: slot_number(row) or 0
    )


def ota_data_partition(table: PartitionTable) -> Partition | None:
    """Where the bootloader reads which slot to start."""
    rows = (row for row in table.partitions if (row.type, row.subtype) == (TYPE_DATA, DATA_OTA))
    return next(rows, None)


def boot_slot(build: Build, policy: Policy) -> Partition | None:
    """The app partition that a new board starts, by the profile; None if it leaves that to the build.

    Raises UsageError SE420 if there is no such app partition, SE421 for one that OTA data cannot choose, SE422 if there
    are no OTA data to choose it, or the profile has others.
    """
    if policy.boot is None:
        return None
    slot = _named(build.partitions, policy.boot)
    data = ota_data_partition(build.partitions)
    if slot.subtype != _FACTORY:
        _refuse_unreachable(build.partitions, slot)
        if data is None or data.size < SIZE:
            raise _no_ota_data(
                f"a board starts {slot.label} only if its OTA data say so, and "
                + ("there is no partition for them" if data is None else f"their partition is below 0x{SIZE:x} bytes"),
                f"add to the partition CSV: otadata, data, ota, , 0x{SIZE:x}; then build again",
            )
    if data is not None and data.label in policy.images:
        raise _no_ota_data(
            f"the profile names an image for the OTA data, and `boot` has them made to start {slot.label}",
            f"take {data.label} out of `images`, or take `boot` out",
        )
    return slot


def placed_files(build: Build, policy: Policy, slot: Partition | None) -> tuple[BuildFile, ...]:
    """The build's files where they go: its own app into `slot`, unless that has an image; no OTA data of its own then.

    Raises UsageError SE423 if `slot` gets no image.
    """
    if slot is None or not build.files:
        return build.files
    data = ota_data_partition(build.partitions)
    files = [file for file in build.files if data is None or file.partition != data.label]
    if slot.label in policy.images or any(file.partition == slot.label for file in files):
        return tuple(files)
    own = _own_app(build, files)
    if own is None:
        raise UsageError(
            "SE423",
            f"a new board is to start {slot.label}, and there is no image for it: which of the build's apps is meant "
            "cannot be seen",
            cure=f"name it in the profile, under `images`: {slot.label}: FILE",
            place=_PLACE,
        )
    moved = replace(own, partition=slot.label, offset=slot.offset)
    return tuple(moved if file is own else file for file in files)


def boot_data(slot: Partition) -> bytes:
    """The OTA data with which a new board starts `slot`: erased for the factory app."""
    number = slot_number(slot)
    return b"\xff" * SIZE if number is None else starting(number)


def _own_app(build: Build, files: Sequence[BuildFile]) -> BuildFile | None:
    """The project's own app: what ESP-IDF calls so, or the only one that is no test app and no TEE."""
    rows = {row.label: row for row in build.partitions.partitions}
    apps = [
        file
        for file in files
        if file.role is Role.APP and (rows[file.partition or ""].subtype in (_FACTORY, *_OTA_SLOTS))
    ]
    named = [file for file in apps if file.name == _APP] or apps
    return named[0] if len(named) == 1 else None


def _named(table: PartitionTable, name: str) -> Partition:
    apps = [row for row in table.partitions if row.type == TYPE_APP]
    found = [row for row in apps if name in (row.label, row.subtype_name)]
    if len(found) != 1:
        what = "several app partitions are called" if found else "the partition table has no app partition"
        known = ", ".join(f"{row.label} ({row.subtype_name})" for row in apps)
        raise UsageError(
            "SE420",
            f"{what} {name!r}, by label or subtype",
            cure=f"name one of them as it is called in no other way: {known}",
            place=_PLACE,
        )
    return found[0]


def _refuse_unreachable(table: PartitionTable, slot: Partition) -> None:
    number, count = slot_number(slot), len(ota_slots(table))
    if number is not None and number < count:
        return
    why = "it is no factory app and no OTA slot"
    if number is not None:
        why = f"it is slot {number} of {count}: the numbers of the slots have a gap"
    elif slot.subtype == _TEST:
        why = "it is a test app, which a pin chooses"
    raise UsageError(
        "SE421",
        f"a board cannot be made to start {slot.label}: {why}",
        cure="name factory or an OTA slot; OTA slots are numbered from ota_0 on, without a gap",
        place=_PLACE,
    )


def _no_ota_data(cause: str, cure: str) -> UsageError:
    return UsageError("SE422", cause, cure=cure, place=_PLACE)
