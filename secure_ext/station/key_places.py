# SPDX-License-Identifier: Apache-2.0
"""Where the keys of a plan go on the board in hand, if the plan leaves that to the station.

A plan made for new boards names a block for each key. On a board that has a key of somebody else's in one of them,
flash encryption keys and digests, which the chip finds by their purposes, go into blocks that are free.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Optional

from secure_ext.station.block_solver import solve
from secure_ext.station.chip_state import ChipState
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.plan_document import CarriedBlock, KeyPlace, KeyStep, PlanDocument, PlanStep


def place_keys(plan: PlanDocument, state: ChipState) -> PlanDocument:
    """The plan for a board whose eFuses were read: itself, where it fits, or where nothing else does."""
    found = solve([tuple(_places_on(step, plan, state)) for step in _movable(plan)]) if plan.places else None
    return _placed(plan, found)


def place_keys_as_shown(plan: PlanDocument, purposes: Mapping[str, str]) -> PlanDocument:
    """The plan for a sealed board, which shows the purpose of each key block, by its field, and no more."""
    found = solve([tuple(_places_shown(step, plan, purposes)) for step in _movable(plan)]) if plan.places else None
    return _placed(plan, found)


def moved_keys(before: PlanDocument, after: PlanDocument) -> Iterator[str]:
    """In words, each key that is placed otherwise than planned."""
    for planned, placed in zip(before.keys, after.keys):
        if planned.block != placed.block:
            yield f"{planned.role} in {placed.block}, for {planned.block} holds something else"


def is_movable(role: str) -> bool:
    """Whether the chip finds a key by its purpose, wherever it is; firmware knows the others by number."""
    return role.startswith(("flash_encryption", "secure_boot_digest"))


def _movable(plan: PlanDocument) -> list[KeyStep]:
    return [step for step in plan.keys if is_movable(step.role)]


def _allowed(step: KeyStep, plan: PlanDocument) -> list[KeyPlace]:
    """The blocks that a key may be in: its own first."""
    taken = {other.block for other in plan.keys if not is_movable(other.role)}
    is_for_xts = step.role.startswith("flash_encryption")
    places = [place for place in plan.places or () if place.block not in taken]
    return sorted(
        (place for place in places if place.holds_flash_key or not is_for_xts),
        key=lambda place: place.block != step.block,
    )


def _places_on(step: KeyStep, plan: PlanDocument, state: ChipState) -> Iterator[KeyPlace]:
    """Where it is already; else where it can go."""
    allowed = _allowed(step, plan)
    there = [place for place in allowed if _has_key(place, step, state)]
    yield from there or [place for place in allowed if _is_free(place, state)]


def _places_shown(step: KeyStep, plan: PlanDocument, purposes: Mapping[str, str]) -> Iterator[KeyPlace]:
    allowed = _allowed(step, plan)
    yield from [place for place in allowed if purposes.get(place.purpose_field) == step.purpose] or allowed[:1]


def _has_key(place: KeyPlace, step: KeyStep, state: ChipState) -> bool:
    """By its purpose, which no other key of the board may have; or by its content, if the purpose is not there yet."""
    content = state.blocks[place.block_number]
    key = content[::-1] if step.reversed else content
    is_key = any(content) and fingerprint(key[: step.length]) == step.fingerprint
    return state.texts.get(place.purpose_field) == step.purpose or is_key


def _is_free(place: KeyPlace, state: ChipState) -> bool:
    locked = any(state.has_bit("WR_DIS", bit) for bit in place.wr_dis_bits)
    hidden = any(state.has_bit("RD_DIS", bit) for bit in place.rd_dis_bits)
    has_purpose = state.texts.get(place.purpose_field) != "USER"
    return not (locked or hidden or has_purpose or any(state.blocks[place.block_number]))


def _placed(plan: PlanDocument, found: Optional[tuple[KeyPlace, ...]]) -> PlanDocument:
    if plan.places is None:
        return plan
    places = dict(zip((step.id for step in _movable(plan)), found or ()))
    steps = tuple(_moved(step, places.get(step.id)) for step in plan.steps)
    used = {step.block for step in steps if isinstance(step, KeyStep)}
    left = (
        CarriedBlock(place.block, place.block_number, place.wr_dis_bits, place.rd_dis_bits)
        for place in plan.places
        if place.block not in used
    )
    return replace(plan, steps=steps, carried=(*(plan.carried or ()), *left))


def _moved(step: PlanStep, place: Optional[KeyPlace]) -> PlanStep:
    """A digest stays readable, and another key is hidden, in whichever block it is."""
    if place is None or not isinstance(step, KeyStep) or place.block == step.block:
        return step
    return replace(
        step,
        title=step.title.replace(step.block, place.block),
        block=place.block,
        block_number=place.block_number,
        burn_name=place.block,
        purpose_field=place.purpose_field,
        wr_dis_bits=place.wr_dis_bits,
        rd_dis_bits=place.rd_dis_bits if step.rd_dis_bits else (),
        readable_bits=place.rd_dis_bits if step.readable_bits else (),
    )
