# SPDX-License-Identifier: Apache-2.0
"""Why a board is left alone: what must be true of it before anything is written.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Optional

from secure_ext.station.board_needs import Need, board_needs
from secure_ext.station.chip_state import ChipState
from secure_ext.station.esp_tools import Stop, ToolResult
from secure_ext.station.journal import Journal
from secure_ext.station.plan_document import KeyStep, PlanDocument
from secure_ext.station.step_status import Status, StepStatus


def check_layout(plan: PlanDocument, state: ChipState) -> None:
    """espefuse sees the chip's eFuses where the plan does. Raises Stop SE829."""
    for field in plan.layout:
        place = (field.block, field.start, field.bits)
        if field.min_revision <= state.revision and state.places.get(field.field) != place:
            raise other_esptool(plan, f"places {field.field} elsewhere")


def check_chip(plan: PlanDocument, state: ChipState) -> None:
    """The firmware can run on this chip, and nobody used it otherwise.

    Raises Stop SE817, SE818, SE829, SE853 to SE857.
    """
    for need in board_needs(plan, state.values.get, state.revision):
        if need.fits is None and need.code != "SE816":
            raise other_esptool(plan, f"does not show {need.place}")
        if need.fits is False:
            raise not_enough(need)
    for field in plan.must_be_clear:
        if state.values.get(field.field):
            raise Stop(
                5,
                "SE818",
                f"{field.field} is burned on this board: {field.why}",
                "set this board aside: it was used for something else, and eFuses cannot be cleared",
            )


def check_flash_size(plan: PlanDocument, size: Optional[int]) -> None:
    """The flash holds what the firmware takes it for. Raises Stop SE816; SE858 if `size`, in bytes, was not told."""
    if size is None:
        raise Stop(
            5,
            "SE858",
            "esptool cannot tell how large the board's flash is, and a flash that is too small is found out too late",
            "check the board's flash chip and its supply; if esptool is old, install the newest: "
            "pip install --upgrade esptool",
        )
    for need in board_needs(plan, lambda _: None, flash_size=size):
        if need.fits is False:
            raise not_enough(need)


def not_enough(need: Need) -> Stop:
    """Why a board is left alone that does not have what the firmware asks for."""
    return Stop(
        5,
        need.code,
        f"the firmware of this bundle asks for {need.title} {need.wanted}, this board has {need.found}: {need.why}",
        need.cure,
    )


def other_esptool(plan: PlanDocument, how: str) -> Stop:
    """What is wrong when this station's esptool knows the chip otherwise than the one that made the plan."""
    least = ".".join(str(part) for part in plan.least_esptool)
    return Stop(
        4,
        "SE829",
        f"this esptool does not fit the plan: it {how}, and would burn wrong bits",
        f"install esptool {least} or later, best the newest: pip install --upgrade esptool",
    )


def not_identified(chip: str, port: str, result: ToolResult) -> Stop:
    """Why esptool does not say which chip and how much flash there is: another chip (SE814), or no answer (SE810)."""
    wrong = re.search(r"[Tt]his chip is (\S+?),? not", result.output)
    if wrong:
        return Stop(
            5,
            "SE814",
            f"the board has an {wrong.group(1)}, this bundle is for {chip}",
            "connect the right board, or use the bundle for this one",
        )
    return Stop(
        4,
        "SE810",
        f"no chip answers on {port}: {result.last_words()}",
        "check cable, port and boot button; a board whose download mode was disabled never answers again",
    )


def check_conflicts(statuses: list[StepStatus], journal: Journal) -> None:
    """Raises Stop SE819 if a step can never be done, SE822 on a hidden key of unknown origin."""
    conflicts = [item for item in statuses if item.status is Status.CONFLICT]
    if conflicts:
        raise Stop(
            5,
            "SE819",
            "this board does not fit the plan: " + "; ".join(item.reason for item in conflicts),
            "this bundle cannot go onto this board, for eFuses cannot be cleared: set it aside; nothing was changed",
        )
    hidden = [item.step for item in statuses if item.hidden and isinstance(item.step, KeyStep)]
    unfinished = [item for item in statuses if not item.is_done]
    if hidden and unfinished and not journal.burning_begun:
        raise Stop(
            5,
            "SE822",
            f"{hidden[0].block} holds a hidden key, and nothing here shows that this bundle burned it",
            "continue on the station that began this board (its journal folder); a board in development mode can show "
            "that it has this bundle's key: run with --adopt; or set the board aside",
        )


def something_else_on_it(what: tuple[str, ...]) -> Stop:
    """Why a board that holds something of somebody else's is not erased."""
    return Stop(
        5,
        "SE860",
        f"this board carries something that is neither the plan's nor the chip maker's: {'; '.join(what)}",
        "nothing was erased or burned: its flash may hold what belongs to it, such as a certificate, that cannot be "
        "made again. Find out whose it is, and take a board without it",
    )


def exclusive_purposes(plan: PlanDocument) -> list[str]:
    """Beginnings of the key purposes that no other block may have; plans of earlier versions do not say it."""
    if plan.requirements is not None:
        return list(plan.requirements.exclusive_purposes)
    burned = [key.purpose for key in plan.keys]
    return [kind for kind in ("XTS_AES_", "SECURE_BOOT_DIGEST") if any(name.startswith(kind) for name in burned)]


def other_key(plan: PlanDocument, purposes: Mapping[str, str]) -> Optional[str]:
    """What is wrong with a block outside the plan that holds a key for a feature of the plan; the chip might use it.

    `purposes` has the name of the purpose by the field of each key block; other fields are left alone.
    """
    planned_fields = {key.purpose_field for key in plan.keys}
    revoked = {step.field[-1] for step in plan.fields if step.field.startswith("SECURE_BOOT_KEY_REVOKE")}
    for kind in exclusive_purposes(plan):
        for field, purpose in purposes.items():
            is_other = field.startswith("KEY_PURPOSE_") and field not in planned_fields and purpose.startswith(kind)
            if is_other and not (kind == "SECURE_BOOT_DIGEST" and purpose[-1] in revoked):
                return f"{field} is {purpose}: this board has a key for the same use that is not in the plan"
    return None


def check_other_keys(plan: PlanDocument, state: ChipState) -> None:
    """Raises Stop SE819 for what `other_key` finds on a chip."""
    cause = other_key(plan, state.texts)
    if cause is not None:
        raise Stop(
            5,
            "SE819",
            cause,
            "set this board aside: eFuses cannot be cleared; nothing was changed by this run",
        )
