# SPDX-License-Identifier: Apache-2.0
"""Whether all that is about to be write-protected is on the chip.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from secure_ext.station.esp_tools import Stop
from secure_ext.station.plan_document import KeyStep, ProtectStep
from secure_ext.station.step_status import Status, StepStatus


def require_burned(statuses: list[StepStatus]) -> None:
    """All that is about to be write-protected is on the chip, and its keys are hidden. Raises Stop SE826."""
    lacking = [
        item.step.title
        for item in statuses
        if not isinstance(item.step, ProtectStep) and not item.is_done and not _only_lacks_protection(item)
    ]
    if lacking:
        raise Stop(
            5,
            "SE826",
            "not write-protected, because this is not burned: " + "; ".join(lacking),
            "run the script again: it continues; if that fails, set the board aside",
        )


def _only_lacks_protection(item: StepStatus) -> bool:
    hides = isinstance(item.step, KeyStep) and bool(item.step.rd_dis_bits)
    return item.status is Status.BEGUN and (item.hidden or not hides)
