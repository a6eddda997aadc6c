# SPDX-License-Identifier: Apache-2.0
"""docs/keys-later.md: its table of key blocks is what the chips have, and what a plan takes of it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from secure_ext.chips.chip import load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.station.chip_facts import FACTS, KeySize

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "keys-later.md").read_text(encoding="utf-8")
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| (esp32\w*)[^|]* \|" + r" ([^|]+) \|" * 6 + "$", PAGE, re.MULTILINE)}
REVISION = {"esp32": 300, "esp32c5": 100, "esp32p4": 300}


def has_purpose(chip: str, beginning: str) -> bool:
    """Whether espefuse burns keys of such a purpose on a chip."""
    found = importlib.util.find_spec("espefuse")
    assert found and found.submodule_search_locations
    fields = Path(found.submodule_search_locations[0], "efuse", chip, "fields.py")
    return f'"{beginning}' in fields.read_text(encoding="utf-8")


def test_every_chip_has_a_row() -> None:
    assert set(ROWS) == set(CHIP_NAMES)


@pytest.mark.parametrize("name", ROWS)
def test_the_row_of_a_chip(name: str) -> None:
    if importlib.util.find_spec(f"espefuse.efuse.{name}") is None:
        pytest.skip("this espefuse does not know the chip")
    facts, blocks = FACTS[name], load_chip(name, REVISION.get(name, 0)).key_blocks
    taken = len(blocks) if len(blocks) < 5 else 1 + bool(facts.schemes) + facts.hmac
    free = len(blocks) - taken
    longer = KeySize.XTS_256 in facts.key_sizes
    slots = "1, no revocation" if facts.digest_slots == 1 else str(facts.digest_slots)
    assert ROWS[name] == (
        str(len(blocks)),
        f"{taken} ({taken + 1} with a 256-bit key)" if longer else str(taken),
        f"{free} ({free - 1})" if longer else str(free),
        "yes" if facts.hmac else "no",
        "yes" if has_purpose(name, "ECDSA_KEY") else "no",
        slots,
    )
