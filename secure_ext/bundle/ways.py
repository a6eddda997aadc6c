# SPDX-License-Identifier: Apache-2.0
"""How one folder names another: relative where it can be, so that both can be moved together."""

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
