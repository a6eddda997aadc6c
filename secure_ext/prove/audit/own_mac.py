# SPDX-License-Identifier: Apache-2.0
"""The plan of the board that is audited, where each board has a custom MAC address of its own."""

from __future__ import annotations

from pathlib import Path

from secure_ext.bundle.mac_list_file import list_of, read_mac_list
from secure_ext.chips.chip import load_chip
from secure_ext.chips.user_block import user_block
from secure_ext.errors import InputError
from secure_ext.plan.block_data import with_board_mac
from secure_ext.station.chip_state import ChipState
from secure_ext.station.plan_document import PlanDocument


def plan_of_board(plan: PlanDocument, folder: Path, state: ChipState) -> PlanDocument:
    """The plan with the address that the board has, if the list in the bundle at `folder` has it for this board.

    Else it is left without one, and no board is as it says.
    """
    if list_of(plan) is None:
        return plan
    block = user_block(load_chip(plan.chip, plan.min_revision))
    found = block.mac_in(state.blocks[block.number])
    try:
        macs = read_mac_list(folder, plan)
    except InputError:
        return plan
    rows = () if macs is None else macs.rows
    is_listed = any(row.custom_mac == found and row.board in (None, bytes.fromhex(state.mac)) for row in rows)
    return with_board_mac(plan, found) if is_listed else plan
