# SPDX-License-Identifier: Apache-2.0
"""The record, in a build directory, of where bundles of it were made; light, because idf.py's guard reads it, too."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secure_ext.reading import read_json

RECORD = "secure_provision_bundles.json"
"""In the build directory."""
_SCHEMA = 1


@dataclass(frozen=True)
class Made:
    """A bundle that was made of a build.

    Attributes:
        folder: where, absolute.
        inputs: the files from outside the build that it was made of, keys excepted, with their SHA-256.
    """

    folder: Path
    inputs: Mapping[str, str]


def bundles_made(build_dir: Path) -> tuple[Made, ...]:
    """The recorded bundles that are still there, the last one last; none where there is no record."""
    try:
        entries = read_json(build_dir / RECORD)["bundles"]
        own = build_dir.resolve()
        made = [Made((own / entry["folder"]).resolve(), dict(entry["inputs"])) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ()
    return tuple(item for item in made if (item.folder / "manifest.json").is_file())


def add_to_record(build_dir: Path, made: Made) -> None:
    """Notes a bundle; the last one stands last. A build directory that cannot be written keeps what it has."""
    folder = made.folder.resolve()
    others = [earlier for earlier in bundles_made(build_dir) if earlier.folder != folder]
    entries = [{"folder": way_from(build_dir, one.folder), "inputs": dict(one.inputs)} for one in (*others, made)]
    beside = build_dir / f".{RECORD}.{os.getpid()}.new"
    with contextlib.suppress(OSError):
        try:
            beside.write_text(json.dumps({"schema": _SCHEMA, "bundles": entries}, indent=2) + "\n", encoding="utf-8")
            beside.replace(build_dir / RECORD)
        finally:
            beside.unlink(missing_ok=True)


def way_from(build_dir: Path, path: Path) -> str:
    """The way from the build directory, so that a project may be moved as a whole; absolute on another drive."""
    try:
        return Path(os.path.relpath(path.resolve(), build_dir.resolve())).as_posix()
    except ValueError:
        return str(path.resolve())
