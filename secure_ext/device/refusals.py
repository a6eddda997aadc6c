"""Why a board is left alone: what must be true of it before anything is written.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from typing import Any

from secure_ext.device.chip_state import ChipState
from secure_ext.device.esp_tools import Stop
from secure_ext.device.journal import Journal
from secure_ext.device.step_status import Status, StepStatus


def check_layout(plan: dict[str, Any], state: ChipState) -> None:
    """espefuse sees the chip's eFuses where the plan does. Raises Stop SE829."""
    for field in plan["layout"]:
        place = (field["block"], field["start"], field["bits"])
        if field["min_revision"] <= state.revision and state.places.get(field["field"]) != place:
            raise other_esptool(plan, f"places {field['field']} elsewhere")


def check_chip(plan: dict[str, Any], state: ChipState) -> None:
    """The chip's revision is one the plan is good for, and nobody used it otherwise. Raises Stop SE817, SE818."""
    low, high = plan["min_revision"], plan["max_revision"]
    if state.revision < low or (high is not None and state.revision > high):
        wanted = f"v{low // 100}.{low % 100}" + (f" to v{high // 100}.{high % 100}" if high is not None else " on")
        raise Stop(
            5,
            "SE817",
            f"the chip is revision v{state.revision // 100}.{state.revision % 100}, the plan is for {wanted}",
            "use boards with the right chip revision, or build the firmware for this one",
        )
    for field in plan["must_be_clear"]:
        if state.values.get(field["field"]):
            raise Stop(
                5,
                "SE818",
                f"{field['field']} is burned on this board: {field['why']}",
                "set this board aside: it was used for something else, and eFuses cannot be cleared",
            )


def other_esptool(plan: dict[str, Any], how: str) -> Stop:
    """What is wrong when this station's esptool knows the chip otherwise than the one that made the plan."""
    least = ".".join(str(part) for part in plan["least_esptool"])
    return Stop(
        4,
        "SE829",
        f"this esptool does not fit the plan: it {how}, and would burn wrong bits",
        f"install esptool {least} or later, best the newest: pip install --upgrade esptool",
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
    hidden = [item for item in statuses if item.hidden]
    unfinished = [item for item in statuses if not item.is_done]
    if hidden and unfinished and not journal.burning_begun:
        raise Stop(
            5,
            "SE822",
            f"{hidden[0].step['block']} holds a hidden key, and nothing here shows that this bundle burned it",
            "continue on the station that began this board (its journal folder), or set the board aside",
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


def check_other_keys(plan: dict[str, Any], state: ChipState) -> None:
    """Raises Stop SE819 if a block outside the plan holds a key for a feature of the plan; the chip might use it."""
    keys = [step for step in plan["steps"] if step["kind"] == "burn_key"]
    planned_fields = {step["purpose_field"] for step in keys}
    revoked = {
        step["field"][-1] for step in plan["steps"] if step.get("field", "").startswith("SECURE_BOOT_KEY_REVOKE")
    }
    for kind in ("XTS_AES_", "SECURE_BOOT_DIGEST"):
        if not any(step["purpose"].startswith(kind) for step in keys):
            continue
        for field, purpose in state.texts.items():
            is_other = field.startswith("KEY_PURPOSE_") and field not in planned_fields and purpose.startswith(kind)
            if is_other and not (kind == "SECURE_BOOT_DIGEST" and purpose[-1] in revoked):
                raise Stop(
                    5,
                    "SE819",
                    f"{field} is {purpose}: this board has a key for the same use that is not in the plan",
                    "set this board aside: eFuses cannot be cleared; nothing was changed by this run",
                )
