# SPDX-License-Identifier: Apache-2.0

"""The power goes in the middle of an update: the board starts the old app or the new one; a second run finishes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cable_world import BoardOf, CableBoard, provisioned_boards  # noqa: F401 (a fixture)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Cell

from secure_ext.bundle.read import read_bundle
from secure_ext.errors import SecureProvisionError
from secure_ext.field.cable.prepare import Prepared
from secure_ext.field.cable.update import Updated
from secure_ext.prove.boot_check.boot_check import BootReport, boot_check

CELL = Cell("esp32c3", "both")


def flash_events(board: CableBoard, prepared: Prepared, folder: Path) -> int:
    """How many erases and writes of flash an update takes."""
    log = folder / "events"
    with board.chip(log=log) as chip:
        board.update_on(chip.url, prepared)
    return max(int(json.loads(line)["flash"]) for line in log.read_text().splitlines())


def faults_of_start(board: CableBoard) -> set[str]:
    """Why it would not start at all; what the flash holds beside is another question."""
    report = boot_check(board.state, board.made.folder)
    beside = {"BC19", "BC20", "BC21", "BC22", "BC40"}
    return {fault.code for fault in report.faults} - beside


def faults(report: BootReport, done: Updated) -> list[str]:
    """What is wrong in the end. Where the cut came behind the entry in its sector, the first run has switched already,
    and nobody reads what would follow.
    """
    switched = done.choice is not None and done.choice.switch is None
    return [fault.cause for fault in report.faults if not (switched and fault.cause.startswith("otadata: "))]


def cut(board: CableBoard, prepared: Prepared, number: int) -> None:
    with board.chip(cut=f"flash:{number}") as chip, pytest.raises(SecureProvisionError) as error:
        board.update_on(chip.url, prepared)
    assert error.value.code in ("SE983", "SE985", "SE810", "SE828"), error.value


def copy(board: CableBoard, folder: Path) -> CableBoard:
    shutil.copytree(board.state, folder)
    return CableBoard(board.made, board.build, folder)


@pytest.mark.long
def test_a_cut_in_the_app_or_the_ota_data(board_of: BoardOf, tmp_path: Path) -> None:
    """At packets spread over all: the old app starts as before, until the new one does. Then it is finished."""
    board = board_of(CELL)
    prepared = board.prepared()
    last = flash_events(copy(board, tmp_path / "whole"), prepared, tmp_path)
    for number in sorted({1, last - 1, last, *(1 + number * (last - 1) // 16 for number in range(1, 16))}):
        one = copy(board, tmp_path / f"cut-{number}")
        cut(one, prepared, number)
        assert faults_of_start(one) <= {"BC16"}, number  # an entry of the OTA data that is not whole is passed over
        again = one.prepared()  # signed anew, as another run of the command does
        done = one.update(again)
        report = one.boot(again, done, tmp_path / f"again-{number}")
        assert faults(report, done) == [], number


@pytest.mark.long
@pytest.mark.parametrize("cell", [CELL, Cell("esp32", "both"), Cell("esp32c6", "boot")], ids=str)
@pytest.mark.parametrize("until", ["burn", "seal"])
def test_a_cut_in_all_of_a_build(cell: Cell, until: str, board_of: BoardOf, tmp_path: Path) -> None:
    """Also in the bootloader, after which a board starts nothing until the update is run again; open or sealed."""
    if cell.chip == "esp32" and until == "seal":
        pytest.skip("a sealed esp32 has no download mode: nothing can be written to it by cable")
    board = board_of(cell, until)
    prepared = board.prepared(everything=True, bootloader=True)
    last = flash_events(copy(board, tmp_path / "whole"), prepared, tmp_path)
    for number in sorted({1, last, *(1 + number * (last - 1) // 9 for number in range(1, 9))}):
        one = copy(board, tmp_path / f"cut-{number}")
        cut(one, prepared, number)
        again = one.prepared(everything=True, bootloader=True)
        done = one.update(again)
        report = one.boot(again, done, tmp_path / f"again-{number}")
        assert faults(report, done) == [], number


@pytest.mark.long
def test_a_cut_in_the_only_slot(board_of: BoardOf, tmp_path: Path) -> None:
    """In its place the app starts no more; the partition table still proves the board, and a second run finishes it."""
    board = board_of(CELL)
    prepared = board.prepared(slot="ota_0")
    cut(board, prepared, 3)
    assert faults_of_start(board)
    again = board.prepared(slot="ota_0")
    assert board.boot(again, board.update(again), tmp_path).boots
    assert read_bundle(board.made.folder).plan.chip == CELL.chip
