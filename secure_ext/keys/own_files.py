# SPDX-License-Identifier: Apache-2.0
"""Whether a secret found on disk may be used: only what the running user owns, and nobody else can have written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from secure_ext.errors import InputError

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def require_own(*paths: Path) -> None:
    """Refuses files and folders that somebody else owns or can write, and links: they may have been planted.

    A file that has a second name somewhere (a hard link) is refused, too: it may be anybody's file of the same size.
    A folder that its owner's group can write is refused however small the group is: this tool makes none, whatever the
    umask, and who is in a group nobody can tell for certain. File modes say nothing on Windows, where only links are
    refused.

    Raises InputError SE735; OSError if one cannot be looked at.
    """
    for path in paths:
        _refuse(path, _wrong(path.lstat(), (_me(),)))


def require_own_document(path: Path) -> None:
    """Refuses a document that somebody else has put beside keys, or that everybody can write.

    Documents are written with the user's umask, so a group may write them where each user has one of his own. It could
    say that the user's own keys are another project's, and make no key of them. Raises as `require_own`.
    """
    status = path.lstat()
    _refuse(path, _wrong(status, (_me(),), any_mode=not status.st_mode & stat.S_IWOTH))


def require_own_place(folder: Path) -> None:
    """Refuses a folder in which somebody else could exchange what `require_own` has just looked at.

    It may be root's, who can do that everywhere. Raises as `require_own`.
    """
    _refuse(folder, _wrong(folder.lstat(), (_me(), 0)))


def own_files_below(folder: Path) -> list[Path]:
    """Every file in a folder and those below it, all of them and the folder as `require_own` wants them; sorted.

    Raises as `require_own`, also for one that cannot be entered.
    """
    require_own(folder)
    files = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            files += own_files_below(path)
        else:
            require_own(path)
            files.append(path)
    return files


def _me() -> int:
    return os.geteuid() if os.name == "posix" else 0


def _refuse(path: Path, wrong: str) -> None:
    if wrong:
        raise InputError(
            "SE735",
            f"a key that was found here is not used: {path.name} {wrong}, so somebody else may have put it there",
            cure="if it is yours: chown it to yourself, and chmod go-w folder and files (of a file with a second name "
            "make a copy, and put that in its place); if you do not know it, move it away, and ask where it comes from "
            "before a board gets it",
            place=str(path),
        )


def _wrong(status: os.stat_result, owners: tuple[int, ...], *, any_mode: bool = False) -> str:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return "is a link or no plain file"
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        return "has a second name elsewhere (a hard link)"
    if os.name != "posix":
        return ""
    if status.st_uid not in owners:
        return "belongs to another user"
    return "can be written by others" if status.st_mode & _OTHERS_WRITE and not any_mode else ""
