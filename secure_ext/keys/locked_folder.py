"""A folder for what must not outlive a run, and how the next run recognises those of runs that were killed."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_LOCK = "lock"


@contextlib.contextmanager
def locked_folder(root: Path, prefix: str) -> Iterator[tuple[Path, TextIO]]:
    """A new folder (mode 0700) in `root` that is gone when the block ends, and its lock.

    The lock says that the folder is in use: a process that inherits it keeps the folder from being taken for left over
    when this one dies. Raises OSError if it cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    try:
        with _new_lock(folder) as lock:
            yield folder, lock
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left_over_folders(root: Path, prefix: str) -> list[Path]:
    """The folders that runs which were killed have left in `root`."""
    folders = []
    for folder in sorted(root.glob(glob.escape(prefix) + "*")):
        try:
            with (folder / _LOCK).open("r+", encoding="ascii") as lock:
                _hold(lock)
        except OSError:
            continue  # in use, or somebody else's
        folders.append(folder)
    return folders


def _new_lock(folder: Path) -> TextIO:
    """A lock that gets its name when it is held, so that nobody finds it free; Windows does not rename open files."""
    is_renamed = os.name != "nt"
    path = folder / (f"{_LOCK}.new" if is_renamed else _LOCK)
    lock = path.open("w", encoding="ascii")
    _hold(lock)
    if is_renamed:
        path.rename(folder / _LOCK)
    return lock


def _hold(file: TextIO) -> None:
    """Raises OSError if another process holds it."""
    if os.name == "nt":
        import msvcrt  # noqa: PLC0415 (only there is on Windows)

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl  # noqa: PLC0415 (not on Windows)

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
