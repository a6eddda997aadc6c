# SPDX-License-Identifier: Apache-2.0
"""The purposes that a further key can have are those that espefuse burns, and that the chip's fields can hold."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from secure_ext.chips.chip import load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.policy.extra_keys import chip_purposes
from secure_ext.station.chip_facts import FACTS

OTHERS = {"ECDSA_KEY_P256", "ECDSA_KEY_P384_L", "ECDSA_KEY_P384_H"}
"""The first is another name of ECDSA_KEY; the others are the blocks of ECDSA_KEY_P384."""
OF_FIVE_BITS = {"ECDSA_KEY_P192", "ECDSA_KEY_P384"}


@pytest.mark.parametrize("name", CHIP_NAMES)
def test_the_purposes_of_a_chip(name: str) -> None:
    """A number of five bits is not for a field of four, even if the chip has the fifth in another one."""
    fields = Path(str(metadata.distribution("esptool").locate_file(f"espefuse/efuse/{name}/fields.py")))
    if not fields.exists():
        pytest.skip("this espefuse does not know the chip")
    theirs = set(re.findall(r'\("((?:ECDSA_KEY|HMAC_)\w*)"', fields.read_text(encoding="utf-8"))) - OTHERS
    chip = load_chip(name, FACTS[name].least_revision)
    purpose = chip.efuses.find("KEY_PURPOSE_0")
    if purpose is not None and purpose.bits < 5:
        theirs -= OF_FIVE_BITS
    assert set(chip_purposes(chip)) == theirs
