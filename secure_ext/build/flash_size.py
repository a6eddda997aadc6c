# SPDX-License-Identifier: Apache-2.0
"""How much flash a bootloader believes in: the size in its own header, as far as its chip and ESP-IDF version know it.

Source: ``update_flash_config`` in ESP-IDF's ``components/bootloader_support/bootloader_flash/src/
bootloader_flash_config_<chip>.c`` (5.0: ``src/<chip>/bootloader_<chip>.c``), read in every release from 5.0 to
6.1-beta1. What the switch there does not list is taken for 2 MB.
"""

from __future__ import annotations

from dataclasses import field

from secure_ext.build.idf_version import parse_idf_version
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.frozen import frozen

MEGABYTE = 0x100000
TAKEN_FOR = 2 * MEGABYTE
"""What a bootloader believes in when it does not know the size in its header, in bytes."""

_ALWAYS_KNOWN = 16 * MEGABYTE
_LARGEST_CODE = 7


@frozen
class FlashSize:
    """A bootloader's flash size in bytes.

    Attributes:
        header: what its header says, None for a number that no ESP-IDF has a size for.
        least: what it surely believes in: every partition must end before.
        most: what it may believe in: the board's flash must hold that much. It is not `least` only if the version of
            ESP-IDF is not known.
    """

    header: int | None
    least: int
    most: int
    idf_version: str | None = field(default=None, compare=False)


def bootloader_flash_size(chip: str, code: int, version: str | None) -> FlashSize:
    """The flash size of a bootloader.

    Args:
        chip: ESP-IDF's name of the chip.
        code: the high nibble of byte 3 of its header, ``spi_size``.
        version: the ESP-IDF that built it, as ``v5.5.1-dirty``; None, or a bare commit, if unknown.
    """
    if code > _LARGEST_CODE:
        return FlashSize(None, TAKEN_FOR, TAKEN_FOR, version)
    size = MEGABYTE << code
    if size <= _ALWAYS_KNOWN:
        return FlashSize(size, size, size, version)
    facts = FACTS[chip]
    tables = [facts.all_flash_sizes]
    if facts.flash_of_32_mb and size == 2 * _ALWAYS_KNOWN:
        tables.append(facts.flash_of_32_mb)
    release = parse_idf_version(version)
    if release is None:
        return FlashSize(size, size if facts.always_all_flash_sizes else TAKEN_FOR, size, version)
    believed = size if any(release.has(since) for since in tables) else TAKEN_FOR
    return FlashSize(size, believed, believed, version)
