"""How much flash a bootloader believes in: the size in its own header, as far as its chip and ESP-IDF version know it.

Source: ``update_flash_config`` in ESP-IDF's ``components/bootloader_support/bootloader_flash/src/
bootloader_flash_config_<chip>.c`` (5.0: ``src/<chip>/bootloader_<chip>.c``), read in every release from 5.0 to
6.1-beta1. What the switch there does not list is taken for 2 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from secure_ext.project.idf_version import parse_idf_version

MEGABYTE = 0x100000
TAKEN_FOR = 2 * MEGABYTE
"""What a bootloader believes in when it does not know the size in its header, in bytes."""

_ALWAYS_KNOWN = 16 * MEGABYTE
_LARGEST_CODE = 7
_Since = Mapping[tuple[int, int], int]
_ALL_SIZES: _Since = {(5, 4): 4, (5, 5): 2, (6, 0): 0}
_ALL_SIZES_OF: Mapping[str, _Since] = {
    "esp32s2": {(5, 0): 0},
    "esp32s3": {(5, 0): 0},
    "esp32s31": {(6, 1): -1},
    "esp32p4": {(5, 3): 2, (5, 4): 0},
}
_32_MB_OF: Mapping[str, _Since] = {"esp32c5": {(5, 4): 4, (5, 5): 0}}


@dataclass(frozen=True)
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
    tables = [_ALL_SIZES_OF.get(chip, _ALL_SIZES)]
    if size == 2 * _ALWAYS_KNOWN:
        tables += [_32_MB_OF[chip]] if chip in _32_MB_OF else []
    release = parse_idf_version(version)
    if release is None:
        knows_in_all = chip in ("esp32s2", "esp32s3", "esp32s31")
        return FlashSize(size, size if knows_in_all else TAKEN_FOR, size, version)
    believed = size if any(release.has(since) for since in tables) else TAKEN_FOR
    return FlashSize(size, believed, believed, version)
