# SPDX-License-Identifier: Apache-2.0

"""Boards in each state of security are updated by cable: app, data and bootloader; after it they boot.

The boot check judges: it decrypts the flash with the keys in the eFuses, verifies the signatures, follows the OTA data,
and compares each partition with what the build has for it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cable_world import EVERYTHING, BoardOf, provisioned_boards  # noqa: F401 (a fixture)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Cell
from support.matrix_tools import esptool_version

from secure_ext.checks import Outcome

CHIPS = ("esp32", "esp32c3", "esp32c6", "esp32s3")
OPEN = [Cell(chip, features) for chip in CHIPS for features in ("boot", "development", "release", "both")]
OPEN += [Cell("esp32s3", "both", key_bits=256), Cell("esp32c6", "both", keys=3)]
SEALED = [Cell(chip, features) for chip in CHIPS[1:] for features in ("boot", "release", "both")]
QUICK = Cell("esp32c3", "both")


def cells(of: list[Cell]) -> list[object]:
    return [pytest.param(cell, id=str(cell), marks=() if cell == QUICK else pytest.mark.long) for cell in of]


@pytest.mark.parametrize("cell", cells(OPEN))
def test_all_of_a_build_onto_an_open_board(cell: Cell, board_of: BoardOf, tmp_path: Path) -> None:
    """The app goes into the other slot; a second run, which signs anew, finds everything there."""
    board = board_of(cell)
    prepared = board.prepared(everything=True, bootloader=True)
    done = board.update(prepared)
    report = board.boot(prepared, done, tmp_path)
    assert report.boots, report.faults
    assert done.written == EVERYTHING
    assert done.choice is not None and done.choice.slot.label == "ota_1"
    assert any("starts 'ota_1'" in line for line in report.log)
    assert {check.name for check in done.checks if check.outcome is Outcome.FAILED} == set()
    flash = board.flash
    again = board.update(board.prepared(everything=True, bootloader=True))
    assert (again.written, board.flash) == ((), flash)
    is_closed = cell.features in ("release", "both")
    misread = esptool_version() < (5, 6)
    if not misread:
        assert bool(done.forced) == is_closed


@pytest.mark.long
@pytest.mark.parametrize("cell", cells(SEALED))
def test_all_of_a_build_onto_a_sealed_board(cell: Cell, board_of: BoardOf, tmp_path: Path) -> None:
    """In secure download mode nothing is read: what nobody saw is said to be unseen, and never passed."""
    board = board_of(cell, "seal")
    prepared = board.prepared(everything=True, bootloader=True)
    done = board.update(prepared)
    report = board.boot(prepared, done, tmp_path)
    assert report.boots, report.faults
    assert done.board.is_sealed and done.written == EVERYTHING
    unseen = {(check.name, check.place) for check in done.checks if check.outcome is Outcome.NOT_VERIFIABLE}
    assert {("written", name) for name in EVERYTHING} <= unseen
    assert ("board-digests", "the board") in unseen or not cell.has_secure_boot
    assert ("board-flash-key", "the board") in unseen or not cell.has_flash_encryption
    assert bool(done.forced) == cell.has_flash_encryption


@pytest.mark.long
def test_the_app_alone_leaves_all_else(board_of: BoardOf, tmp_path: Path) -> None:
    board = board_of(QUICK)
    before = board.flash
    prepared = board.prepared()
    done = board.update(prepared)
    assert done.written == ("ota_1", "otadata")
    report = board.boot(prepared, done, tmp_path)
    assert report.boots, report.faults
    after = board.flash
    (slot, size), (otadata, _) = (piece.place for piece in done.pieces)
    changed = {at for at in range(0, len(after), 0x1000) if after[at : at + 0x1000] != before[at : at + 0x1000]}
    assert changed == {*range(slot, slot + size, 0x1000), otadata}


@pytest.mark.long
def test_updates_alternate_between_the_slots(board_of: BoardOf, tmp_path: Path) -> None:
    """Each goes into the slot that is not started; the OTA data never lose the entry that holds."""
    board = board_of(Cell("esp32c3", "both"))
    from cable_world import new_options

    from secure_ext.sample import make_sample_build

    for number, slot in enumerate(("ota_1", "ota_0", "ota_1", "ota_0")):
        options = new_options(Cell("esp32c3", "both"), app_size=46_000 + 1000 * number)
        build = make_sample_build(tmp_path / str(number), "esp32c3", options=options)
        prepared = board.prepared(build)
        done = board.update(prepared)
        assert done.written == (slot, "otadata")
    assert board.update(prepared).written == ()


@pytest.mark.long
def test_a_slot_that_is_named(board_of: BoardOf, tmp_path: Path) -> None:
    """In the place of the running app: the OTA data stay."""
    board = board_of(Cell("esp32c3", "both"))
    prepared = board.prepared(slot="ota_0")
    done = board.update(prepared)
    assert done.written == ("ota_0",)
    assert any("which the board starts now" in line for line in board.said)
    assert board.boot(prepared, done, tmp_path).boots
