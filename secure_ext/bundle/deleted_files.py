# SPDX-License-Identifier: Apache-2.0
"""Deletes files with secrets, and looks afterwards whether the secrets are gone: a link goes, and its file stays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from secure_ext.station.frozen import frozen


@frozen
class Remains:
    """What is still there of a secret whose file was deleted.

    Attributes:
        path: the file that was deleted.
        where: where the secret still is, in words.
    """

    path: Path
    where: str


def files_below(folder: Path) -> list[Path]:
    """Every file and every link to one below a folder, sorted; none if there is no such folder.

    Links to folders are not followed, see `linked_folders`. Raises OSError for a folder that cannot be read.
    """
    return sorted(path for path, is_folder in _walk(folder) if not is_folder and path.is_file())


def linked_folders(folder: Path) -> list[Path]:
    """The links to folders below a folder: nobody looks into them. Raises OSError as `files_below` does."""
    return sorted(path for path, is_folder in _walk(folder) if is_folder and path.is_symlink())


def _walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """All entries, and whether each is a folder or a link to one. `Path.rglob` says nothing of what it may not read."""
    open_folders = [folder]
    while open_folders:
        here = open_folders.pop()
        try:
            entries = list(os.scandir(here))
        except FileNotFoundError:
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                open_folders.append(path)
            yield path, entry.is_dir()


def delete(paths: Sequence[Path]) -> Iterator[Remains]:
    """Deletes each file as the iterator comes to it, and yields what of it is still there.

    They are unlinked and not overwritten: on flash storage that would reach other cells.

    Raises OSError, with the file's name, if one cannot be deleted; those before it are gone.
    """
    for path in paths:
        target = path.resolve() if path.is_symlink() else None
        others = path.stat().st_nlink - 1
        path.unlink()
        if target is not None and target.exists():
            yield Remains(path, f"it was a link, and the file is still there: {target}")
        elif others > 0 and target is None:
            yield Remains(path, f"the same file has {others} other name{'s' if others > 1 else ''} on this disk")
        elif os.path.lexists(path):
            yield Remains(path, "it is there again")
