# SPDX-License-Identifier: Apache-2.0
"""Whether the images of a bundle are in flash, as far as eFuses and journal tell.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import enum

from secure_ext.station.chip_state import ChipState
from secure_ext.station.journal import Journal
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.step_status import StepStatus


class FlashStatus(enum.Enum):
    """Where the flash stage stands."""

    TO_DO = "to do"
    DONE = "done"
    UNKNOWN = "not known"


def flash_status(plan: PlanDocument, state: ChipState, statuses: list[StepStatus], journal: Journal) -> FlashStatus:
    """What is known before anybody looks into the flash.

    It is written until a feature is on or all is burned. From then on the journal knows that it was, or nobody does: a
    feature may have been turned on by hand, or by a firmware, before.
    """
    if not plan.images:
        return FlashStatus.DONE
    if not is_security_on(plan, state) and not all(item.is_done for item in statuses):
        return FlashStatus.TO_DO
    return FlashStatus.DONE if journal.images_written else FlashStatus.UNKNOWN


def is_security_on(plan: PlanDocument, state: ChipState) -> bool:
    """Whether something of what turns flash encryption or secure boot on is burned."""
    return any(state.values.get(name) for name in plan.enabling_fields)
