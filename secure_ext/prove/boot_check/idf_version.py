# SPDX-License-Identifier: Apache-2.0
"""Which ESP-IDF made an image, and whether a change of ESP-IDF's is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_VERSION = re.compile(
    r"v?(\d+)\.(\d+)(?:\.(\d+))?(?P<before>-dev)?(?:-(?:beta|rc)\d+)?(?:-(?P<commits>\d+)-g[0-9a-f]+)?"
)
Since = Mapping[tuple[int, int], int]
"""The first patch release with a change, by release branch. ``-dev``, where a branch begins, counts as patch -1."""


@dataclass(frozen=True)
class IdfVersion:
    """A release of ESP-IDF, or a commit that follows it (``git describe``).

    Attributes:
        branch: major and minor number.
        patch: patch number; -1 for ``-dev``.
        is_between: there are commits after this release, so that what is in the next one may be there already.
    """

    branch: tuple[int, int]
    patch: int
    is_between: bool

    def reaches(self, since: Since, patch: int) -> bool:
        """Whether this branch's release `patch` has the change; branches after all that are listed have it."""
        return patch >= since[self.branch] if self.branch in since else self.branch > max(since)


def read_version(text: str | None) -> IdfVersion | None:
    """From ``v5.5.1``, ``v6.0-beta1``, ``v5.4.3-120-g0123abc`` or ``v5.5-dirty``; None for a bare commit."""
    match = _VERSION.match(text or "")
    if match is None:
        return None
    patch = -1 if match["before"] else int(match[3] or 0)
    return IdfVersion((int(match[1]), int(match[2])), patch, match["commits"] not in (None, "0"))


def surely_has(version: IdfVersion | None, since: Since) -> bool:
    """Whether the change is in it for certain: not if the version is not known."""
    return version is not None and version.reaches(since, version.patch)


def may_have(version: IdfVersion | None, since: Since) -> bool:
    """Whether the change can be in it."""
    return version is None or version.reaches(since, version.patch + version.is_between)
