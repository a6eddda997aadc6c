"""The plan back from its document, as a bundle holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secure_ext.chips.chip import Chip
from secure_ext.plan.requirements import BoardRequirements
from secure_ext.plan.steps import (
    Action,
    BlockPart,
    BurnField,
    BurnKey,
    EraseFlash,
    KeyRole,
    MustBeClear,
    Plan,
    Stage,
    Step,
    WriteImages,
    WriteProtect,
)


def plan_of(document: Mapping[str, Any], chip: Chip) -> Plan:
    """The plan in a document that keeps to ``plan.schema.json``; of an earlier version, too."""
    return Plan(
        chip=document["chip"],
        min_revision=document["min_revision"],
        max_revision=document["max_revision"],
        steps=tuple(_step(step, chip) for step in document["steps"]),
        must_be_clear=tuple(MustBeClear(item["field"], item["why"]) for item in document["must_be_clear"]),
        requirements=BoardRequirements.from_json(document.get("requirements")),
    )


def _step(step: Mapping[str, Any], chip: Chip) -> Step:
    return Step(
        step["id"],
        Stage(step["stage"]),
        _action(step, chip),
        step["title"],
        step["why"],
        step["source"],
        step["min_revision"],
    )


def _action(step: Mapping[str, Any], chip: Chip) -> Action:
    kind = step["kind"]
    if kind == "erase_flash":
        return EraseFlash(step["offset"], step["size"])
    if kind == "burn_key":
        block = next(block for block in chip.key_blocks if block.name == step["block"])
        return BurnKey(KeyRole(step["role"]), block, step["purpose"], BlockPart(step["part"]))
    if kind == "burn_field":
        return BurnField(step["field"], step["value"])
    if kind == "write_protect":
        return WriteProtect(step["field"], step["wr_dis_bit"])
    return WriteImages()
