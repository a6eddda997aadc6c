# SPDX-License-Identifier: Apache-2.0
"""The one way to write a file that must outlive a loss of power: whole or not at all, and on the disk afterwards.

A file that was renamed is on the disk only when its folder is, too; so is a folder that was just made. A board may live
from the station's USB port: when the power goes, it goes for both.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_durably(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replaces `path`, or makes it with its folder; on the disk when it returns, and never there in part.

    Args:
        path: the file.
        content: what it will hold.
        mode: of the file; the umask counts.

    Raises OSError; `path` is then as it was.
    """
    make_folder_durably(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(beside, flags, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)


def make_folder_durably(folder: Path, mode: int = 0o777) -> None:
    """Makes a folder and those above it that are missing, each noted in the one above. Raises OSError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(mode=mode, exist_ok=True)
        sync_folder(new.parent)


def sync_folder(folder: Path) -> None:
    """Puts the names in a folder on the disk. Windows does that by itself, and some network shares cannot."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
