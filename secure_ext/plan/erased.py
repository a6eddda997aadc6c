# SPDX-License-Identifier: Apache-2.0
"""What is erased of the flash: all but what stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secure_ext.plan.steps import EraseFlash, KeepFlash


def erased_around(kept: Sequence[KeepFlash], start: int) -> Iterator[EraseFlash]:
    """All of the flash from `start` on, but for what is kept, which is sorted by address."""
    for keep in kept:
        if keep.offset > start:
            yield EraseFlash(start, keep.offset - start)
        start = max(start, keep.end)
    yield EraseFlash(start, None)
