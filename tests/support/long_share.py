# SPDX-License-Identifier: Apache-2.0
"""A part of the long tests, another one each day, so that all of them have run before long."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Share:
    """The `number`-th of `count` parts, counted on from the last one to the first again."""

    number: int
    count: int

    @classmethod
    def of_text(cls, text: str) -> Share:
        """Reads ``3/14``. Raises pytest.UsageError if it is something else."""
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and int(count)):
            raise pytest.UsageError(f"--long-share takes two numbers, such as 3/14, and not {text}")
        return cls(int(number), int(count))

    def holds(self, name: str) -> bool:
        """Whether the test with that node id is in this part: by the name alone, whatever other tests there are."""
        return (zlib.crc32(name.encode()) - self.number) % self.count == 0


def keep_share(items: list[pytest.Item], share: Share) -> list[pytest.Item]:
    """Takes the long tests that are in other parts out of the list, and gives them."""
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        is_other = item.get_closest_marker("long") is not None and not share.holds(item.nodeid)
        (others if is_other else kept).append(item)
    items[:] = kept
    return others
