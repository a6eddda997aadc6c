"""The plan back from its document, as a bundle holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secure_ext.chips.chip import Chip, KeyBlock
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
from secure_ext.policy.signing_entry import Signs


def plan_of(document: Mapping[str, Any], chip: Chip) -> Plan:
    """The plan in a document that keeps to ``plan.schema.json``; of an earlier version, too."""
    return Plan(
        chip=document["chip"],
        min_revision=document["min_revision"],
        max_revision=document["max_revision"],
        steps=tuple(step_of(step, chip) for step in document["steps"]),
        must_be_clear=tuple(MustBeClear(item["field"], item["why"]) for item in document["must_be_clear"]),
        requirements=BoardRequirements.from_json(document.get("requirements")),
    )


def step_of(members: Mapping[str, Any], chip: Chip) -> Step:
    """One step of such a document.

    Raises KeyError, TypeError, ValueError or a ToolError if it is not one for this chip.
    """
    return Step(
        str(members["id"]),
        Stage(members["stage"]),
        _action(members, chip),
        members["title"],
        members["why"],
        members["source"],
        _whole(members["min_revision"]),
    )


def _action(members: Mapping[str, Any], chip: Chip) -> Action:
    kind = members["kind"]
    if kind == "erase_flash":
        return EraseFlash(_whole(members["offset"]), None if members["size"] is None else _whole(members["size"]))
    if kind == "write_images":
        return WriteImages()
    if kind == "burn_key":
        role = KeyRole(members["role"])
        signs = None if role.is_secret or "signs" not in members else Signs(members["signs"])
        block = _block(members["block"], chip)
        return BurnKey(role, block, members["purpose"] or "", BlockPart(members["part"]), signs)
    field = chip.efuses.require(members["field"]).name
    if kind == "burn_field":
        return BurnField(field, _whole(members["value"]))
    if kind == "write_protect":
        return WriteProtect(field, _whole(members["wr_dis_bit"]))
    raise ValueError(f"its kind is {kind!r}")


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _block(name: str, chip: Chip) -> KeyBlock:
    for block in chip.key_blocks:
        if block.name == name:
            return block
    raise ValueError(f"there is no {name}")
