"""Reads a plan document from a file: ``plan.json`` of a bundle, without the rest of the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secure_ext.chips.chip import load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.errors import InputError
from secure_ext.plan.document import SCHEMA
from secure_ext.plan.requirements import BoardRequirements
from secure_ext.reading import read_json

_MOST_BITS = 512
_STEP = {"id": "text", "title": "text", "why": "text", "stage": "text", "kind": "text", "min_revision": "number"}
_KINDS: Mapping[str, Mapping[str, str]] = {
    "erase_flash": {},
    "write_images": {},
    "burn_field": {"field": "text", "value": "number"},
    "write_protect": {"field": "text", "wr_dis_bit": "bit"},
    "burn_key": {
        **dict.fromkeys(("block", "part", "purpose", "file"), "text"),
        "fingerprint": "text or none",
        **dict.fromkeys(("block_number", "length"), "bit"),
        **dict.fromkeys(("wr_dis_bits", "rd_dis_bits", "readable_bits"), "bits"),
        "reversed": "flag",
        "purpose_field": "text or none",
    },
}
_IMAGE = {"file": "text", "offset": "number", "size": "number", "sha256": "text"}
_PLACE = {"field": "text", "block": "bit", "start": "bit", "bits": "bit", "min_revision": "number"}


def read_plan(path: Path) -> dict[str, Any]:
    """The plan document. Raises InputError SE875 if it is none, or one of a bundle that was never made."""
    try:
        plan = read_json(path, lines=False)
    except OSError as error:
        raise _no_plan(path, error.strerror or str(error)) from None
    except ValueError:
        raise _no_plan(path, "it is no JSON, or is cut off") from None
    fault = _fault(plan)
    if fault:
        raise _no_plan(path, fault)
    return dict(plan)


def _no_plan(path: Path, why: str) -> InputError:
    return InputError(
        "SE875",
        f"this is not a plan of a bundle: {why}",
        cure="give plan.json of the bundle that `secure-provision bundle` wrote",
        place=str(path),
    )


def _fault(plan: Any) -> str:
    """What is wrong with a plan document as far as a board is compared with it; empty if nothing is."""
    if not isinstance(plan, dict) or plan.get("schema") != SCHEMA or plan.get("chip") not in CHIP_NAMES:
        return f"schema is not {SCHEMA}, or chip is not one that is supported"
    if not _has(plan, {"min_revision": "number", "max_revision": "number or none"}):
        return "min_revision or max_revision is not a number"
    if not _is(plan.get("least_esptool"), "bits"):
        return "least_esptool is missing"
    rows = [(plan.get("layout"), _PLACE), (plan.get("must_be_clear"), {"field": "text", "why": "text"})]
    rows.append((plan.get("images"), _IMAGE))
    for part, wanted in [*rows, (plan.get("steps"), _STEP)]:
        if not isinstance(part, list) or not all(_has(row, wanted) for row in part):
            return "layout, must_be_clear, images or steps is not as it is written"
    if not isinstance(plan.get("enabling_fields"), list) or not all(
        _is(name, "text") for name in plan["enabling_fields"]
    ):
        return "enabling_fields is not a list of fields"
    try:
        BoardRequirements.from_json(plan.get("requirements"))
    except ValueError as error:
        return str(error)
    return next(filter(None, (_step_fault(step, plan) for step in plan["steps"])), "")


def _step_fault(step: dict[str, Any], plan: dict[str, Any]) -> str:
    placed = {row["field"] for row in plan["layout"]}
    blocks = {(block.name, block.number) for block in load_chip(plan["chip"], plan["min_revision"]).key_blocks}
    name = step["id"][:40]
    if step["kind"] not in _KINDS or not _has(step, _KINDS[step["kind"]]):
        return f"the step {name!r} is not as it is written"
    if step["kind"] == "burn_key":
        if (step["block"], step["block_number"]) not in blocks:
            return f"the step {name!r} names a block that the chip does not have"
        if len(step["wr_dis_bits"]) != 1 + (step["purpose_field"] is not None):
            return f"the step {name!r} names other write protections than its block has"
    fields = {"WR_DIS", "RD_DIS", step.get("field", "WR_DIS"), step.get("purpose_field") or "WR_DIS"}
    return "" if fields <= placed else f"the step {name!r} is about a field that is not in layout"


def _has(row: Any, wanted: Mapping[str, str]) -> bool:
    return isinstance(row, dict) and all(name in row and _is(row[name], kind) for name, kind in wanted.items())


def _is(value: Any, kind: str) -> bool:
    if value is None:
        return kind.endswith("or none")
    if kind.startswith("text"):
        return isinstance(value, str)
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "bits":
        return isinstance(value, list) and all(_is(bit, "bit") for bit in value)
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return number and (kind != "bit" or value < _MOST_BITS)
