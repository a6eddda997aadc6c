# SPDX-License-Identifier: Apache-2.0
"""From what is missing on a chip to the fewest espefuse calls that complete it.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from collections.abc import Callable

from secure_ext.station.chip_state import ChipState
from secure_ext.station.plan_document import DataStep, EfuseStep, FieldStep, KeyStep, ProtectStep
from secure_ext.station.step_status import Status, StepStatus

_PARTS = {"whole": "", "low": "_LOW_128", "high": "_HI_128"}


def burn_calls(statuses: list[StepStatus], state: ChipState, key_path: Callable[[str], str]) -> list[list[str]]:
    """The espefuse arguments of each call, in order, for the steps that are not done.

    Inside one call espefuse burns key blocks first, checks each, then the flags, and last what enables a feature. What
    write-protects comes in a call of its own, when all that it protects is burned.
    Keys that an interrupted run has left behind without purpose or protection are completed in calls of their own
    before that, because espefuse 5 cannot chain a protection of a single block with another command.

    Args:
        statuses: the steps of one stage.
        state: the chip as it was read.
        key_path: the path of a key file, or of data, of the bundle.
    """
    begun = [item.step for item in statuses if item.status is Status.BEGUN and isinstance(item.step, KeyStep)]
    missing = [item.step for item in statuses if item.status is Status.MISSING]
    calls = []
    purposes = [word for step in begun for word in _missing_purpose(step, state)]
    if begun:  # ESP32-C2: it says how the key block is protected, so it comes before the protection
        for field in [step for step in missing if isinstance(step, FieldStep) and step.field == "XTS_KEY_LENGTH_256"]:
            purposes += [field.field, str(field.value)]
            missing.remove(field)
    if purposes:
        calls.append(["burn-efuse", *purposes])
    hidden = [step.block + _PARTS[step.part] for step in begun if _lacks_read_protection(step, state)]
    if hidden:
        calls.append(["read-protect-efuse", *hidden])
    locks = [name for step in begun for name in _missing_write_protections(step, state)]
    return [*calls, *_main_calls(missing, locks, key_path)]


def new_chip_calls(steps: list[EfuseStep]) -> list[list[str]]:
    """The espefuse arguments that do all of `steps` on a new chip, with key files as the bundle names them."""
    return _main_calls(steps, [], str)


def _main_calls(steps: list[EfuseStep], locks: list[str], key_path: Callable[[str], str]) -> list[list[str]]:
    """One call burns, the next one write-protects: a BLOCK0 that is burned in part must not lock what it lacks."""
    call: list[str] = []
    keys = [step for step in steps if isinstance(step, KeyStep)]
    if keys:
        call.append("burn-key")
        for key in keys:
            call += [key.burn_name, key_path(key.pem or key.file)]
            call += [key.purpose] if key.purpose else []
    for data in (step for step in steps if isinstance(step, DataStep)):
        call += ["burn-block-data", data.block, key_path(data.file)]
    fields = [step for step in steps if isinstance(step, FieldStep)]
    if fields:
        call.append("burn-efuse")
        for field in fields:
            call += [field.field, str(field.value)]
    names = dict.fromkeys([*locks, *(step.field for step in steps if isinstance(step, ProtectStep))])
    protect = ["write-protect-efuse", *names] if names else []
    return [words for words in (call, protect) if words]


def _missing_purpose(step: KeyStep, state: ChipState) -> list[str]:
    field = step.purpose_field
    if field is None or state.texts[field] == step.purpose:
        return []
    return [field, step.purpose]


def _lacks_read_protection(step: KeyStep, state: ChipState) -> bool:
    return not all(state.has_bit("RD_DIS", bit) for bit in step.rd_dis_bits)


def _missing_write_protections(step: KeyStep, state: ChipState) -> list[str]:
    names = [step.block] + ([step.purpose_field] if step.purpose_field else [])
    return [name for name, bit in zip(names, step.wr_dis_bits) if not state.has_bit("WR_DIS", bit)]
