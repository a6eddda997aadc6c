# SPDX-License-Identifier: Apache-2.0
"""Interrupted: the bundle's script goes on from every state it left behind."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hardware_writes import Write, after_each_write
from matrix_boards import ESP32, ESP32C2, ESP32C6, ESP32S3, Board
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Bundles, Cell, Made
from support.matrix_tools import read_efuses

WRITES = {
    # highest key block first; then BLOCK0: what is harmless, what hides and enables, what write-protects, and the seal
    ESP32: [-1, 2, 1, 0, 0, 0, 0],
    ESP32C2: [-1, 3, 0, 0, 0, 0],
    ESP32C6: [-1, 9, 5, 4, 0, 0, 0, 0],
    ESP32S3: [-1, 9, 6, 5, 4, 0, 0, 0, 0],
}
QUICK_CUTS = {(ESP32C6, 4)}
"""With keys and purposes but without protections."""

CUTS = [
    pytest.param(cell, cut, id=f"{cell}-{cut}", marks=[] if (cell, cut) in QUICK_CUTS else [pytest.mark.long])
    for cell, blocks in WRITES.items()
    for cut in range(len(blocks))
]
States = Callable[[Cell], list[Write]]


@pytest.fixture(scope="module")
def states(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> States:
    """What the chip of a cell is after each hardware write; found out when first asked for."""
    found: dict[Cell, list[Write]] = {}

    def states_of(cell: Cell) -> list[Write]:
        if cell not in found:
            folder = tmp_path_factory.mktemp(f"writes-{cell}")
            found[cell] = after_each_write(bundles(cell).folder, folder / "whole.bin", folder)
        return found[cell]

    return states_of


@pytest.mark.parametrize(("cell", "cut"), CUTS)
def test_a_power_cut_after_any_write_is_mended_by_the_next_run(
    cell: Cell, cut: int, states: States, bundles: Bundles, tmp_path: Path
) -> None:
    """Whatever a cut between two hardware writes leaves, running the script again completes the chip."""
    writes = states(cell)
    assert [write.block for write in writes] == WRITES[cell]
    board = at_state(writes[cut], bundles(cell), tmp_path)
    resumed = board.provision()
    assert resumed.exit_code == 0, resumed.output
    assert board.unmet() == []


def at_state(write: Write, made: Made, folder: Path) -> Board:
    board = Board(made, folder / "chip.bin")
    shutil.copy(write.chip_file, board.chip_file)
    shutil.copy(f"{write.chip_file}.journal.json", f"{board.chip_file}.journal.json")
    return board


@pytest.mark.long
@pytest.mark.parametrize("cell", [ESP32C6, ESP32C2, ESP32], ids=str)
def test_a_power_cut_in_the_run_that_mends_is_mended_as_well(
    cell: Cell, states: States, bundles: Bundles, tmp_path: Path
) -> None:
    """The run that mends can be cut as well: every interrupted run leaves what the next one mends."""
    writes = states(cell)
    keys_only = max(number for number, write in enumerate(writes) if write.block > 0)
    board = at_state(writes[keys_only], bundles(cell), tmp_path)
    second = tmp_path / "second"
    second.mkdir()
    for number, write in enumerate(after_each_write(board.made.folder, board.chip_file, second)):
        folder = tmp_path / str(number)
        folder.mkdir()
        again = at_state(write, board.made, folder)
        resumed = again.provision()
        assert resumed.exit_code == 0, resumed.output
        assert again.unmet() == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("cell", [ESP32C6, ESP32C2], ids=str)
def test_a_cut_inside_a_write_is_completed_or_refused(
    cell: Cell, seed: int, states: States, bundles: Bundles, tmp_path: Path
) -> None:
    """Some bits of one write of BLOCK0 are burned, others are not: the script never takes such a chip for done."""
    chance = random.Random(seed)
    writes = states(cell)
    last = len(writes) - 2  # the write that protects and enables
    number = chance.choice([last - 1, last])
    before = read_efuses(cell.chip, writes[number - 1].chip_file).blocks[0]
    after = read_efuses(cell.chip, writes[number].chip_file).blocks[0]
    new_bits = [bit for bit in range(len(after) * 8) if (after[bit // 8] & ~before[bit // 8]) >> bit % 8 & 1]
    burned = [str(bit) for bit in new_bits if chance.random() < chance.choice([0.1, 0.5, 0.9])]
    board = at_state(writes[number - 1], bundles(cell), tmp_path)
    if burned:
        board.burn("burn-bit", "BLOCK0", *burned)
    resumed = board.provision()
    unmet = board.unmet()
    assert (resumed.exit_code == 0) == (unmet == []), (burned, resumed.output, unmet)
    if resumed.exit_code:
        assert resumed.exit_code in (4, 5)
        assert "STOP SE8" in resumed.output


@pytest.mark.long
@pytest.mark.parametrize("lost", ["nothing", "journal"])
def test_only_the_journal_tells_own_hidden_keys_from_foreign_ones(
    lost: str, states: States, bundles: Bundles, tmp_path: Path
) -> None:
    """Cut after the keys were hidden but before the chip was sealed: the keys cannot be compared any more."""
    writes = states(ESP32C6)
    board = at_state(writes[4], bundles(ESP32C6), tmp_path)
    board.burn("read-protect-efuse", "BLOCK_KEY0", "BLOCK_KEY5")
    if lost == "journal":
        Path(f"{board.chip_file}.journal.json").unlink()
        board.expect_refusal("SE822")
    else:
        assert board.provision().exit_code == 0
        assert board.unmet() == []
