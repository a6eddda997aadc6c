# SPDX-License-Identifier: Apache-2.0
"""The step that burns a custom MAC address and user data, and what is demanded of it.

A block with check bytes is burned in one go: both go into it together. On an esp32, whose block has none, other fields
of it are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from secure_ext.chips.chip import Chip, load_chip
from secure_ext.chips.mac_address import mac_text
from secure_ext.chips.user_block import UserBlock, user_block
from secure_ext.errors import UsageError
from secure_ext.plan.steps import BurnData, BurnField, Plan, Stage, Step, WriteProtect
from secure_ext.policy.policy import Policy
from secure_ext.station.plan_document import DataStep, MustBeClear, PlanDocument

_VERSION = "SECURE_VERSION"


def data_steps(chip: Chip, policy: Policy, secure_version: int | None) -> Iterator[Step]:
    """The step for what a profile wants in the block; none if it wants nothing.

    Args:
        chip: the target.
        policy: what is wanted.
        secure_version: the app's, which the board's must not exceed; None if nobody compares them.

    Raises UsageError SE432 for data that do not fit, or lie where something else is; SE433 for a write protection that
    protects nothing, or too much.
    """
    wanted, block = policy.user_block, user_block(chip)
    if wanted.write_protect and not wanted.is_wanted:
        raise _unprotectable("nothing is burned into it")
    if not wanted.is_wanted:
        return
    counted = any(name == _VERSION for name, _, _ in block.fields_of_others) and (
        secure_version is not None or _VERSION in policy.efuses
    )
    if wanted.write_protect and secure_version is not None and counted:
        why = f"it would also protect {_VERSION} on {chip.name}, and the firmware raises that with its updates"
        raise _unprotectable(why)
    content = bytes(block.size)
    if wanted.user_data is not None:
        content = _user_data(block, wanted.user_data, has_mac=wanted.has_mac, counted=counted)
    mask = _own_bytes(block, wanted.user_data, has_mac=wanted.has_mac)
    if wanted.custom_mac is not None:
        content = block.with_mac(content, wanted.custom_mac)
    holds = (
        *(("custom_mac",) if wanted.has_mac else ()),
        *(("user_data",) if wanted.user_data is not None else ()),
    )
    action = BurnData(block, content, mask, holds, None if wanted.macs is None else wanted.macs.sha256)
    yield Step(
        f"burn-data-{block.name.lower()}",
        Stage.BURN,
        action,
        data_title(action),
        "the profile asks for it" + (", and this block can be burned only once" if block.once else ""),
        ", ".join(f"profile: {key}" for key in holds),
    )


def data_title(action: BurnData) -> str:
    """What the step does, in words."""
    address = f"the custom MAC address {mac_text(action.block.mac_in(action.data))}"
    if action.mac_list is not None:
        address = "a custom MAC address of the board's own, from the list,"
    parts = {"custom_mac": address, "user_data": "user data"}
    return f"Burn {' and '.join(parts[what] for what in action.holds)} into {action.block.name}"


def with_board_mac(document: PlanDocument, mac: bytes) -> PlanDocument:
    """The plan of one board: with its custom MAC address, where the plan of all has a list."""
    block = user_block(load_chip(document.chip, document.min_revision))
    return replace(
        document,
        steps=tuple(
            _of_board(step, block, mac) if isinstance(step, DataStep) and step.mac_list is not None else step
            for step in document.steps
        ),
    )


def _of_board(step: DataStep, block: UserBlock, mac: bytes) -> DataStep:
    data = block.with_mac(step.content, mac)
    title = data_title(BurnData(block, data, bytes.fromhex(step.mask), step.holds))
    return replace(step, data=data.hex(), mac_list=None, title=title)


def data_fault(chip: Chip, step: Step, action: BurnData, before: Iterable[Step]) -> str:
    """Why the step may not stand behind those `before`; empty if it may."""
    block, before = user_block(chip), tuple(before)
    if step.stage is not Stage.BURN:
        return "data are burned in the burn stage"
    if action.block != block or len(action.data) != block.size or len(action.mask) != block.size:
        return "this is not the block of user data"
    if any(isinstance(other.action, BurnData) for other in before):
        return f"{block.name} is burned already"
    if any(isinstance(other.action, WriteProtect) and other.action.wr_dis_bit == block.wr_dis_bit for other in before):
        return f"{block.name} is write-protected by an earlier step"
    if any(other.stage is Stage.SEAL for other in before):
        return "the seal comes last"
    return _content_fault(block, action) or _shared_fault(chip, action, before)


def _content_fault(block: UserBlock, action: BurnData) -> str:
    is_listed = action.mac_list is not None
    if is_listed and ("custom_mac" not in action.holds or any(action.data[at] for at in block.mac_bytes)):
        return "the board's own address goes where there is something already"
    if not (any(action.data) or is_listed) or any(action.data[block.room :]):
        return f"{block.name} has room for {block.room} bytes, and one bit at least is burned"
    if any(byte & ~own for byte, own in zip(action.data, action.mask, strict=True)):
        return "it burns bits that it does not take for its own"
    if block.once and action.mask != b"\xff" * block.size:
        return f"{block.name} is burned as a whole"
    if "custom_mac" in action.holds and not is_listed and not block.has_mac(action.data):
        return "it holds no custom MAC address that the firmware would take"
    if "custom_mac" in action.holds and any(action.mask[at] != 0xFF for at in block.mac_bytes):
        return "it does not take its custom MAC address for its own"
    return ""


def _shared_fault(chip: Chip, action: BurnData, others: Iterable[Step]) -> str:
    own = int.from_bytes(action.mask, "little")
    for other in others:
        if isinstance(other.action, BurnField):
            field = chip.efuses.require(other.action.field)
            if field.block == action.block.number and own >> field.start & ((1 << field.bits) - 1):
                return f"{field.name} lies in the same bits"
    return ""


def field_in_data(chip: Chip, name: str, before: Iterable[Step]) -> bool:
    """Whether a field lies in the bits that a step of those `before` burns as data."""
    field = chip.efuses.require(name)
    burned = BurnField(field.name, 1)
    return any(
        isinstance(step.action, BurnData)
        and bool(_shared_fault(chip, step.action, [Step("", Stage.BURN, burned, "", "", "")]))
        for step in before
    )


def data_demand_fault(chip: Chip, plan: Plan) -> tuple[str, str] | None:
    """What is wrong with the data of a plan beside their place in it: the step, and why."""
    block = user_block(chip)
    data = next((step.action for step in plan.steps if isinstance(step.action, BurnData)), None)
    for step in plan.steps:
        if isinstance(step.action, WriteProtect) and step.action.field == block.protected_as and data is None:
            return step.id, f"it protects {block.name}, which the plan does not burn"
        if isinstance(step.action, BurnData) and step.min_revision:
            return step.id, "it is for all chips"
    flagged = any(isinstance(step.action, BurnField) and step.action.field == block.mac_flag for step in plan.steps)
    if block.mac_flag is not None and flagged != (data is not None and "custom_mac" in data.holds):
        return block.mac_flag, "it says whether there is a custom MAC address, and it is the other way round"
    return None


def data_must_be_clear(chip: Chip, steps: Iterable[Step]) -> Iterator[MustBeClear]:
    """What must not be burned on a board whose block gets these data."""
    for step in steps:
        if not isinstance(step.action, BurnData):
            continue
        own = int.from_bytes(step.action.mask, "little")
        taken = [name for name, start, bits in step.action.block.fields_of_others if own >> start & ((1 << bits) - 1)]
        if any(name.startswith("ADC") for name in taken) and "BLK3_PART_RESERVE" in chip.efuses.fields:
            yield MustBeClear("BLK3_PART_RESERVE", "the block of user data holds the chip's calibration values")


def _user_data(block: UserBlock, data: bytes, *, has_mac: bool, counted: bool) -> bytes:
    if not any(data) or len(data) > block.room:
        size = "nothing but zeros" if len(data) <= block.room else f"{len(data)} bytes"
        why = f"the file has {size}, and {block.name} has room for {block.room} bytes"
        raise _unfit(why, "give what fits; what is left out stays zero")
    content = data.ljust(block.size, b"\0")
    if has_mac and any(content[at] for at in block.mac_bytes):
        places = ", ".join(map(str, sorted(block.mac_bytes)))
        why = f"the custom MAC address takes the bytes {places} of {block.name}, and the data are not zero there"
        raise _unfit(why, "leave these bytes zero, or leave out custom_mac")
    if counted and any(name == _VERSION for name in _touched(block, content)):
        why = f"their bytes 16 to 19 are {_VERSION} of {block.name}, and the firmware, or the profile, counts in it"
        raise _unfit(why, "leave these bytes zero")
    return content


def _touched(block: UserBlock, content: bytes) -> tuple[str, ...]:
    """The fields of others in which a bit of the content is set."""
    bits = int.from_bytes(content, "little")
    return tuple(name for name, start, width in block.fields_of_others if bits >> start & ((1 << width) - 1))


def _own_bytes(block: UserBlock, data: bytes | None, *, has_mac: bool) -> bytes:
    """The bits that are the plan's: all of a block that is burned once; else what is given, without what is others'."""
    if block.once:
        return b"\xff" * block.size
    mask = int.from_bytes(b"\xff" * len(data or b""), "little")
    touched = _touched(block, data or b"")
    for name, start, bits in block.fields_of_others:
        if name not in touched:
            mask &= ~(((1 << bits) - 1) << start)
    for at in block.mac_bytes if has_mac else ():
        mask |= 0xFF << 8 * at
    return mask.to_bytes(block.size, "little")


def _unfit(why: str, cure: str) -> UsageError:
    return UsageError("SE432", f"the user data cannot be burned: {why}", cure=cure, place="profile: user_data")


def _unprotectable(why: str) -> UsageError:
    return UsageError(
        "SE433",
        f"the block of user data cannot be protected: {why}",
        cure="leave it out",
        place="profile: write_protect_user_block",
    )
