# SPDX-License-Identifier: Apache-2.0
"""Flash is erased in sectors of 4 KB.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

SECTOR_SIZE = 0x1000
"""Bytes of a sector."""


def whole_sectors(size: int) -> int:
    """The bytes of all sectors that `size` bytes touch, from the beginning of one."""
    return -(-size // SECTOR_SIZE) * SECTOR_SIZE
