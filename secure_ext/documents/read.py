# SPDX-License-Identifier: Apache-2.0
"""The one reader of each document of a bundle but the plan, which `secure_ext.plan.read_document` reads."""

from __future__ import annotations

from pathlib import Path

from secure_ext.documents.manifest import Manifest
from secure_ext.documents.rehearsal import RehearsalOutcome
from secure_ext.errors import InputError
from secure_ext.reading import DOCUMENT_LIMIT, parse_json, read_file
from secure_ext.station.typed_document import read_document

MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`. Raises InputError SE730 if there is none, or it is damaged."""
    try:
        return parse_manifest(read_file(folder / MANIFEST, DOCUMENT_LIMIT))
    except OSError as error:
        why = f"it has no {MANIFEST} that can be read ({error.strerror or error})"
    except ValueError as error:
        why = damaged_manifest(error)
    raise not_a_bundle(folder, why)


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in the content of ``manifest.json``.

    Raises DocumentFault, with the place in the document, if it is damaged; ValueError if it is not a JSON document.
    """
    return read_document(Manifest, parse_json(content, fractions=False, lines=False))


def damaged_manifest(error: ValueError) -> str:
    """What is wrong with a manifest, whoever reads it."""
    return f"its {MANIFEST} is damaged, or of a later version of this tool: {error}"


def not_a_bundle(place: Path, why: str) -> InputError:
    """What is wrong with the bundle at `place`, whoever reads it."""
    return InputError(
        "SE730",
        f"this is not a bundle: {why}",
        cure="give the folder that `secure-provision bundle` wrote, such as build/secure; if it is one, copy all of it "
        "again",
        place=str(place),
    )


def read_rehearsal(content: bytes) -> RehearsalOutcome:
    """What ``rehearsal.json`` holds. Raises ValueError, with the place in the document, if it is damaged."""
    return read_document(RehearsalOutcome, parse_json(content, fractions=False, lines=False))
