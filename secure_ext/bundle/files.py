# SPDX-License-Identifier: Apache-2.0
"""The files of a bundle, whether it is a folder or an archive: their names, and their bytes."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from secure_ext.bundle.file_names import name_faults
from secure_ext.errors import InputError
from secure_ext.reading import IMAGE_LIMIT, read_file
from secure_ext.station.frozen import frozen

_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error)
"""What zipfile also raises on damaged members."""

MOST_BYTES = 0x8000000
"""Of all files of a bundle: as large as the largest flash; an archive that says it holds more is not unpacked."""
ARCHIVE_LIMIT = MOST_BYTES + 0x1000000
"""Bytes of an archive."""
_MOST_MEMBERS = 10_000
_ENTRY = b"PK\x01\x02"
"""Begins each entry in the directory of a zip file, which zipfile reads as a whole before anything is known of it."""


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


@frozen
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
            return read_file(self.place / name, IMAGE_LIMIT)
        except OSError:
            return None


@frozen
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
    with _shown_as_input_error(place):
        return ArchiveFiles(place, _members(read_file(place, ARCHIVE_LIMIT)))


def _members(content: bytes) -> dict[str, bytes]:
    """The members of an archive by name. Raises what `_shown_as_input_error` shows."""
    if content.count(_ENTRY) > _MOST_MEMBERS:
        raise ValueError("it has more members than any bundle")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MOST_BYTES:
            raise ValueError("it is larger than any bundle")
        for name, fault in name_faults(member.filename.removesuffix("/") for member in members):
            raise ValueError(f"{name!r}: {fault}")
        if not {member.compress_type for member in members} <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise ValueError("it is compressed in another way than zip files usually are")
        return {member.filename: _content(archive, member) for member in members}


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The bytes of a member, of which no more are unpacked than it says, whatever it expands to."""
    with archive.open(member) as file:
        return file.read(member.file_size + 1)
