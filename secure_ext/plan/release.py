# SPDX-License-Identifier: Apache-2.0
"""What a release does to a chip, in a form that can be compared: read from a bundle or from a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType, NoneType
from typing import Any

from secure_ext.documents.read import read_manifest
from secure_ext.errors import InputError
from secure_ext.plan.bootloader_efuses import SECTOR, recovery_offset_of
from secure_ext.plan.effects import Effects, effects_of
from secure_ext.plan.read_document import not_a_plan, read_plan
from secure_ext.reading import read_json
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import (
    DataStep,
    EraseStep,
    FieldStep,
    KeepStep,
    KeyStep,
    PlanDocument,
    PlanStep,
    ProtectStep,
    WriteStep,
)
from secure_ext.station.typed_document import document_data, read_document

Value = int | str | bool | None | tuple[Any, ...]
Attributes = Mapping[str, Value]
IMAGE_ATTRIBUTES = ("offset", "size", "signed", "encrypted", "sha256", "source_sha256")


@frozen
class Fact:
    """Something that is burned and only ever grows: more of it is more irreversible.

    Attributes:
        title: what it is, in words.
        value: how much: the value of a field, 1 for what is simply done, how many bits protect it.
        of: the id of the step that it is a part of; it is compared only if that step is on both sides.
    """

    title: str
    value: int
    of: str | None = None


@frozen
class Release:
    """One side of a comparison.

    Attributes:
        chip: ESP-IDF's name of the chip.
        facts: what is burned, by a stable id.
        settings: everything else that matters to a chip, by what it is.
        order: the ids of the steps, in order.
        images: by name, those of IMAGE_ATTRIBUTES that are known.
        effects: what the chip will be.
    """

    chip: str
    facts: Mapping[str, Fact]
    settings: Mapping[str, Value]
    order: tuple[str, ...]
    images: Mapping[str, Attributes]
    effects: Effects


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


def _documents(path: Path) -> tuple[PlanDocument, dict[str, Attributes], Attributes]:
    """The plan and the images, which a manifest tells more about than a plan. Raises InputError SE730, SE875."""
    if path.name == "manifest.json":
        manifest = read_manifest(path.parent)
        return read_plan(path.parent / "plan.json"), _rows(document_data(manifest.images)), _boot(manifest.boot)
    printed = _printed(path)
    if printed is not None:
        return printed
    plan = read_plan(path)
    return plan, {PurePosixPath(image.file).stem: document_data(image) for image in plan.images}, {}


def _printed(path: Path) -> tuple[PlanDocument, dict[str, Attributes], Attributes] | None:
    """What ``plan --format json`` has printed, if it is that. Raises InputError SE875 if it is damaged."""
    try:
        content = read_json(path, lines=False)
    except (OSError, ValueError):
        return None
    if not (isinstance(content, dict) and "plan" in content):
        return None
    try:
        boot = _boot(content["boot"]) if "boot" in content else {}
        return read_document(PlanDocument, content["plan"], "plan"), _rows(content.get("images")), boot
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


def _boot(label: object) -> Attributes:
    """Which app a new board starts; a plan alone does not say it. Raises ValueError."""
    if not (label is None or isinstance(label, str)):
        raise ValueError("it names no partition that a new board starts")
    return {"app that a new board starts": label or "as the build has it"}


def release(plan: PlanDocument, images: Mapping[str, Attributes], more: Attributes = MappingProxyType({})) -> Release:
    """A release from a plan and the attributes of its images, by name: those of IMAGE_ATTRIBUTES that are known.

    `more` are settings that do not stand in the plan.
    """
    return Release(
        chip=plan.chip,
        facts=dict(_facts(plan)),
        settings={**dict(_settings(plan)), **more},
        order=tuple(_identity(step) for step in plan.steps),
        images={image: {name: row[name] for name in IMAGE_ATTRIBUTES if name in row} for image, row in images.items()},
        effects=effects_of(plan),
    )


def _identity(step: PlanStep) -> str:
    """The step's id; fields that share a bit of WR_DIS are protected by the same step, however it is called."""
    return f"write-protect-bit-{step.wr_dis_bit}" if isinstance(step, ProtectStep) else step.id


def _facts(plan: PlanDocument) -> Iterator[tuple[str, Fact]]:
    for step in plan.efuse_steps:
        identity = _identity(step)
        if isinstance(step, FieldStep) and step.field.startswith(SECTOR):  # where it is does not grow, and is a setting
            yield "recovery-bootloader", Fact("Tell the ROM of a recovery bootloader", 1)
            continue
        if isinstance(step, FieldStep):
            yield identity, Fact(f"Burn {step.field}", step.value)
            continue
        yield identity, Fact(step.title, 1)
        if isinstance(step, KeyStep):
            key = step.role.replace("_", " ")
            hidden = int(bool(step.rd_dis_bits))
            yield f"{identity}-read-protection", Fact(f"Read-protect the {key}", hidden, identity)
            yield f"{identity}-write-protection", Fact(f"Write-protect the {key}", len(step.wr_dis_bits), identity)


_ASKED = {
    "flash_size": "flash size",
    "flash_end": "end of the used flash",
    "min_block_revision": "least eFuse block revision",
    "max_block_revision": "greatest eFuse block revision",
    "cores": "CPU cores",
    "octal_flash": "octal flash",
    "secure_version": "secure version of the app",
    "secure_version_bits": "bits of the secure version",
    "bootloader_secure_version": "secure version of the bootloader",
}
"""What the firmware asks of a board, in words."""


def _settings(plan: PlanDocument) -> Iterator[tuple[str, Value]]:
    yield "least chip revision", plan.min_revision
    yield "greatest chip revision", plan.max_revision
    if plan.requirements is not None:
        yield from ((title, getattr(plan.requirements, name)) for name, title in _ASKED.items())
    yield "least esptool", plan.least_esptool
    yield "eFuses that must not be burned", tuple(sorted(item.field for item in plan.must_be_clear))
    for row in plan.layout:
        yield f"place of {row.field}", (row.block, row.start, row.bits)
    recovery = recovery_offset_of(plan)
    if recovery is not None:
        yield "recovery bootloader at", recovery
    if plan.carried is not None:
        yield "may hold what is not the plan's", tuple(block.block for block in plan.carried)
    yield "key blocks of which stations choose", tuple(place.block for place in plan.places or ())
    for step in plan.steps:
        if isinstance(step, EraseStep):
            yield "erased flash", (step.offset, step.size)
        elif isinstance(step, KeepStep):
            yield f"kept in flash: {step.label}", (step.offset, step.size, step.encrypt)
        elif isinstance(step, WriteStep):
            yield "images are written", True
        elif isinstance(step, DataStep):
            yield f"data in {step.block}", step.data
            yield f"what {step.block} holds", step.holds
            yield f"list of custom MAC addresses for {step.block}", step.mac_list
        elif isinstance(step, KeyStep):
            key = step.role.replace("_", " ")
            yield from (
                (f"{key}: {name}", getattr(step, name))
                for name in ("block", "part", "purpose", "length", "fingerprint")
            )
            if step.is_digest:
                yield f"{key}: signs", step.signs or "all"
        yield f"{_identity(step)}: on chips from revision", step.min_revision
