# SPDX-License-Identifier: Apache-2.0
"""Boards to audit: provisioned by the real script on virtual eFuses, then changed one eFuse at a time in memory."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.matrix_cells import TEN_CHIPS, Bundles, Cell
from support.matrix_tools import espefuse, provision
from support.release_oracle import Efuses

from secure_ext.chips.chip import Chip, load_chip
from secure_ext.plan.read_document import read_plan
from secure_ext.prove.audit.board import Board
from secure_ext.station.chip_state import ChipState, parse_state
from secure_ext.station.plan_document import PlanDocument

QUICK = ("esp32c3",)
EACH_CHIP = pytest.mark.parametrize(
    "chip", [pytest.param(chip, marks=() if chip in QUICK else pytest.mark.long) for chip in TEN_CHIPS]
)
MORE_CELLS = (
    *(Cell("esp32c3", features) for features in ("release", "development", "boot")),
    Cell("esp32s3", "both", key_bits=256),
    Cell("esp32c6", "both", keys=3),
    Cell("esp32h2", "both", min_revision=102),
    Cell("esp32p4", "both", min_revision=302),
)
EACH_CELL = pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=str(cell), marks=() if cell == Cell(QUICK[0], "both") else pytest.mark.long)
        for cell in (*(Cell(chip, "both") for chip in TEN_CHIPS), *MORE_CELLS)
    ],
)


@dataclass(frozen=True)
class Provisioned:
    """A finished board: the bundle it comes from, its virtual eFuses, and what espefuse shows of them."""

    bundle: Path
    efuses: Path
    plan: PlanDocument
    state: ChipState
    chip: Chip

    def board(self, **changes: Any) -> Board:
        """The board as an audit gets it, with another state if one is given."""
        return Board(self.chip.name, "a board", **{"state": self.state, **changes})


Boards = Callable[[Cell], Provisioned]


@functools.cache
def provisioned_board(bundle: Path, cell: Cell, efuses: Path) -> Provisioned:
    """Runs the bundle's script; once for all test files."""
    done = provision(bundle, efuses)
    assert done.exit_code == 0, done.output
    output = espefuse(cell.chip, efuses, "dump", "summary", "--format", "json")
    state = parse_state(json.loads(output[output.rindex("\n{\n") :]), output)
    return Provisioned(bundle, efuses, read_plan(bundle / "plan.json"), state, load_chip(cell.chip, state.revision))


@pytest.fixture(name="boards", scope="session")
def provisioned_boards(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Boards:
    """The finished board of a cell of the matrix; its files must not be changed."""
    folder = tmp_path_factory.getbasetemp() / "boards"
    folder.mkdir(exist_ok=True)
    return lambda cell: provisioned_board(bundles(cell).folder, cell, folder / f"{cell}.bin")


def burned(was: Provisioned, field: str, value: int, *, word: str = "") -> ChipState:
    """The state of the board if `field` had another value; all that follows from it, such as protections, follows."""
    block, start, bits = was.state.places[field]
    number = int.from_bytes(was.state.blocks[block], "little")
    number = number & ~(((1 << bits) - 1) << start) | value << start
    content = number.to_bytes(len(was.state.blocks[block]), "little")
    state = with_block(was, block, content)
    return replace(state, texts={**state.texts, **({field: word} if word else {})})


def with_block(was: Provisioned, block: int, content: bytes) -> ChipState:
    """The state of the board if a block had another content."""
    blocks = {**was.state.blocks, block: content}
    values = {
        name: int.from_bytes(blocks[number], "little") >> start & ((1 << bits) - 1)
        for name, (number, start, bits) in was.state.places.items()
    }
    locks = {name: field.wr_dis_bit for name, field in was.chip.efuses.fields.items()}
    writable = {
        name: free if locks.get(name) is None else not values["WR_DIS"] >> int(str(locks[name])) & 1
        for name, free in was.state.writable.items()
    }
    return replace(was.state, blocks=blocks, values=values, writable=writable)


def without_bit(was: Provisioned, field: str, bit: int) -> ChipState:
    """The state of the board without one bit of WR_DIS or RD_DIS."""
    return burned(was, field, was.state.values[field] & ~(1 << bit))


def as_efuses(was: Provisioned, state: ChipState) -> Efuses:
    """A state as the oracle of the matrix takes it."""
    hidden = {
        name
        for name, field in was.chip.efuses.fields.items()
        if any(state.values["RD_DIS"] >> bit & 1 for bit in field.rd_dis_bits)
    }
    if was.chip.has_one_key_block:  # its halves are no rows of espefuse's table
        halves = ("BLOCK_KEY0_LOW_128", "BLOCK_KEY0_HI_128")
        hidden |= {name for bit, name in enumerate(halves) if state.values["RD_DIS"] >> bit & 1}
    locked = frozenset(name for name, free in state.writable.items() if not free)
    return Efuses(state.values, state.texts, locked, frozenset(hidden), state.blocks)
