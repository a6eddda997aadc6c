"""Reads what is to be compared: a bundle, a plan, or what ``plan --format json`` has printed."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from types import NoneType

from secure_ext.documents.read import read_manifest
from secure_ext.errors import InputError
from secure_ext.plan.read_document import not_a_plan, read_plan
from secure_ext.plan.release import IMAGE_ATTRIBUTES, Attributes, Release, release
from secure_ext.reading import read_json
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import document_data, read_document


def read_release(path: Path) -> Release:
    """Reads a bundle's folder, its manifest.json or plan.json, or the output of ``plan --format json``.

    Raises InputError SE781 if there is none of these, SE730 for a damaged manifest, SE875 for all else.
    """
    place = path / "manifest.json" if path.is_dir() else path
    try:
        place.stat()
    except OSError as error:
        raise InputError(
            "SE781",
            f"this is neither a bundle nor a plan: {place.name}: {error.strerror or error}",
            cure="give the folder of a bundle, its plan.json or manifest.json, "
            "or a file with the output of `secure-provision plan --format json`",
            place=str(path),
        ) from None
    return release(*_documents(place))


def _documents(path: Path) -> tuple[PlanDocument, dict[str, Attributes]]:
    """The plan and the images, which a manifest tells more about than a plan. Raises InputError SE730, SE875."""
    if path.name == "manifest.json":
        manifest = read_manifest(path.parent)
        return read_plan(path.parent / "plan.json"), _rows(document_data(manifest.images))
    printed = _printed(path)
    if printed is not None:
        return printed
    plan = read_plan(path)
    return plan, {PurePosixPath(image.file).stem: document_data(image) for image in plan.images}


def _printed(path: Path) -> tuple[PlanDocument, dict[str, Attributes]] | None:
    """What ``plan --format json`` has printed, if it is that. Raises InputError SE875 if it is damaged."""
    try:
        content = read_json(path, lines=False)
    except (OSError, ValueError):
        return None
    if not (isinstance(content, dict) and "plan" in content):
        return None
    try:
        return read_document(PlanDocument, content["plan"], "plan"), _rows(content.get("images"))
    except ValueError as error:
        raise not_a_plan(str(path), str(error)) from None


def _rows(images: object) -> dict[str, Attributes]:
    """The rows of images by name. Raises ValueError."""
    rows = images if isinstance(images, list) else [None]
    named = [row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
    plain = all(isinstance(row.get(name), (int, str, NoneType)) for row in named for name in IMAGE_ATTRIBUTES)
    if len(named) != len(rows) or not plain:
        raise ValueError("its images are not as a plan or a manifest lists them")
    return {row["name"]: {name: row[name] for name in IMAGE_ATTRIBUTES if name in row} for row in named}
