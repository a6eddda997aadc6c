# SPDX-License-Identifier: Apache-2.0
"""Whether a board is closed after its seal was burned: it tells no eFuses any more, but it may say so itself.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from secure_ext.station.efuse_features import DOWNLOAD_FIELDS, Download
from secure_ext.station.esp_tools import Stop
from secure_ext.station.plan_document import EfuseStep, FieldStep


def closed_as_planned(closed: str, steps: list[EfuseStep]) -> str:
    """What to tell of a board that is closed as the `steps` of the seal want it.

    Args:
        closed: what the board answered to the burn, as `BoardLink.closed` has it.
        steps: those of the stage.

    Raises Stop SE826 if it is not.
    """
    fields = [step.field for step in steps if isinstance(step, FieldStep)]
    wanted = max((DOWNLOAD_FIELDS.get(field, Download.OPEN) for field in fields), default=Download.OPEN)
    if closed == "secure" and wanted is Download.SECURE:
        return "Sealed: the board says it is in secure download mode; its eFuses cannot be read from now on."
    if closed == "silent" and wanted is Download.DISABLED:
        return "Sealed: the board does not answer any more, as it should."
    raise Stop(
        5,
        "SE826",
        f"the download mode was burned closed, and the board is {closed}: nobody can tell how far it got",
        "run the script again: it continues; if that fails, set the board aside",
    )
