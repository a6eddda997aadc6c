"""A private folder for keys that must not outlive a run, and the removal of those that dead runs have left behind.

Its files are unlinked, not overwritten: on flash storage and on file systems that keep old blocks, overwriting reaches
another place. On Linux it lies in memory (/dev/shm), which never reaches a disk unless the machine swaps.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from secure_ext.errors import InputError
from secure_ext.keys.locked_folder import left_over_folders, locked_folder

_PREFIX = "secure-provision-keys-"
_MEMORY = Path("/dev/shm")  # noqa: S108 (mkdtemp makes a private folder in it)


@contextlib.contextmanager
def private_folder(root: Path | None = None) -> Iterator[tuple[Path, TextIO]]:
    """A `locked_folder` in `root`, which is by default the first of `roots`.

    Raises InputError SE686 if it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            entered = stack.enter_context(locked_folder(root or roots()[0], _PREFIX))
        except OSError as error:
            raise InputError(
                "SE686",
                f"no private folder for keys can be made: {error.strerror}",
                cure="check the permissions and free space of the folder for temporary files, or name one: --private",
            ) from None
        yield entered


def remove_left_over(root: Path | None = None) -> list[Path]:
    """Removes the folders of runs that were killed, from `root` or else from `roots`; returns which they were."""
    places = [root] if root else roots()
    folders = [folder for place in places for folder in left_over_folders(place, _PREFIX)]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return folders


def roots() -> list[Path]:
    """Where such folders are made (the first), and where they may be left over: memory, and the temporary folder."""
    places = [Path(tempfile.gettempdir())]
    if sys.platform == "linux" and _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK):
        places.insert(0, _MEMORY)
    return places
