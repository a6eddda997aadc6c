# SPDX-License-Identifier: Apache-2.0
"""How one folder names another: relative where it can be, so that both can be moved together; and what lies in it."""

from __future__ import annotations

import os
from pathlib import Path


def way(start: Path, target: Path) -> str:
    """The way from the folder `start` to `target`, with forward slashes; the whole path to another drive."""
    start, target = start.resolve(), target.resolve()
    try:
        return Path(os.path.relpath(target, start)).as_posix()
    except ValueError:  # Windows: another drive
        return target.as_posix()


def is_inside(place: Path, folder: Path) -> bool:
    """Whether `place` is `folder` or lies in it, links followed; links in a circle lead nowhere."""
    real = Path(os.path.realpath(place))
    return Path(os.path.realpath(folder)) in (real, *real.parents)
