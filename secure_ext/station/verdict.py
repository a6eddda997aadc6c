# SPDX-License-Identifier: Apache-2.0
"""What kind of board this is: untouched, begun, finished, sealed, of another release, foreign, damaged; and why.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Optional

from secure_ext.station.chip_state import ChipState
from secure_ext.station.data_status import is_half_burned
from secure_ext.station.efuse_features import CRYPT_COUNTS, SECURE_BOOT_SWITCHES
from secure_ext.station.efuse_owner import other_efuses
from secure_ext.station.esp_tools import Stop
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.flash_status import FlashStatus, flash_status
from secure_ext.station.frozen import frozen
from secure_ext.station.journal import Journal
from secure_ext.station.key_places import place_keys_as_shown
from secure_ext.station.plan_document import FieldStep, KeyStep, PlanDocument
from secure_ext.station.refusals import check_chip, check_conflicts, check_other_keys, other_key, something_else_on_it
from secure_ext.station.security_info import parse_security_info
from secure_ext.station.step_status import Status, StepStatus, key_content


class Condition(enum.Enum):
    """The kinds of boards."""

    VIRGIN = "untouched"
    PARTLY_OURS = "begun with this bundle"
    DONE = "finished"
    SEALED = "sealed"
    CARRYING = "carries something"
    OTHER_RELEASE = "provisioned by another release of yours"
    FOREIGN = "not for this bundle"
    DAMAGED = "damaged"


@frozen
class Verdict:
    """The kind of a board, what it was concluded from, and for a board that is left alone the Stop that says so.

    `carried` is what is burned and neither the plan's nor the chip maker's: with any of it the flash is not erased
    unless the journal knows that this bundle has begun the board.
    """

    condition: Condition
    evidence: tuple[str, ...]
    stop: Optional[Stop] = None
    carried: tuple[str, ...] = ()

    def __str__(self) -> str:
        is_verb = self.condition is Condition.CARRYING
        return f"This board {'' if is_verb else 'is '}{self.condition.value}: {'; '.join(self.evidence)}."


def classify(
    plan: PlanDocument,
    state: ChipState,
    statuses: list[StepStatus],
    journal: Journal,
    key_of: Callable[[KeyStep], bytes],
) -> Verdict:
    """The verdict on a chip whose eFuses were read.

    Args:
        plan: the plan document.
        state: what the chip shows.
        statuses: `step_status.compare` of the two.
        journal: what is known of this board from before.
        key_of: the bytes of a key step as they lie in its block.
    """
    damage = (*state.coding_errors, *_half_written(plan, state, statuses, key_of))
    if damage:
        return _damaged(damage)
    carried = other_efuses(plan, state)
    try:
        check_chip(plan, state)
        check_conflicts(statuses, journal)
        check_other_keys(plan, state)
    except Stop as stop:
        if stop.code == "SE819" and journal.burning_begun and not journal.is_read_back:
            return _damaged((stop.cause, "this bundle had begun to burn it, and was interrupted"))
        if trusts_our_signing_key(plan, state):
            return other_release(stop, carried)
        return Verdict(Condition.FOREIGN, (stop.cause,), stop, carried)
    burned = [item for item in statuses if item.status is Status.DONE]
    begun = [item for item in statuses if item.status is Status.BEGUN]
    if all(item.is_done for item in statuses) and burned:
        return Verdict(Condition.DONE, (f"all {len(statuses)} eFuse steps are burned",), carried=carried)
    is_known = journal.begun_here or journal.images_written
    if carried and not is_known and flash_status(plan, state, statuses, journal) is FlashStatus.TO_DO:
        return carrying(carried)
    early = [*_burned_in_part(statuses, state), *_enabled_without_keys(plan, statuses, state)]
    if not burned and not begun and not early:
        return Verdict(Condition.VIRGIN, ("nothing of the plan is burned",), carried=carried)
    evidence = [f"{len(burned)} of {len(statuses)} eFuse steps are burned"]
    evidence += [_begun(item, state) for item in begun]
    evidence += early
    return Verdict(Condition.PARTLY_OURS, tuple(evidence), carried=carried)


def carrying(carried: tuple[str, ...]) -> Verdict:
    """The verdict on a board that holds something of somebody else's, and whose flash would be erased."""
    return Verdict(Condition.CARRYING, carried, something_else_on_it(carried), carried)


