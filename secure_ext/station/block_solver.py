# SPDX-License-Identifier: Apache-2.0
"""Gives each of several wishes a place of its own.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Optional, TypeVar

Place = TypeVar("Place", bound=Hashable)


def solve(wishes: Sequence[Sequence[Place]]) -> Optional[tuple[Place, ...]]:
    """One place for each wish, no place twice; None if there is no such choice.

    Of all choices the first: the first wish has the earliest of its places that leaves the others one, and so on.
    """
    return _solve(wishes, frozenset())


def _solve(wishes: Sequence[Sequence[Place]], taken: frozenset[Place]) -> Optional[tuple[Place, ...]]:
    if not wishes:
        return ()
    for place in wishes[0]:
        if place not in taken:
            others = _solve(wishes[1:], taken | {place})
            if others is not None:
                return (place, *others)
    return None
