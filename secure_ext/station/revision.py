# SPDX-License-Identifier: Apache-2.0
"""Chip revisions as people write them. A revision is a number: major * 100 + minor.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from typing import Optional


def revision_text(revision: int) -> str:
    """``v3.1`` for 301."""
    return f"v{revision // 100}.{revision % 100}"


def revision_range(least: int, most: Optional[int]) -> str:
    """Which chips something is for; `most` is None where there is no limit."""
    return revision_text(least) + (" or later" if most is None else f" to {revision_text(most)}")
