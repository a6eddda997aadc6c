# SPDX-License-Identifier: Apache-2.0
"""One value in several eFuse fields: the parts in which espefuse's tables have it, lowest bits first.

A table has such a value whole, or as ``NAME_LO`` and ``NAME_HI``, or as ``NAME_0_1``, ``NAME_2_2`` and so on, named by
the bits that each part holds. espefuse itself joins some of them, and its ESP32-C5 drops the highest bit of a sector
that it joins (``espefuse/efuse/esp32c5/fields.py``, EfuseBtldrRecoveryField): here the parts are burned.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from secure_ext.chips.chip import Chip
from secure_ext.chips.efuse_table import EfuseField


def parts_of(chip: Chip, name: str) -> tuple[EfuseField, ...]:
    """The fields that hold the value called `name`, lowest bits first; none if the chip has no such value."""
    fields = chip.efuses.fields
    if name in fields:
        return (fields[name],)
    halves = tuple(fields[part] for part in (f"{name}_LO", f"{name}_HI") if part in fields)
    if len(halves) > 1:
        return halves
    numbered = {
        int(found[1]): field for part, field in fields.items() if (found := re.fullmatch(rf"{name}_(\d+)_\d+", part))
    }
    return tuple(numbered[first] for first in sorted(numbered))


def width_of(chip: Chip, name: str) -> int:
    """How many bits the value has; 0 if the chip has no such value."""
    return sum(field.bits for field in parts_of(chip, name))


def cut(chip: Chip, name: str, value: int) -> dict[str, int]:
    """What each part holds of a value, by the part's name."""
    parts: dict[str, int] = {}
    for field in parts_of(chip, name):
        parts[field.name] = value & ((1 << field.bits) - 1)
        value >>= field.bits
    return parts


def joined(chip: Chip, name: str, parts: Mapping[str, int]) -> int:
    """The value whose parts are these; a part that is not named is 0."""
    value = position = 0
    for field in parts_of(chip, name):
        value |= parts.get(field.name, 0) << position
        position += field.bits
    return value
