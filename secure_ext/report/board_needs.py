# SPDX-License-Identifier: Apache-2.0
"""What a board must have so that this firmware can run on it."""

from __future__ import annotations

from secure_ext.report.element import Element, code, el, section, sentence, table
from secure_ext.station.board_needs import board_needs
from secure_ext.station.plan_document import PlanDocument


def board_needs_section(plan: PlanDocument) -> Element:
    """The list that the program goes through before it changes anything."""
    rows = (
        (sentence(need.title.rstrip(":")), need.wanted, code(need.place), sentence(need.why))
        for need in board_needs(plan, lambda _: None)
    )
    return section(
        "board-needs",
        "What a board must have",
        el(
            "p",
            "No program can add this to a board. The program looks at all of it first, and leaves a board alone that "
            "lacks something: once its eFuses are burned, such a board would never start.",
        ),
        table(
            "What the firmware asks of a board",
            ("What", "Asked for", "Seen in", "Otherwise"),
            rows,
            class_="cards prose",
        ),
    )
