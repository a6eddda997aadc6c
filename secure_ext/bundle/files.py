"""The files of a bundle, whether it is a folder or an archive: their names, and their bytes."""

from __future__ import annotations

import contextlib
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from secure_ext.bundle.file_names import name_faults
from secure_ext.errors import InputError

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)
"""What zipfile also raises on damaged members."""

_MOST_BYTES = 1 << 30
"""Far more than any flash holds; an archive that says it is larger is not unpacked."""


class BundleFiles(Protocol):
    """What a bundle is read through. Names are relative, with forward slashes."""

    @property
    def place(self) -> Path:
        """The folder or the archive."""

    @property
    def folder(self) -> Path | None:
        """The folder; None for an archive."""

    def names(self) -> list[str]:
        """Every file, sorted."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None if there is no such file, or it cannot be read."""


@dataclass(frozen=True)
class FolderFiles:
    """A bundle as it was written."""

    place: Path

    @property
    def folder(self) -> Path:
        """Itself."""
        return self.place

    def names(self) -> list[str]:
        """Every file and every link, sorted."""
        found = (path for path in self.place.rglob("*") if path.is_symlink() or not path.is_dir())
        return sorted(path.relative_to(self.place).as_posix() for path in found)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file; None if there is none that can be read."""
        try:
            path = self.place / name
            return path.read_bytes() if path.is_file() else None
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class ArchiveFiles:
    """A bundle in a zip file, read into memory; nothing is unpacked on disk."""

    place: Path
    content: dict[str, bytes]
    folder: None = None

    def names(self) -> list[str]:
        """Every member, sorted."""
        return sorted(self.content)

    def read(self, name: str) -> bytes | None:
        """The bytes of a member; None if there is none."""
        return self.content.get(name)


@contextlib.contextmanager
def _shown_as_input_error(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError, EOFError, OverflowError, *_DAMAGED) as error:
        raise InputError(
            "SE750",
            f"the archive cannot be read: {error}",
            cure="give the file that `secure-provision bundle --archive` wrote, or copy it again",
            place=str(place),
        ) from None


def open_bundle_files(place: Path) -> BundleFiles:
    """The files of a folder or of an archive.

    Raises InputError SE730 (there is neither), SE750 (an archive that cannot be read).
    """
    if place.is_dir():
        return FolderFiles(place)
    if not place.is_file():
        raise InputError(
            "SE730",
            "there is no bundle: neither a folder nor an archive",
            cure="give the folder that `secure-provision bundle` wrote, such as build/secure",
            place=str(place),
        )
    with _shown_as_input_error(place), zipfile.ZipFile(place) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > _MOST_BYTES:
            raise ValueError("it is larger than any bundle")
        for name, fault in name_faults(member.filename.removesuffix("/") for member in members):
            raise ValueError(f"{name!r}: {fault}")
        return ArchiveFiles(place, {member.filename: archive.read(member) for member in members})
