# SPDX-License-Identifier: Apache-2.0
"""The record, in a build directory, of where bundles of it were made; light, because idf.py's guard reads it, too."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from secure_ext.reading import read_json
from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import document_data, read_document

RECORD = "secure_provision_bundles.json"
"""In the build directory."""
_SCHEMA: Literal[1] = 1


@frozen
class Made:
    """A bundle that was made of a build.

    Attributes:
        folder: where, absolute.
        inputs: the files from outside the build that it was made of, keys excepted, with their SHA-256.
    """

    folder: Path
    inputs: Mapping[str, str]


@frozen
class _Entry:
    """A bundle as it stands in the record; `folder` is the way from the build directory."""

    folder: str
    inputs: Mapping[str, str]


@frozen
class _Record:
    """The record itself."""

    schema: Literal[1]
    bundles: tuple[_Entry, ...]


def bundles_made(build_dir: Path) -> tuple[Made, ...]:
    """The recorded bundles that are still there, the last one last; none where there is no record."""
    try:
        record = read_document(_Record, read_json(build_dir / RECORD))
    except (OSError, ValueError):
        return ()
    own = build_dir.resolve()
    made = [Made((own / entry.folder).resolve(), entry.inputs) for entry in record.bundles]
    return tuple(item for item in made if (item.folder / "manifest.json").is_file())


def add_to_record(build_dir: Path, made: Made) -> None:
    """Notes a bundle; the last one stands last. A build directory that cannot be written keeps what it has."""
    folder = made.folder.resolve()
    others = [earlier for earlier in bundles_made(build_dir) if earlier.folder != folder]
    entries = tuple(_Entry(way_from(build_dir, one.folder), one.inputs) for one in (*others, made))
    text = json.dumps(document_data(_Record(_SCHEMA, entries)), indent=2) + "\n"
    beside = build_dir / f".{RECORD}.{os.getpid()}.new"
    with contextlib.suppress(OSError):
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(build_dir / RECORD)
        finally:
            beside.unlink(missing_ok=True)


def way_from(build_dir: Path, path: Path) -> str:
    """The way from the build directory, so that a project may be moved as a whole; absolute on another drive."""
    try:
        return Path(os.path.relpath(path.resolve(), build_dir.resolve())).as_posix()
    except ValueError:
        return str(path.resolve())
