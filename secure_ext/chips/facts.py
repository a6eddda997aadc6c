# SPDX-License-Identifier: Apache-2.0
"""The row of a chip in the one table of them."""

from __future__ import annotations

from secure_ext.errors import InputError
from secure_ext.station.chip_facts import FACTS, ChipFacts

CHIP_NAMES = tuple(FACTS)


def chip_facts(name: str) -> ChipFacts:
    """The row of chip `name`; raises InputError SE204 for a chip this package does not cover."""
    try:
        return FACTS[name]
    except KeyError:
        raise InputError(
            "SE204",
            f"no support for the chip {name!r}",
            cure="supported are: " + ", ".join(CHIP_NAMES),
        ) from None
