# SPDX-License-Identifier: Apache-2.0
"""Whether git keeps a file, or would with the next ``git add``; git itself is asked."""

from __future__ import annotations

import enum
import os
import re
import subprocess
from pathlib import Path

_SECONDS = 5


class Kept(enum.Enum):
    """What git does with a file; `UNKNOWN` also where there is no repository, or no git."""

    TRACKED = "tracked"
    NOT_IGNORED = "not ignored"
    IGNORED = "ignored"
    UNKNOWN = "unknown"


def kept_by_git(path: Path, *, but_for: Path | None = None) -> Kept:
    """What the repository that `path` lies in does with it, or would if it were there.

    A file that only a rule in the file `but_for` keeps out counts as not ignored.
    """
    path = path.resolve()
    if not any((folder / ".git").exists() for folder in path.parents):
        return Kept.UNKNOWN
    folder = next(folder for folder in path.parents if folder.is_dir())
    name = path.relative_to(folder).as_posix()
    tracked = _git(folder, name, "ls-files", "--error-unmatch")
    if tracked == 0:
        return Kept.TRACKED
    ignored = _git(folder, name, "check-ignore", "--quiet") if tracked == 1 else None
    if ignored == 0 and but_for is not None and _said_by(folder, name) == but_for.resolve():
        return Kept.NOT_IGNORED
    return {0: Kept.IGNORED, 1: Kept.NOT_IGNORED}.get(-1 if ignored is None else ignored, Kept.UNKNOWN)


def _said_by(folder: Path, name: str) -> Path | None:
    """The file with the rule that ignores a file; None if git does not say. Git names it from the top of the tree."""
    done = _run(folder, name, "check-ignore", "--verbose")
    rule = re.match(r"(.+?):\d+:", "" if done is None else done.stdout)
    top = next((above for above in (folder, *folder.parents) if (above / ".git").exists()), folder)
    return (top / rule[1]).resolve() if rule else None


def _git(folder: Path, name: str, *command: str) -> int | None:
    """The exit code of git, None if it could not be asked."""
    done = _run(folder, name, *command)
    return None if done is None else done.returncode


def _run(folder: Path, name: str, *command: str) -> subprocess.CompletedProcess[str] | None:
    """Settings of the repository run no program here."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *command, "--", name],  # noqa: S607 (as the user calls it)
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
