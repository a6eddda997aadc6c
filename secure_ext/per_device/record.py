"""The record of a board that an earlier run began: what is believed of it, and what is compared with the bundle.

Stations share the folder of the journal, so a record is a document that anybody there may have written. The plan of a
begun board is therefore the bundle's own; from the record come only the values that nobody has elsewhere: what its
encrypted images are, and the fingerprints of the board's own keys. All else must be as the bundle has it, and the
record's script is never run: `write_private_script` renders it anew.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from secure_ext.bundle.read import FinishedBundle
from secure_ext.bundle.script import render_script
from secure_ext.durable import write_durably
from secure_ext.errors import InputError, SecureProvisionError
from secure_ext.plan.replay import replay_plan

_WORDS = ("title", "why", "source")
"""Members of a step that people read; earlier versions wrote other words."""


def as_the_bundle_has_it(record: FinishedBundle, template: FinishedBundle) -> FinishedBundle:
    """The `record` of a board, with the plan that the bundle `template` has for that board.

    Raises InputError SE940 if it is not of a board that this bundle began.
    """
    plan = copy.deepcopy(template.plan)
    plan["images"] = _images(template, record)
    plan["steps"] = _steps(template, record)
    known = {step["role"]: step["fingerprint"] for step in plan["steps"] if step["kind"] == "burn_key"}
    manifest = copy.deepcopy(template.manifest)
    for key in manifest["keys"]:
        key["fingerprint"] = known.get(key["role"], key["fingerprint"])
    values = {image["name"]: image for image in record.manifest["images"]}
    for image in manifest["images"]:
        image |= {name: values[image["name"]][name] for name in ("size", "sha256", "encrypted", "encrypt_per_device")}
    manifest |= {"per_device": None, "files": record.manifest["files"]}
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
    text = render_script(bundle.plan, bundle.manifest["project"], bundle.folder.absolute())
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


def _images(template: FinishedBundle, record: FinishedBundle) -> list[dict[str, Any]]:
    """What is written to the board's flash: the bundle's files and offsets, with the record's sizes and hashes."""
    wanted, found = template.manifest["images"], record.manifest["images"]
    if [_place(image) for image in wanted] != [_place(image) for image in found]:
        raise _another(record, "it has other images, or other places for them")
    for image, kept in zip(wanted, found, strict=True):
        later = image["encrypt_per_device"]
        if (kept["encrypted"], kept["encrypt_per_device"]) != (image["encrypted"] or later, False):
            raise _another(record, f"{image['file']} is not encrypted as this bundle wants it")
        if not later and (kept["size"], kept["sha256"]) != (image["size"], image["sha256"]):
            raise _another(record, f"{image['file']}, which all boards have in common, is another one")
    images = [{name: image[name] for name in ("file", "offset", "size", "sha256")} for image in found]
    if record.plan["images"] != images or [_place(image) for image in template.plan["images"]] != [
        _place(image) for image in images
    ]:
        raise _another(record, "its plan and its manifest do not name the same images")
    if any(record.manifest["files"].get(image["file"]) != image["sha256"] for image in images):
        raise _another(record, "the images that lie there are not those of its plan")
    return images


def _place(image: dict[str, Any]) -> tuple[str, int]:
    return image["file"], image["offset"]


def _steps(template: FinishedBundle, record: FinishedBundle) -> list[dict[str, Any]]:
    """The bundle's steps, with the record's fingerprints for the keys that each board has for itself."""
    if (record.plan["chip"], record.manifest["project"]) != (template.plan["chip"], template.manifest["project"]):
        raise _another(record, f"it is of {record.manifest['project']}, {record.plan['chip']}")
    own: list[str] = template.manifest["per_device"]["keys"]
    steps: list[dict[str, Any]] = copy.deepcopy(template.plan["steps"])
    kept = record.plan["steps"]
    wanted, found = ([_what_is_burned(step, own) for step in each] for each in (steps, kept))
    if wanted != found:
        different = next((step["id"] for step in (*steps, *kept) if _one_sided(step, own, wanted, found)), "its order")
        raise _another(record, f"its plan burns something else: {different}")
    for step, before in zip(steps, kept, strict=True):
        if step["kind"] == "burn_key" and step["role"] in own:
            step["fingerprint"] = before["fingerprint"]
    return steps


def _one_sided(step: dict[str, Any], own: list[str], *sides: list[dict[str, Any]]) -> bool:
    return not all(_what_is_burned(step, own) in side for side in sides)


def _what_is_burned(step: dict[str, Any], own: list[str]) -> dict[str, Any]:
    left_out = {*_WORDS, *(["fingerprint"] if step.get("role") in own else [])}
    return {name: value for name, value in step.items() if name not in left_out}


def _another(record: FinishedBundle, what: str) -> InputError:
    return InputError(
        "SE940",
        f"the record of this board is not one of a board that this bundle began: {what}",
        cure="flash the board with the bundle that began it, from its backup; if the bundle was not made again since, "
        "somebody has changed the record: take it from a backup of the journal, and ask who can write there. For a "
        "board whose keys were not burned, delete the record",
        place=str(record.folder),
    )
