# SPDX-License-Identifier: Apache-2.0
"""What a folder of this tool says that it is; read leniently, because a later version's must be known to be kept."""

from __future__ import annotations

from pathlib import Path

from secure_ext.documents.read import MANIFEST
from secure_ext.reading import read_json
from secure_ext.station.frozen import frozen


@frozen
class Glance:
    """What its manifest says; empty where it does not.

    Attributes:
        kind: what kind of package it is; empty for a bundle.
        chip: ESP-IDF's target name.
        project: name of the project.
        build_dir: the way to the build directory.
        records_home: whether it says where the home of its generated keys is.
    """

    kind: str
    chip: str
    project: str
    build_dir: str
    records_home: bool


def glance_at(folder: Path) -> Glance | None:
    """None if there is nothing, or what another program made: others, too, write a manifest.json."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict) or not str(manifest.get("tool")).startswith("idf-secure-provision "):
        return None
    inputs = manifest.get("inputs")
    inputs = inputs if isinstance(inputs, dict) else {}
    return Glance(
        kind=_text(manifest.get("kind")),
        chip=_text(manifest.get("chip")),
        project=_text(manifest.get("project")),
        build_dir=_text(inputs.get("build_dir")),
        records_home="key_home" in inputs,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
