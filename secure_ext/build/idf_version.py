# SPDX-License-Identifier: Apache-2.0
"""ESP-IDF's version as a build records it, and whether a change is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(-dev\b)?")
_BEFORE_THE_FIRST_RELEASE = -1


@dataclass(frozen=True, order=True)
class IdfVersion:
    """A release; `patch` is -1 for ``-dev``, the time before the first release of its branch."""

    major: int
    minor: int
    patch: int

    @property
    def branch(self) -> tuple[int, int]:
        """The release branch it belongs to."""
        return self.major, self.minor

    def has(self, since: Mapping[tuple[int, int], int]) -> bool:
        """Whether it surely has a change: `since` names, by branch, the first patch release with it.

        A branch that is later than all of these has it too; one that is not named has not.
        """
        if self.branch in since:
            return self.patch >= since[self.branch]
        return self.branch > max(since)


def parse_idf_version(text: str | None) -> IdfVersion | None:
    """The release that ``v5.5.1-dirty``, ``v5.4.3-120-g0123abc`` or ``v6.0-beta1`` follows; None for a bare commit.

    Commits that came after a release are not counted to the next one.
    """
    match = _VERSION.match(text or "")
    if match is None:
        return None
    patch = _BEFORE_THE_FIRST_RELEASE if match[4] else int(match[3] or 0)
    return IdfVersion(int(match[1]), int(match[2]), patch)
