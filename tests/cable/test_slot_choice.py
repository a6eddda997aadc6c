# SPDX-License-Identifier: Apache-2.0
"""Which slot an update goes to, and what the OTA data become; the boot check's own reading of them is the judge."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_ext.errors import SecureProvisionError
from secure_ext.field.cable.slot import Choice, choose, choose_unseen, possible_slots
from secure_ext.formats.ota_data import SIZE
from secure_ext.formats.partition_table import Partition, PartitionTable
from secure_ext.prove.boot_check import partition_table
from secure_ext.prove.boot_check.app_choice import chosen_app
from secure_ext.prove.boot_check.findings import Findings

SECTOR = 0x1000
FACTORY = Partition("factory", 0, 0x00, 0x10000, 0x10000)
OTA = [Partition(f"ota_{number}", 0, 0x10 + number, 0x20000 + number * 0x10000, 0x10000) for number in range(4)]
DATA = Partition("otadata", 1, 0x00, 0xD000, 0x2000)


def table(slots: int, *, factory: bool = False, data: bool = True) -> PartitionTable:
    rows = [*([DATA] if data else []), *([FACTORY] if factory else []), *OTA[:slots]]
    return PartitionTable(tuple(rows), has_md5=True)


def entry(number: int, state: int = 2, *, damaged: bool = False) -> bytes:
    crc = zlib.crc32(struct.pack("<I", number), 0xFFFFFFFF) ^ damaged
    return struct.pack("<I20sII", number, b"\xff" * 20, state, crc).ljust(SECTOR, b"\xff")


def started(rows: PartitionTable, data: bytes, *, rolls_back: bool) -> str:
    """What the boot check says that the bootloader starts."""
    parsed = [
        partition_table.Partition(row.label, row.type, row.subtype, row.offset, row.size, row.flags)
        for row in rows.partitions
    ]

    def seen(offset: int, size: int) -> bytes:
        return data[offset - DATA.offset : offset - DATA.offset + size]

    return chosen_app(parsed, seen, Findings(), rolls_back=rolls_back).partition.label


def after(data: bytes, choice: Choice) -> bytes:
    """The OTA data once they were written."""
    if choice.switch is None:
        return data
    at = choice.switch.offset - DATA.offset
    return data[:at] + choice.switch.plain + data[at + len(choice.switch.plain) :]


entries = st.one_of(
    st.just(b"\xff" * SECTOR),
    st.builds(entry, st.integers(1, 50), st.sampled_from([0, 1, 2, 3, 4, 0xFFFFFFFF]), damaged=st.booleans()),
    st.binary(min_size=32, max_size=32).map(lambda noise: noise.ljust(SECTOR, b"\xff")),
)


@given(
    slots=st.integers(1, 4),
    factory=st.booleans(),
    data=st.tuples(entries, entries).map(b"".join),
    rolls_back=st.booleans(),
    is_whole=st.booleans(),
    named=st.integers(0, 4) | st.none(),
)
def test_the_board_starts_what_was_chosen(  # noqa: PLR0917 (given by hypothesis)
    slots: int, factory: bool, data: bytes, rolls_back: bool, is_whole: bool, named: int | None
) -> None:
    """Whatever the OTA data were; and an entry that was heeded is not touched."""
    rows = table(slots, factory=factory)
    known = [*([FACTORY] if factory else []), *OTA[:slots]]
    wanted = None if named is None else known[named % len(known)]
    before = started(rows, data, rolls_back=rolls_back)
    choice = choose(rows, wanted, data, rolls_back=rolls_back, is_whole=is_whole)
    assert choice.running is not None and choice.running.label == before
    new = after(data, choice)
    assert started(rows, new, rolls_back=rolls_back) == choice.slot.label
    if wanted is None and (slots > 1 or (factory and before == "factory")):
        assert choice.slot != choice.running
    if choice.switch is not None and len(choice.switch.plain) == SECTOR:
        at = choice.switch.offset - DATA.offset
        erased = data[:at] + b"\xff" * SECTOR + data[at + SECTOR :]
        assert started(rows, erased, rolls_back=rolls_back) == before


@given(slots=st.integers(1, 4), factory=st.booleans(), named=st.integers(0, 4) | st.none())
def test_a_board_that_shows_nothing(slots: int, factory: bool, named: int | None) -> None:
    """It gets whole OTA data, and not in the place that new boards start, if there is another."""
    rows = table(slots, factory=factory)
    known = [*([FACTORY] if factory else []), *OTA[:slots]]
    wanted = None if named is None else known[named % len(known)]
    choice = choose_unseen(rows, wanted, None)
    assert choice.switch is not None and len(choice.switch.plain) == SIZE
    assert started(rows, choice.switch.plain, rolls_back=True) == choice.slot.label
    if wanted is None and len(known) > 1:
        assert choice.slot != known[0]
    assert choose_unseen(rows, wanted, "ota_0").slot == (wanted or OTA[1 % slots])


@pytest.mark.parametrize("rows", [table(0, factory=True), table(0, factory=True, data=False), table(1, data=False)])
def test_where_nothing_can_be_chosen_the_app_goes_in_place(rows: PartitionTable) -> None:
    data = b"\xff" * SIZE if DATA in rows.partitions else None
    choice = choose(rows, None, data, rolls_back=False, is_whole=True)
    assert (choice.in_place, choice.switch, choice.slot) == (True, None, rows.partitions[-1])
    assert choose_unseen(rows, None, None).switch is None


def test_on_trial_only_if_there_is_something_to_go_back_to() -> None:
    rows, data = table(2), b"\xff" * SIZE
    assert choose(rows, None, data, rolls_back=True, is_whole=True).is_on_trial
    assert not choose(rows, None, data, rolls_back=True, is_whole=False).is_on_trial
    assert not choose(rows, None, data, rolls_back=False, is_whole=True).is_on_trial


def test_slots_that_are_named() -> None:
    rows = table(2, factory=True)
    assert possible_slots(rows, None) == tuple(OTA[:2])
    assert possible_slots(rows, "factory") == (FACTORY,)
    assert possible_slots(rows, "ota_1") == (OTA[1],)
    for wrong, rows_there in (("otadata", rows), ("ota_3", rows), ("ota_0", table(2, data=False))):
        with pytest.raises(SecureProvisionError, match="SE981"):
            possible_slots(rows_there, wrong)
    with pytest.raises(SecureProvisionError, match="SE982"):
        possible_slots(PartitionTable((DATA, replace(FACTORY, subtype=0x20)), has_md5=True), None)
