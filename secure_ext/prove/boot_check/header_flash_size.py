# SPDX-License-Identifier: Apache-2.0
"""How much flash the bootloader believes in: what its header says, as far as it knows that size.

Source: ESP-IDF ``components/bootloader_support/bootloader_flash/src/bootloader_flash_config_<chip>.c``
(``update_flash_config``; 5.0: ``src/<chip>/bootloader_<chip>.c``), read at every tag from v5.0 to v6.1-beta1. What is
not in its list is taken for 2 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secure_ext.prove.boot_check.idf_version import IdfVersion, Since, may_have, surely_has

_MEGABYTE = 0x100000
_UNKNOWN = 2 * _MEGABYTE
_LONG_KNOWN = 4
"""The number of 16 MB in a header, which every version knows."""
_LARGEST = 7

_KNOW_ALL = ("esp32s2", "esp32s3", "esp32s31")
_LATE: Since = {(5, 4): 4, (5, 5): 2, (6, 0): 0}
_ABOVE_16_MB: Mapping[str, Since] = {"esp32p4": {(5, 3): 2, (5, 4): 0}}
_32_MB: Mapping[str, Since] = {**_ABOVE_16_MB, "esp32c5": {(5, 4): 4, (5, 5): 0}}


@dataclass(frozen=True)
class BelievedSize:
    """Bytes of flash that a bootloader believes in: at least and at most; they differ if its version is not known."""

    least: int
    most: int


def believed_size(chip: str, code: int, version: IdfVersion | None) -> BelievedSize:
    """Of a bootloader whose header has the number `code` for its flash size (the high half of byte 3)."""
    if code > _LARGEST:
        return BelievedSize(_UNKNOWN, _UNKNOWN)
    size = _MEGABYTE << code
    if code <= _LONG_KNOWN or chip in _KNOW_ALL:
        return BelievedSize(size, size)
    since = (_32_MB if code == _LONG_KNOWN + 1 else _ABOVE_16_MB).get(chip, _LATE)
    return BelievedSize(
        size if surely_has(version, since) else _UNKNOWN, size if may_have(version, since) else _UNKNOWN
    )
