# SPDX-License-Identifier: Apache-2.0
"""The eFuse blocks in which a board may carry something that is not the plan's."""

from __future__ import annotations

from secure_ext.chips.chip import Chip, KeyBlock
from secure_ext.policy.policy import Policy
from secure_ext.station.plan_document import CarriedBlock


def carried_blocks(chip: Chip, policy: Policy) -> tuple[CarriedBlock, ...] | None:
    """The eFuse blocks in which a board may carry something that is not the plan's; None if it may carry nothing.

    With ``keep`` the owner has said what belongs to a board in its flash: then the reserved key blocks, and the block
    of user data and a custom MAC address, may hold something; but not the latter where the plan burns it.
    """
    if policy.keep is None:
        return None
    reserved = {f"BLOCK_{name}" for name in policy.reserved_key_blocks}
    *key_blocks, user_block = known_blocks(chip)
    kept = tuple(block for block in key_blocks if block.block in reserved)
    return kept if policy.user_block.is_wanted else (*kept, user_block)


def known_blocks(chip: Chip) -> tuple[CarriedBlock, ...]:
    """The key blocks of a chip, and last the block of user data."""
    return (*map(_carried, chip.key_blocks), _user_block(chip))


def _carried(block: KeyBlock) -> CarriedBlock:
    purpose = () if block.purpose_wr_dis_bit is None else (block.purpose_wr_dis_bit,)
    return CarriedBlock(block.name, block.number, (block.wr_dis_bit, *purpose), block.rd_dis_bits)


def _user_block(chip: Chip) -> CarriedBlock:
    number = chip.facts.user_block
    protections = {field.wr_dis_bit for field in chip.efuses.fields.values() if field.block == number}
    hidden = {bit for field in chip.efuses.fields.values() if field.block == number for bit in field.rd_dis_bits}
    bits = tuple(sorted(bit for bit in protections if bit is not None))
    return CarriedBlock(f"BLOCK{number}", number, bits, tuple(sorted(hidden)))
