# SPDX-License-Identifier: Apache-2.0
"""The list of custom MAC addresses in a bundle."""

from __future__ import annotations

from pathlib import Path

from secure_ext.chips.mac_list import MacList, parse_mac_list
from secure_ext.errors import InputError
from secure_ext.reading import DOCUMENT_LIMIT, read_file
from secure_ext.station.plan_document import PlanDocument

MAC_LIST = "custom_macs.csv"
"""The file, in a bundle whose boards get an address each."""


def list_of(plan: PlanDocument) -> str | None:
    """SHA-256 of the list from which the boards of a plan get their addresses; None if there is none."""
    return next((step.mac_list for step in plan.data if step.mac_list is not None), None)


def read_mac_list(folder: Path, plan: PlanDocument) -> MacList | None:
    """The list of the bundle in a folder; None if its plan has none.

    Raises InputError SE731 if it is not the one that the plan was made with.
    """
    wanted = list_of(plan)
    if wanted is None:
        return None
    try:
        macs = parse_mac_list(read_file(folder / MAC_LIST, DOCUMENT_LIMIT))
    except (OSError, ValueError):
        macs = MacList(())
    if macs.sha256 != wanted:
        raise InputError(
            "SE731",
            f"{MAC_LIST} is missing, or is not the file that the bundle was made with",
            cure="make the bundle again, or copy the whole of it again",
            place=str(folder),
        )
    return macs
