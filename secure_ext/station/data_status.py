# SPDX-License-Identifier: Apache-2.0
"""Where the data of a plan stand in their block on a chip.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from secure_ext.station.block_data import BlockData
from secure_ext.station.chip_state import ChipState


def is_burned(step: BlockData, state: ChipState) -> bool:
    """Whether the block holds the data, and can be read."""
    return not _is_hidden(step, state) and _found(step, state) & step.own_bits == step.burned_bits


def data_conflict(step: BlockData, state: ChipState) -> str:
    """Why data that are not in their block can never be burned into it; empty if they can."""
    if _is_hidden(step, state):
        return f"{step.block} is read-protected: nobody can see what it holds"
    found = _found(step, state)
    if step.once and found:
        return f"{step.block} holds something else, and can be burned only once"
    if found & step.own_bits & ~step.burned_bits:
        return f"{step.block} holds something else where the plan's data go"
    if state.has_bit("WR_DIS", step.wr_dis_bit):
        return f"{step.block} is write-protected without the plan's data"
    return ""


def is_half_burned(step: BlockData, state: ChipState) -> bool:
    """Whether the block holds a part of the bits, no other, and can get no more: the power went while it was burned."""
    found = _found(step, state)
    return step.once and bool(found) and not found & ~step.burned_bits and found != step.burned_bits


def _is_hidden(step: BlockData, state: ChipState) -> bool:
    return any(state.has_bit("RD_DIS", bit) for bit in step.rd_dis_bits)


def _found(step: BlockData, state: ChipState) -> int:
    return int.from_bytes(state.blocks[step.block_number], "little")
