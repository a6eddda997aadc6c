# SPDX-License-Identifier: Apache-2.0
"""Which app partition an update goes to, and what has to change in the OTA data.

A board with two OTA slots gets the app into the one that it does not start, and the OTA data last: whatever interrupts
the update before leaves the old app. Where there is no other slot the app is overwritten in its place.
"""

from __future__ import annotations

from secure_ext.build.build import Role
from secure_ext.errors import DeviceError, UsageError
from secure_ext.field.cable.pieces import Piece
from secure_ext.formats.ota_data import SIZE, started_slot, starting, switched
from secure_ext.formats.partition_table import TYPE_APP, Partition, PartitionTable
from secure_ext.plan.boot_slot import ota_data_partition, ota_slots, slot_number
from secure_ext.station.frozen import frozen

_FACTORY = 0x00


@frozen
class Choice:
    """Where the app goes.

    Attributes:
        slot: the partition.
        running: the one that the board starts now; None if nobody can see it.
        switch: the piece of OTA data that makes the board start `slot`; None if nothing has to change.
        is_on_trial: the bootloader goes back to `running` unless the app confirms itself.
    """

    slot: Partition
    running: Partition | None
    switch: Piece | None
    is_on_trial: bool = False

    @property
    def in_place(self) -> bool:
        """Whether the app that the board starts now is overwritten."""
        return self.running is None or self.running == self.slot


def possible_slots(table: PartitionTable, wish: str | None) -> tuple[Partition, ...]:
    """The app partitions that an update may go to: the one that is named, or the OTA slots, or the factory partition.

    Raises UsageError SE981 for a name that is none of them; DeviceError SE982 if the table has none.
    """
    slots, factory = ota_slots(table), _factory(table)
    known = [*([factory] if factory else []), *slots]
    if not known:
        raise DeviceError(
            "SE982",
            "the fleet's partition table has no app partition that a board starts by itself",
            cure="`secure-provision update` writes a factory partition or an OTA slot; test apps and others it leaves",
            place="partition table",
        )
    if wish is None:
        return tuple(slots) or tuple(known)
    named = [row for row in known if wish in (row.label, row.subtype_name)]
    reachable = [row for row in named if (slot_number(row) or 0) < max(len(slots), 1)]
    if len(reachable) != 1 or (len(known) > 1 and not _has_ota_data(table)):
        why = "the boards have no OTA data that could choose it" if reachable else "no board starts it"
        raise UsageError(
            "SE981",
            f"the app cannot go to {wish!r}: {why}",
            cure=f"name one of {', '.join(row.label for row in known)}, or leave --slot out",
            place="--slot",
        )
    return tuple(reachable)


def choose(
    table: PartitionTable, wanted: Partition | None, data: bytes | None, *, rolls_back: bool, is_whole: bool
) -> Choice:
    """Where the app goes on a board whose OTA data can be read.

    Args:
        table: of the board.
        wanted: the partition that is named; None for the one that is safest.
        data: what the board's OTA data are, as the chip reads them; None if the table has none.
        rolls_back: the bootloader was built to go back to the old app.
        is_whole: where the board starts now there is an app to go back to.
    """
    slots = ota_slots(table)
    running = running_slot(table, data, rolls_back=rolls_back)
    slot = wanted or _next(table, running)
    on_trial = rolls_back and is_whole and slot != running and slot_number(slot) is not None
    chosen = None if data is None else started_slot(data, len(slots), rolls_back=rolls_back)
    partition = ota_data_partition(table)
    if data is None or partition is None or slot == running:
        return Choice(slot, running, None)
    number = slot_number(slot)
    if number is None:
        if chosen is None:
            return Choice(slot, running, None)
        return Choice(slot, running, _ota_data(partition, 0, b"\xff" * SIZE))
    at, content = switched(data, number, len(slots), rolls_back=rolls_back, on_trial=on_trial)
    return Choice(slot, running, _ota_data(partition, at, content), on_trial)


def choose_unseen(table: PartitionTable, wanted: Partition | None, boot: str | None) -> Choice:
    """Where the app goes on a board that shows nothing: not where new boards of the fleet start, which is `boot`.

    The OTA data are written whole: nobody can see which of their entries is heeded.
    """
    partition = ota_data_partition(table)
    first = table.labelled(boot) if boot else None
    slot = wanted or _next(table, first or _default(table))
    if partition is None or not _has_ota_data(table):
        return Choice(slot, None, None)
    number = slot_number(slot)
    return Choice(slot, None, _ota_data(partition, 0, b"\xff" * SIZE if number is None else starting(number)))


def running_slot(table: PartitionTable, data: bytes | None, *, rolls_back: bool) -> Partition:
    """What the bootloader tries first: what the OTA data say, else factory, else the first slot."""
    slots = ota_slots(table)
    number = None if data is None else started_slot(data, len(slots), rolls_back=rolls_back)
    numbered = {slot_number(row): row for row in slots}
    return numbered.get(number) or _default(table)


def _default(table: PartitionTable) -> Partition:
    return _factory(table) or ota_slots(table)[0]


def _next(table: PartitionTable, running: Partition) -> Partition:
    """The slot that the running app itself would write an update to; where there is no other, the running one."""
    slots = ota_slots(table)
    if not slots or not _has_ota_data(table):
        return running
    number = slot_number(running)
    return slots[0] if number is None else slots[(number + 1) % len(slots)]


def _has_ota_data(table: PartitionTable) -> bool:
    partition = ota_data_partition(table)
    return partition is not None and partition.size >= SIZE and bool(ota_slots(table))


def _factory(table: PartitionTable) -> Partition | None:
    rows = (row for row in table.partitions if (row.type, row.subtype) == (TYPE_APP, _FACTORY))
    return next(rows, None)


def _ota_data(partition: Partition, at: int, content: bytes) -> Piece:
    return Piece(partition.label, Role.DATA, partition.offset + at, content, covered=True)
