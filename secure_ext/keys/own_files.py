"""Whether a secret found on disk may be used: only what the running user owns, and nobody else can have written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from secure_ext.errors import InputError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def require_own(*paths: Path) -> None:
    """Refuses files and folders that somebody else owns or can write, and links: they may have been planted.

    File modes say nothing on Windows, where only links are refused.

    Raises InputError SE735; OSError if one cannot be looked at.
    """
    for path in paths:
        status = path.lstat()
        wrong = _wrong(status)
        if wrong:
            raise InputError(
                "SE735",
                f"a key that was found here is not used: {path.name} {wrong}, so somebody else may have put it there",
                cure="if it is yours: chown it to yourself, and chmod go-w folder and files; if you do not know it, "
                "move it away, and ask where it comes from before a board gets it",
                place=str(path),
            )


def _wrong(status: os.stat_result) -> str:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return "is a link or no plain file"
    if os.name != "posix":
        return ""
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    return "can be written by others" if status.st_mode & _OTHERS_WRITE else ""
