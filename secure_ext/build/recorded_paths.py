# SPDX-License-Identifier: Apache-2.0
"""Where the project is, seen from a build directory that may have come from another machine."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath


def find_recorded(build_dir: Path, recorded_build_dir: object, recorded_path: object) -> Path | None:
    """Find on this machine what ``project_description.json`` records with an absolute path.

    The way from the recorded build directory to the recorded path is walked from the real build directory, so a
    project that was moved or copied as a whole is found. The absolute path itself comes second, None last.
    """
    if not isinstance(recorded_path, str) or not recorded_path:
        return None
    candidates = [Path(recorded_path)]
    if isinstance(recorded_build_dir, str):
        way = _way(PureWindowsPath(recorded_build_dir), PureWindowsPath(recorded_path))
        if way is not None:
            candidates.insert(0, (build_dir / way).resolve())
    return next((candidate for candidate in candidates if _exists(candidate)), None)


def _exists(path: Path) -> bool:
    """Whether the path is there for us; a place that we may not look at is somebody else's."""
    try:
        return path.exists()
    except OSError:
        return False


def _way(start: PureWindowsPath, target: PureWindowsPath) -> str | None:
    """The relative way between two recorded paths of either style; None if they share nothing but the root."""
    shared = 0
    while shared < min(len(start.parts), len(target.parts)) and start.parts[shared] == target.parts[shared]:
        shared += 1
    if shared < 2:
        return None
    return "/".join([".."] * (len(start.parts) - shared) + list(target.parts[shared:])) or "."
