# SPDX-License-Identifier: Apache-2.0
"""A private folder for keys that must not outlive a run, and the removal of those that dead runs have left behind.

Its files are unlinked, not overwritten: on flash storage and on file systems that keep old blocks, overwriting reaches
another place. On Linux it lies in memory (/dev/shm), which never reaches a disk unless the machine swaps.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from secure_ext.errors import InputError
from secure_ext.station.file_lock import hold

_PREFIX = "secure-provision-keys-"
_LOCK = "lock"
_MEMORY = Path("/dev/shm")  # noqa: S108 (mkdtemp makes a private folder in it)


@contextlib.contextmanager
def private_folder(root: Path | None = None) -> Iterator[tuple[Path, TextIO]]:
    """A new folder (mode 0700) in `root` that is gone when the block ends, and its lock.

    `root` is by default the first of `roots`. The lock says that the folder is in use: a process that inherits it keeps
    the folder from being removed as left over when this one dies.

    Raises InputError SE686 if it cannot be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root or next(iter(roots()), None)))
    except OSError as error:
        raise _cannot_make(error) from None
    try:
        with _new_lock(folder) as lock:
            yield folder, lock
    finally:
        _remove(folder)


@contextlib.contextmanager
def virtual_chip_folder() -> Iterator[Path]:
    """A private folder for virtual chips, which hold keys and whole flashes: on the disk, not in memory."""
    try:
        root = Path(tempfile.gettempdir())
    except OSError as error:
        raise _cannot_make(error) from None
    remove_left_over(root)
    with private_folder(root) as (folder, _):
        yield folder


def _new_lock(folder: Path) -> TextIO:
    """A lock that gets its name when it is held, so that nobody finds it free; Windows does not rename open files."""
    is_renamed = os.name != "nt"
    path = folder / (f"{_LOCK}.new" if is_renamed else _LOCK)
    try:
        lock = path.open("w", encoding="ascii")
        hold(lock)
        if is_renamed:
            path.rename(folder / _LOCK)
    except OSError as error:
        raise _cannot_make(error) from None
    return lock


def remove_left_over(root: Path | None = None) -> list[Path]:
    """Removes the folders of runs that were killed, from `root` or else from `roots`; returns which they were."""
    removed = []
    for place in [root] if root else roots():
        for folder in sorted(place.glob(f"{_PREFIX}*")):
            try:
                with _lock_of_own(folder) as lock:
                    hold(lock)
            except OSError:
                continue  # in use, or somebody else's
            _remove(folder)
            if not folder.exists():
                removed.append(folder)
    return removed


def _lock_of_own(folder: Path) -> TextIO:
    """The lock of a folder as `private_folder` makes it. Raises OSError for anything else: /tmp is everybody's."""
    status = folder.lstat()
    is_private = os.name == "nt" or (status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == 0o700)
    if not stat.S_ISDIR(status.st_mode) or not is_private:
        raise PermissionError(errno.EPERM, "it is not a private folder of this user", str(folder))
    # Nobody else can put anything into a folder with these modes, or exchange it in a sticky /tmp.
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.fdopen(os.open(folder / _LOCK, flags), "r+", encoding="ascii")


def _remove(folder: Path) -> None:
    """The lock goes last: a folder that could not be removed whole is found again."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
        shutil.rmtree(folder)


def roots() -> list[Path]:
    """Where such folders are made (the first), and where they may be left over: memory, and the temporary folder.

    A kiosk, or a container with a read-only root, may have none of them.
    """
    places = []
    with contextlib.suppress(OSError):
        places.append(Path(tempfile.gettempdir()))
    if sys.platform == "linux" and _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK):
        places.insert(0, _MEMORY)
    return places


def _cannot_make(error: OSError) -> InputError:
    return InputError(
        "SE686",
        f"no private folder for keys can be made: {error.strerror}",
        cure="check the permissions and the free space of the folder for temporary files, or give one with --private",
    )