def trusts_our_signing_key(plan: PlanDocument, state: ChipState) -> bool:
    """Whether secure boot is on, and one of the plan's digests is in a slot in use: its owner has provisioned it."""
    digests = {step.fingerprint for step in plan.keys if step.is_digest and step.fingerprint}
    slots = (block for number, block in state.blocks.items() if _may_be_trusted(number, state))
    found = {fingerprint(part) for block in slots for part in (block, block[16:])}
    return bool(digests & found) and any(state.values.get(name) for name in SECURE_BOOT_SWITCHES)


def _may_be_trusted(number: int, state: ChipState) -> bool:
    """Whether the ROM takes what is in a block for a digest: by its purpose, where blocks have one, if not revoked."""
    if "KEY_PURPOSE_0" not in state.texts:
        return True
    purpose = state.texts.get(f"KEY_PURPOSE_{number - 4}", "")
    is_revoked = state.values.get(f"SECURE_BOOT_KEY_REVOKE{purpose[-1:]}")
    return purpose.startswith("SECURE_BOOT_DIGEST") and not is_revoked


def other_release(stop: Stop, carried: tuple[str, ...]) -> Verdict:
    """The verdict on a board that trusts the plan's signing key, and was not provisioned with this bundle."""
    cure = f"{stop.cure}. For a new firmware on this board there is `secure-provision update`"
    evidence = ("secure boot is on, and it trusts the signing key of this bundle", stop.cause)
    return Verdict(Condition.OTHER_RELEASE, evidence, Stop(stop.exit_code, stop.code, stop.cause, cure), carried)


def _damaged(evidence: tuple[str, ...]) -> Verdict:
    stop = Stop(
        5,
        "SE812",
        "the eFuses of this board are damaged: " + "; ".join(evidence),
        "set this board aside: what is half-burned cannot be repaired; nothing was changed by this run",
    )
    return Verdict(Condition.DAMAGED, evidence, stop)


def _half_written(
    plan: PlanDocument, state: ChipState, statuses: list[StepStatus], key_of: Callable[[KeyStep], bytes]
) -> list[str]:
    """Blocks with some of the bits of this bundle's key and no others: the power went while they were burned."""
    halves = [
        f"{data.block} holds only a part of this plan's data" for data in plan.data if is_half_burned(data, state)
    ]
    for item in statuses:
        if not isinstance(item.step, KeyStep) or item.status is not Status.CONFLICT or item.hidden:
            continue
        content, key = key_content(item.step, state), key_of(item.step)
        if any(content) and content != key and not any(a & ~b for a, b in zip(content, key)):
            halves.append(f"{item.step.block} holds only a part of the bits of this bundle's key")
    return halves


def _burned_in_part(statuses: list[StepStatus], state: ChipState) -> list[str]:
    missing = [item.step for item in statuses if item.status is Status.MISSING]
    fields = [step for step in missing if isinstance(step, FieldStep)]
    values = [(step.field, state.values[step.field], step.value) for step in fields]
    return [f"{name} is {value} and becomes {wanted}" for name, value, wanted in values if value]


def _enabled_without_keys(plan: PlanDocument, statuses: list[StepStatus], state: ChipState) -> list[str]:
    """This script burns keys first: what is on without its key was turned on by hand, or by a firmware's first boot."""
    lacking = []
    for name in plan.enabling_fields:
        keys = [
            item.step.block
            for item in statuses
            if isinstance(item.step, KeyStep)
            and item.status is Status.MISSING
            and item.step.role.startswith("flash_encryption" if name in CRYPT_COUNTS else "secure_boot_digest")
        ]
        if state.values.get(name) and keys:
            lacking.append(f"{name} was burned before its key, which {' and '.join(keys)} still lacks")
    return lacking


