# SPDX-License-Identifier: Apache-2.0
"""The record of a board that an earlier run began: what is believed of it, and what is compared with the bundle.

Stations share the folder of the journal, so a record is a document that anybody there may have written. The plan of a
begun board is therefore the bundle's own; from the record come only the values that nobody has elsewhere: what its
encrypted images are, and the fingerprints of the board's own keys. All else must be as the bundle has it, and the
record's script is never run: `write_private_script` renders it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from secure_ext.bundle.read import FinishedBundle
from secure_ext.bundle.script import render_script
from secure_ext.documents.manifest import ManifestImage
from secure_ext.errors import InputError, SecureProvisionError
from secure_ext.plan.recipe import IDENTITY
from secure_ext.plan.replay import replay_plan
from secure_ext.station.durable import write_durably
from secure_ext.station.plan_document import ImageEntry, KeyStep, PlanStep


def as_the_bundle_has_it(record: FinishedBundle, template: FinishedBundle) -> FinishedBundle:
    """The `record` of a board, with the plan that the bundle `template` has for that board.

    Raises InputError SE940 if it is not of a board that this bundle began.
    """
    plan = replace(template.plan, images=_images(template, record), steps=_steps(template, record))
    known = {key.role: key.fingerprint for key in plan.keys}
    values = {image.name: image for image in record.manifest.images}
    manifest = replace(
        template.manifest,
        keys=tuple(replace(key, fingerprint=known.get(key.role, key.fingerprint)) for key in template.manifest.keys),
        images=tuple(_as_kept(image, values[image.name]) for image in template.manifest.images),
        files=record.manifest.files,
        per_device=None,
    )
    try:
        replay_plan(plan)
    except SecureProvisionError as error:
        raise _another(record, error.cause) from None
    return FinishedBundle(record.folder, manifest, plan)


def write_private_script(folder: Path, bundle: FinishedBundle) -> Path:
    """Writes the script of a board, which reads the files of `bundle`, into a folder that is nobody else's.

    Raises InputError SE686 if it cannot be written.
    """
    script = folder / "provision.py"
    text = render_script(bundle.plan, bundle.manifest.project, bundle.folder.absolute())
    try:
        write_durably(script, text.encode(), 0o600)
    except OSError as error:
        raise InputError(
            "SE686",
            f"no private folder for the board's script can be made: {error.strerror}",
            cure="check the permissions and the free space of the folder for temporary files, or give one with "
            "--private; nothing was burned by this run",
            place=str(folder),
        ) from None
    return script


def _as_kept(image: ManifestImage, kept: ManifestImage) -> ManifestImage:
    return replace(
        image,
        size=kept.size,
        sha256=kept.sha256,
        encrypted=kept.encrypted,
        encrypt_per_device=kept.encrypt_per_device,
        source_sha256=kept.source_sha256 if image.recipe == IDENTITY else image.source_sha256,
    )


def _images(template: FinishedBundle, record: FinishedBundle) -> tuple[ImageEntry, ...]:
    """What is written to the board's flash: the bundle's files and offsets, with the record's sizes and hashes."""
    wanted, found = template.manifest.images, record.manifest.images
    if [(image.file, image.offset, image.name) for image in wanted] != [(i.file, i.offset, i.name) for i in found]:
        raise _another(record, "it has other images, or other places for them")
    for image, kept in zip(wanted, found, strict=True):
        later = image.encrypt_per_device
        if (kept.encrypted, kept.encrypt_per_device) != (image.encrypted or later, False):
            raise _another(record, f"{image.file} is not encrypted as this bundle wants it")
        if not later and image.recipe != IDENTITY and (kept.size, kept.sha256) != (image.size, image.sha256):
            raise _another(record, f"{image.file}, which all boards have in common, is another one")
    images = tuple(ImageEntry(image.file, image.offset, image.size, image.sha256) for image in found)
    places = [(image.file, image.offset) for image in images]
    if record.plan.images != images or [(image.file, image.offset) for image in template.plan.images] != places:
        raise _another(record, "its plan and its manifest do not name the same images")
    if any(record.manifest.files.get(image.file) != image.sha256 for image in images):
        raise _another(record, "the images that lie there are not those of its plan")
    return images


def _steps(template: FinishedBundle, record: FinishedBundle) -> tuple[PlanStep, ...]:
    """The bundle's steps, with the record's fingerprints for the keys that each board has for itself."""
    if (record.plan.chip, record.manifest.project) != (template.plan.chip, template.manifest.project):
        raise _another(record, f"it is of {record.manifest.project}, {record.plan.chip}")
    own, kept = template.own_roles, record.plan.steps
    wanted, found = ([_what_is_burned(step, own) for step in each] for each in (template.plan.steps, kept))
    if wanted != found:
        both = ((step.id, _what_is_burned(step, own)) for step in (*template.plan.steps, *kept))
        different = next((name for name, step in both if not (step in wanted and step in found)), "its order")
        raise _another(record, f"its plan burns something else: {different}")
    return tuple(
        replace(step, fingerprint=before.fingerprint)
        if isinstance(step, KeyStep) and isinstance(before, KeyStep) and step.role in own
        else step
        for step, before in zip(template.plan.steps, kept, strict=True)
    )


def _what_is_burned(step: PlanStep, own: Sequence[str]) -> PlanStep:
    """A step without the words for people, which earlier versions wrote otherwise, and without a board's own key."""
    same = replace(step, title="", why="", source="")
    return replace(same, fingerprint=None) if isinstance(same, KeyStep) and same.role in own else same


def _another(record: FinishedBundle, what: str) -> InputError:
    return InputError(
        "SE940",
        f"the record of this board is not one of a board that this bundle began: {what}",
        cure="flash the board with the bundle that began it, from its backup; if the bundle was not made again since, "
        "somebody has changed the record: take it from a backup of the journal, and ask who can write there. For a "
        "board whose keys were not burned, delete the record",
        place=str(record.folder),
    )
