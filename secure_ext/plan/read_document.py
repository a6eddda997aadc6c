# SPDX-License-Identifier: Apache-2.0
"""The plan back from its document: the one reader of ``plan.json``."""

from __future__ import annotations

from pathlib import Path

from secure_ext.chips.chip import Chip, KeyBlock
from secure_ext.chips.user_block import user_block
from secure_ext.errors import InputError
from secure_ext.plan.steps import (
    Action,
    BlockPart,
    BurnData,
    BurnField,
    BurnKey,
    EraseFlash,
    KeepFlash,
    KeyRole,
    Plan,
    Stage,
    Step,
    WriteImages,
    WriteProtect,
)
from secure_ext.policy.signing_entry import Signs
from secure_ext.reading import DOCUMENT_LIMIT, parse_json, read_file
from secure_ext.station.plan_document import (
    DataStep,
    EraseStep,
    FieldStep,
    KeepStep,
    KeyStep,
    PlanDocument,
    PlanStep,
    WriteStep,
)
from secure_ext.station.typed_document import read_document


def read_plan(path: Path) -> PlanDocument:
    """The plan in the file ``plan.json`` at `path`.

    Raises InputError SE875, with the place in the document, if there is none or it is damaged.
    """
    try:
        return parse_plan(read_file(path, DOCUMENT_LIMIT))
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = str(error)
    raise not_a_plan(str(path), why)


def parse_plan(content: bytes) -> PlanDocument:
    """The plan in the content of ``plan.json``.

    Raises DocumentFault, with the place in the document, if it is damaged; ValueError if it is not a JSON document.
    """
    return read_document(PlanDocument, parse_json(content, fractions=False, lines=False))


def not_a_plan(place: str, why: str) -> InputError:
    """What is wrong with a plan, whoever reads it."""
    return InputError(
        "SE875",
        f"this is not a plan of a bundle, or it is damaged: {why}",
        cure="give plan.json of the bundle that `secure-provision bundle` wrote; if it is that, copy the bundle again",
        place=place,
    )


def plan_of(document: PlanDocument, chip: Chip) -> Plan:
    """The plan in a document; of an earlier version, too. Raises ValueError as `step_of` does."""
    return Plan(
        chip=document.chip,
        min_revision=document.min_revision,
        max_revision=document.max_revision,
        steps=tuple(step_of(step, chip) for step in document.steps),
        must_be_clear=document.must_be_clear,
        requirements=document.requirements,
        carried=document.carried,
        places=document.places,
    )


def step_of(step: PlanStep, chip: Chip) -> Step:
    """One step of a document. Raises ValueError or a ToolError if it is not one for this chip."""
    return Step(step.id, Stage(step.stage), _action(step, chip), step.title, step.why, step.source, step.min_revision)


def _action(step: PlanStep, chip: Chip) -> Action:
    if isinstance(step, KeepStep):
        return KeepFlash(step.label, step.offset, step.size, step.encrypt)
    if isinstance(step, EraseStep):
        return EraseFlash(step.offset, step.size)
    if isinstance(step, WriteStep):
        return WriteImages()
    if isinstance(step, KeyStep):
        role = KeyRole(step.role)
        signs = None if role.is_secret or step.signs is None else Signs(step.signs)
        return BurnKey(role, _block(step.block, chip), step.purpose, BlockPart(step.part), signs)
    if isinstance(step, DataStep):
        return BurnData(user_block(chip), step.content, bytes.fromhex(step.mask), step.holds, step.mac_list)
    field = chip.efuses.require(step.field).name
    if isinstance(step, FieldStep):
        return BurnField(field, step.value)
    return WriteProtect(field, step.wr_dis_bit)


def _block(name: str, chip: Chip) -> KeyBlock:
    for block in chip.key_blocks:
        if block.name == name:
            return block
    raise ValueError(f"there is no {name}")
