"""What kind of board this is: untouched, begun by this bundle, finished, somebody else's, or damaged; and why.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

from secure_ext.device.chip_state import ChipState
from secure_ext.device.esp_tools import Stop
from secure_ext.device.journal import Journal
from secure_ext.device.refusals import check_chip, check_conflicts, check_enabled_without_keys, check_other_keys
from secure_ext.device.step_status import Status, Step, StepStatus, key_content


class Condition(enum.Enum):
    """The five kinds of boards."""

    VIRGIN = "untouched"
    PARTLY_OURS = "begun with this bundle"
    DONE = "finished"
    FOREIGN = "not for this bundle"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Verdict:
    """The kind of a board, what it was concluded from, and for a board that is left alone the Stop that says so."""

    condition: Condition
    evidence: tuple[str, ...]
    stop: Optional[Stop] = None

    def __str__(self) -> str:
        return f"This board is {self.condition.value}: {'; '.join(self.evidence)}."


def classify(
    plan: dict[str, Any],
    state: ChipState,
    statuses: list[StepStatus],
    journal: Journal,
    key_of: Callable[[Step], bytes],
) -> Verdict:
    """The verdict on a chip whose eFuses were read.

    Args:
        plan: the plan document.
        state: what the chip shows.
        statuses: `step_status.compare` of the two.
        journal: what is known of this board from before.
        key_of: the bytes of a key step as they lie in its block.
    """
    damage = (*state.coding_errors, *_half_written_keys(state, statuses, key_of))
    if damage:
        return _damaged(damage)
    try:
        check_chip(plan, state)
        check_conflicts(statuses, journal)
        check_other_keys(plan, state)
        check_enabled_without_keys(plan, statuses, state)
    except Stop as stop:
        if stop.code == "SE819" and journal.burning_begun:
            return _damaged((stop.cause, "this bundle had begun to burn it, and was interrupted"))
        return Verdict(Condition.FOREIGN, (stop.cause,), stop)
    burned = [item for item in statuses if item.status is Status.DONE]
    begun = [item for item in statuses if item.status is Status.BEGUN]
    if all(item.is_done for item in statuses) and burned:
        return Verdict(Condition.DONE, (f"all {len(statuses)} eFuse steps are burned",))
    if not burned and not begun:
        return Verdict(Condition.VIRGIN, ("nothing of the plan is burned",))
    evidence = [f"{len(burned)} of {len(statuses)} eFuse steps are burned"]
    evidence += [_begun(item, state) for item in begun]
    return Verdict(Condition.PARTLY_OURS, tuple(evidence))


def _damaged(evidence: tuple[str, ...]) -> Verdict:
    stop = Stop(
        5,
        "SE812",
        "the eFuses of this board are damaged: " + "; ".join(evidence),
        "set this board aside: what is half-burned cannot be mended; nothing was changed by this run",
    )
    return Verdict(Condition.DAMAGED, evidence, stop)


def _half_written_keys(state: ChipState, statuses: list[StepStatus], key_of: Callable[[Step], bytes]) -> list[str]:
    """Blocks with some of the bits of this bundle's key and no others: the power went while they were burned."""
    halves = []
    for item in statuses:
        if item.step["kind"] != "burn_key" or item.status is not Status.CONFLICT or item.hidden:
            continue
        content, key = key_content(item.step, state), key_of(item.step)
        if any(content) and content != key and not any(a & ~b for a, b in zip(content, key)):
            halves.append(f"{item.step['block']} holds only a part of the bits of this bundle's key")
    return halves


def _begun(item: StepStatus, state: ChipState) -> str:
    block = item.step["block"]
    if item.hidden:
        return f"{block} holds a hidden key that is not write-protected yet"
    lacking = []
    if item.step["purpose_field"] and state.texts[item.step["purpose_field"]] != item.step["purpose"]:
        lacking.append("purpose")
    if item.step["rd_dis_bits"]:
        lacking.append("read protection")
    return f"{block} holds this bundle's key, without {' and '.join(lacking) or 'write protection'}"


def sealed_verdict(plan: dict[str, Any], security_info: str) -> Verdict:
    """The verdict on a chip in secure download mode, from what ``esptool get-security-info`` prints.

    Its keys cannot be compared any more: that it is finished is likely, and the functional test has to show it.
    """
    wanted = {step["field"]: step["value"] for step in plan["steps"] if step["kind"] == "burn_field"}
    flags = re.search(r"Flags: 0x([0-9a-fA-F]+)", security_info)
    count = re.search(r"Crypt Count[^:]*: 0x([0-9a-fA-F]+)", security_info)
    seen = []
    if flags:
        seen.append(("SECURE_BOOT_EN", int(flags.group(1), 16) & 1))
    if count:
        seen.append(("SPI_BOOT_CRYPT_CNT", int(count.group(1), 16)))
    evidence = tuple(f"{name} is {value}" for name, value in seen)
    other = [f"the plan wants {wanted.get(name, 0)}" for name, value in seen if value != wanted.get(name, 0)]
    condition = Condition.FOREIGN if other or not seen else Condition.DONE
    stop = Stop(
        5,
        "SE811",
        "the board is sealed (secure download mode), its eFuses cannot be read; it still shows: "
        + ("; ".join((*evidence, *other)) or "nothing"),
        "set it aside: it is not as this plan leaves a board"
        if condition is Condition.FOREIGN
        else "this is as planned, so it is probably finished: check it with the functional test",
    )
    return Verdict(condition, (*evidence, *other), stop)
