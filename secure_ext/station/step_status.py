# SPDX-License-Identifier: Apache-2.0
"""Compares a chip with the plan: for each step, whether it is done, missing, begun, or can never be done.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from secure_ext.station.chip_state import ChipState
from secure_ext.station.data_status import data_conflict, is_burned
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import DataStep, EfuseStep, FieldStep, KeyStep, ProtectStep

_RD_DIS_OF_FIELDS = {"FLASH_CRYPT_CONFIG": 3}
"""Of the esp32: the bit of RD_DIS that hides a field which is no key."""

_RAISED = ("SECURE_VERSION", "BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION")


class Status(enum.Enum):
    """Where a step stands on the chip."""

    MISSING = "to do"
    BEGUN = "to finish"
    DONE = "done"
    NOT_NEEDED = "not for this revision"
    CONFLICT = "CONFLICT"


@frozen
class StepStatus:
    """A step, where it stands, for a conflict the reason, and whether its key is hidden and so was not compared."""

    step: EfuseStep
    status: Status
    reason: str = ""
    hidden: bool = False

    @property
    def is_done(self) -> bool:
        """True when nothing is left to do for it."""
        return self.status in (Status.DONE, Status.NOT_NEEDED)

    @property
    def label(self) -> str:
        """The status in words."""
        return self.status.value + (" (hidden)" if self.hidden else "")


def compare(steps: Sequence[EfuseStep], state: ChipState) -> list[StepStatus]:
    """The status of eFuse steps of the plan."""
    return [_status(step, state) for step in steps]


def _status(step: EfuseStep, state: ChipState) -> StepStatus:
    if state.revision < step.min_revision:
        return StepStatus(step, Status.NOT_NEEDED)
    if isinstance(step, KeyStep):
        return _lockable(_key_status(step, state), step.block, step.wr_dis_bits, state)
    if isinstance(step, DataStep):
        if step.mac_list is None and is_burned(step, state):
            return StepStatus(step, Status.DONE)
        reason = data_conflict(step, state)
        return StepStatus(step, Status.CONFLICT if reason else Status.MISSING, reason)
    if step.field not in state.values and step.field not in state.writable:
        return StepStatus(step, Status.CONFLICT, f"this espefuse knows no {step.field}; install a newer esptool")
    if isinstance(step, ProtectStep):
        done = state.has_bit("WR_DIS", step.wr_dis_bit)
        return _lockable(
            StepStatus(step, Status.DONE if done else Status.MISSING), step.field, (step.wr_dis_bit,), state
        )
    return _field_status(step, state)


def _lockable(item: StepStatus, name: str, bits: tuple[int, ...], state: ChipState) -> StepStatus:
    """The same, or a conflict where a write protection is due and can never be burned: an esp32 can lock WR_DIS."""
    is_due = item.status in (Status.MISSING, Status.BEGUN) and not all(state.has_bit("WR_DIS", bit) for bit in bits)
    if is_due and not state.writable["WR_DIS"]:
        return StepStatus(item.step, Status.CONFLICT, f"{name} can never be write-protected: WR_DIS is locked")
    return item


def holds(field: str, value: int, wanted: int) -> bool:
    """Whether a field is what a plan makes it, or what firmware has made of that since: it raises the versions."""
    return value == wanted or (field.startswith(_RAISED) and not wanted & ~value)


def _field_status(step: FieldStep, state: ChipState) -> StepStatus:
    name, wanted = step.field, step.value
    value = state.values[name]
    if holds(name, value, wanted):
        return StepStatus(step, Status.DONE)
    if name in _RD_DIS_OF_FIELDS and state.has_bit("RD_DIS", _RD_DIS_OF_FIELDS[name]):
        return StepStatus(step, Status.CONFLICT, f"{name} is read-protected: nobody can see what it holds")
    if value & ~wanted:
        return StepStatus(step, Status.CONFLICT, f"{name} is {value}, the plan wants {wanted}; burned bits stay")
    if not state.writable[name]:
        return StepStatus(step, Status.CONFLICT, f"{name} is write-protected at {value}, the plan wants {wanted}")
    return StepStatus(step, Status.MISSING)


def _key_status(step: KeyStep, state: ChipState) -> StepStatus:
    reason = _other_use(step, state)
    if reason:
        return StepStatus(step, Status.CONFLICT, reason)
    block = step.block
    has_purpose, is_free = _purpose(step, state)
    hidden = bool(step.rd_dis_bits) and all(state.has_bit("RD_DIS", bit) for bit in step.rd_dis_bits)
    locked = all(state.has_bit("WR_DIS", bit) for bit in step.wr_dis_bits)
    if hidden:
        return StepStatus(step, Status.DONE if locked else Status.BEGUN, hidden=True)
    content = key_content(step, state)
    if fingerprint(content[::-1] if step.reversed else content) == step.fingerprint:
        if not has_purpose and not is_free:
            return StepStatus(step, Status.CONFLICT, f"{block} holds the key, and can never get its purpose")
        if step.rd_dis_bits and not state.writable["RD_DIS"]:
            return StepStatus(step, Status.CONFLICT, f"{block} holds the key, but it can never be read-protected")
        complete = has_purpose and locked and not step.rd_dis_bits
        return StepStatus(step, Status.DONE if complete else Status.BEGUN)
    if any(content):
        return StepStatus(step, Status.CONFLICT, f"{block} holds another key")
    if any(state.blocks[step.block_number]):
        return StepStatus(step, Status.CONFLICT, f"{block} was burned without this half, and can be burned only once")
    if step.rd_dis_bits and not state.writable["RD_DIS"]:
        return StepStatus(step, Status.CONFLICT, f"a key in {block} could not be read-protected: RD_DIS is locked")
    if not is_free or state.has_bit("WR_DIS", step.wr_dis_bits[0]):
        return StepStatus(step, Status.CONFLICT, f"{block} is empty, but its purpose or write protection is set")
    return StepStatus(step, Status.MISSING)


def _other_use(step: KeyStep, state: ChipState) -> str:
    """Why the block serves, or may serve, something else than the plan's key; empty if nothing says so.

    The purpose is looked at first: what a protection means depends on it.
    """
    block, field = step.block, step.purpose_field
    purpose = state.texts[field] if field else step.purpose
    hidden = [bit for bit in (*step.rd_dis_bits, *step.readable_bits) if state.has_bit("RD_DIS", bit)]
    if purpose not in ("USER", step.purpose):
        if hidden:
            return f"{block} holds a hidden key with another purpose ({purpose})"
        content = key_content(step, state)
        if not any(state.blocks[step.block_number]):
            return f"{block} is empty, but has another purpose ({purpose})"
        is_ours = fingerprint(content[::-1] if step.reversed else content) == step.fingerprint
        return f"{block} holds {'the' if is_ours else 'another'} key with another purpose ({purpose})"
    if not hidden:
        return ""
    if field and purpose == "USER":
        return f"{block} is read-protected and has no purpose: nobody can see what it holds"
    if step.readable_bits and field:
        return f"{block} holds a digest that is read-protected: the chip cannot boot"
    if step.readable_bits:
        return f"{block} is read-protected: it holds another key, or a digest that the chip cannot read"
    return ""


def _purpose(step: KeyStep, state: ChipState) -> tuple[bool, bool]:
    """Whether the block has the purpose, and whether it can still get it."""
    field = step.purpose_field
    if field is None:
        return True, True
    is_free = state.texts[field] == "USER" and not state.has_bit("WR_DIS", step.wr_dis_bits[1])
    return state.texts[field] == step.purpose, is_free


def key_content(step: KeyStep, state: ChipState) -> bytes:
    """What the key's part of its block holds; zeros if it is read-protected or empty."""
    block = state.blocks[step.block_number]
    start = 16 if step.part == "high" else 0
    return block[start : start + step.length]
