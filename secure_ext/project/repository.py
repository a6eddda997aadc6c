"""Whether git keeps a file, or would with the next ``git add``; git itself is asked."""

from __future__ import annotations

import enum
import os
import subprocess
from pathlib import Path

_SECONDS = 5


class Kept(enum.Enum):
    """What git does with a file; `UNKNOWN` also where there is no repository, or no git."""

    TRACKED = "tracked"
    NOT_IGNORED = "not ignored"
    IGNORED = "ignored"
    UNKNOWN = "unknown"


def kept_by_git(path: Path) -> Kept:
    """What the repository that `path` lies in does with it, or would if it were there."""
    path = path.resolve()
    if not any((folder / ".git").exists() for folder in path.parents):
        return Kept.UNKNOWN
    folder = next(folder for folder in path.parents if folder.is_dir())
    name = path.relative_to(folder).as_posix()
    tracked = _git(folder, name, "ls-files", "--error-unmatch")
    if tracked == 0:
        return Kept.TRACKED
    ignored = _git(folder, name, "check-ignore", "--quiet") if tracked == 1 else None
    return {0: Kept.IGNORED, 1: Kept.NOT_IGNORED}.get(-1 if ignored is None else ignored, Kept.UNKNOWN)


def _git(folder: Path, name: str, *command: str) -> int | None:
    """The exit code of git, None if it could not be asked. Settings of the repository run no program here."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *command, "--", name],  # noqa: S607 (as the user calls it)
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None
