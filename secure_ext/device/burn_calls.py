"""From what is missing on a chip to the fewest espefuse calls that complete it.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from collections.abc import Callable

from secure_ext.device.chip_state import ChipState
from secure_ext.device.step_status import Status, StepStatus

_PARTS = {"whole": "", "low": "_LOW_128", "high": "_HI_128"}


def burn_calls(statuses: list[StepStatus], state: ChipState, key_path: Callable[[str], str]) -> list[list[str]]:
    """The espefuse arguments of each call, in order, for the steps that are not done.

    Inside one call espefuse burns key blocks first, checks each, then the flags, and last what enables a feature.
    Keys that an interrupted run has left behind without purpose or protection are completed in calls of their own
    before that, because espefuse 5 cannot chain a protection of a single block with another command.

    Args:
        statuses: the steps of one stage.
        state: the chip as it was read.
        key_path: the path of a key file of the bundle.
    """
    todo = [item for item in statuses if not item.is_done]
    begun = [item.step for item in todo if item.status is Status.BEGUN]
    missing = [item.step for item in todo if item.status is Status.MISSING]
    calls = []
    purposes = [word for step in begun for word in _missing_purpose(step, state)]
    if purposes:
        calls.append(["burn-efuse", *purposes])
    hidden = [step["block"] + _PARTS[step["part"]] for step in begun if _lacks_read_protection(step, state)]
    if hidden:
        calls.append(["read-protect-efuse", *hidden])
    main: list[str] = []
    keys = [step for step in missing if step["kind"] == "burn_key"]
    if keys:
        main.append("burn-key")
        for step in keys:
            main += [step["burn_name"], key_path(step["file"])]
            main += [step["purpose"]] if step["purpose"] else []
    fields = [step for step in missing if step["kind"] == "burn_field"]
    if fields:
        main.append("burn-efuse")
        for step in fields:
            main += [step["field"], str(step["value"])]
    locks = [name for step in begun for name in _missing_write_protections(step, state)]
    locks += [step["field"] for step in missing if step["kind"] == "write_protect"]
    if locks:
        main += ["write-protect-efuse", *dict.fromkeys(locks)]
    if main:
        calls.append(main)
    return calls


def _missing_purpose(step: dict[str, object], state: ChipState) -> list[str]:
    field = step["purpose_field"]
    if field is None or state.texts[str(field)] == step["purpose"]:
        return []
    return [str(field), str(step["purpose"])]


def _lacks_read_protection(step: dict[str, object], state: ChipState) -> bool:
    bits = step["rd_dis_bits"]
    return isinstance(bits, list) and not all(state.has_bit("RD_DIS", bit) for bit in bits)


def _missing_write_protections(step: dict[str, object], state: ChipState) -> list[str]:
    names = [str(step["block"])] + ([str(step["purpose_field"])] if step["purpose_field"] else [])
    bits = step["wr_dis_bits"]
    if not isinstance(bits, list):
        return []
    return [name for name, bit in zip(names, bits, strict=False) if not state.has_bit("WR_DIS", bit)]