def _begun(item: StepStatus, state: ChipState) -> str:
    key = item.step
    if not isinstance(key, KeyStep):
        return f"{key.title}: begun"
    if item.hidden:
        return f"{key.block} holds a hidden key that is not write-protected yet"
    lacking = []
    if key.purpose_field and state.texts[key.purpose_field] != key.purpose:
        lacking.append("purpose")
    if key.rd_dis_bits:
        lacking.append("read protection")
    return f"{key.block} holds this bundle's key, without {' and '.join(lacking) or 'write protection'}"


def sealed_verdict(plan: PlanDocument, security_info: str, not_read_back: tuple[str, ...] = ()) -> Verdict:
    """The verdict on a chip in secure download mode, from what ``esptool get-security-info`` prints.

    Its keys and its write protections cannot be seen any more: that it is finished is likely, and the functional test
    has to show it.

    Args:
        plan: the plan document.
        security_info: what esptool printed.
        not_read_back: MAC addresses of boards that this bundle began and never read back.
    """
    seen, other = _compare_sealed(plan, security_info)
    unseen = "whether its write protections are complete cannot be seen"
    if not_read_back:
        unseen += f"; begun with this bundle and never read back, by the journal: {', '.join(not_read_back)}"
    is_foreign = bool(other) or not seen
    evidence = (*seen, *other) if is_foreign else (*seen, unseen)
    stop = Stop(
        5,
        "SE811",
        "the board is sealed (secure download mode), its eFuses cannot be read; it still shows: "
        + ("; ".join((*seen, *other)) or "nothing")
        + ("" if is_foreign else f". {unseen[:1].upper()}{unseen[1:]}"),
        "set it aside: it is not as this plan leaves a board"
        if is_foreign
        else "this is as planned, so it is probably finished: check it with the functional test. If no run of this "
        "script ended on it, its own firmware may have sealed it before the write protections: mark it",
    )
    return Verdict(Condition.FOREIGN if is_foreign else Condition.SEALED, evidence, stop)


def _compare_sealed(plan: PlanDocument, security_info: str) -> tuple[list[str], list[str]]:
    """What a sealed chip shows of the plan's eFuses, and how that differs from the plan."""
    placed = {row.field for row in plan.layout}
    info = parse_security_info(security_info, {*placed, *_SHOWN_EVERYWHERE})
    plan = place_keys_as_shown(plan, info.purposes)
    steps = {step.field: step for step in plan.fields}
    seen, other = [], []
    for name, value in info.values.items():
        wanted = steps[name].value if name in steps else 0
        is_for_some = name in steps and steps[name].min_revision and not value  # nobody sees the revision
        if value or name in placed:
            seen.append(f"{name} is {value}")
        if value != wanted and not is_for_some:
            other.append(f"the plan wants {name} to be {wanted}")
    for key in plan.keys:
        purpose = info.purposes.get(key.purpose_field or "")
        if purpose is not None:
            seen.append(f"{key.block} has the purpose {purpose}")
            if purpose != key.purpose:
                other.append(f"the plan wants {key.purpose}")
    beside = other_key(plan, info.purposes)
    return seen, [*other, *([beside] if beside else [])]


_SHOWN_EVERYWHERE = (
    *("SECURE_BOOT_EN", "SECURE_BOOT_AGGRESSIVE_REVOKE", "ENABLE_SECURITY_DOWNLOAD"),
    *("SECURE_BOOT_KEY_REVOKE0", "SECURE_BOOT_KEY_REVOKE1", "SECURE_BOOT_KEY_REVOKE2"),
)
"""Flags that mean the same on every chip, and are looked at also where the plan leaves them alone."""
