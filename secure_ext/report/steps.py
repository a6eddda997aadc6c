# SPDX-License-Identifier: Apache-2.0
"""The steps with their reasons, by stage: what can be repeated, what can never be undone, and the seal."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from secure_ext.report.element import Element, code, el, revisions, section, sentence
from secure_ext.station.plan_document import PlanDocument, PlanStep
from secure_ext.station.revision import revision_text

_STAGES = {
    "flash": ("Flash", "can be repeated", "safe"),
    "burn": ("Burn", "can never be undone", "final"),
    "seal": ("Seal", "can never be undone, comes last", "final"),
}
_GROUPS = {
    "work": "Work on the memory",
    "key": "Keys are put into the chip",
    "data": "Data of the product are put into the chip",
    "door": "Doors are closed",
    "switch": "The protection is turned on",
    "lock": "The settings are locked",
}


def steps_section(plan: PlanDocument) -> Element:
    """The part of the page with every step."""
    numbered = list(enumerate(plan.steps, 1))
    return section(
        "steps",
        "Every step, and why",
        el(
            "p",
            "The program does them in this order. Each has its reason first, then what is done, in the words that the "
            "program shows. “Wanted by” names the setting or the rule that a step comes from; “workflows” is "
            "ESP-IDF's page Security Features Enablement Workflows.",
        ),
        _before(plan),
        [_stage(stage, list(steps), plan) for stage, steps in groupby(numbered, lambda item: item[1].stage)],
    )


def _before(plan: PlanDocument) -> Element:
    return el(
        "div",
        _heading("Look", "changes nothing", "safe"),
        el("p", "The board is refused, and nothing is done to it, unless all of this is so:"),
        el(
            "ul",
            el("li", "its chip is an ", code(plan.chip), f", revision {revisions(plan)};"),
            [el("li", code(item.field), " is not burned (if it is, ", item.why, ");") for item in plan.must_be_clear],
            el("li", "no key block and no setting that this plan needs is taken or locked by something else."),
        ),
        class_="stage",
    )


def _stage(stage: str, steps: list[tuple[int, PlanStep]], plan: PlanDocument) -> Element:
    return el("div", _heading(*_STAGES[stage]), _groups(stage, steps, plan), class_="stage")


def _heading(name: str, verdict: str, look: str) -> Element:
    return el("h3", name, " ", el("span", verdict, class_=f"badge {look}"))


def _groups(stage: str, steps: list[tuple[int, PlanStep]], plan: PlanDocument) -> Iterator[Element]:
    for group, members in groupby(steps, lambda item: _group(item[1], plan)):
        if stage == "burn":
            yield el("h4", _GROUPS[group])
        listed = list(members)
        yield el("ol", [el("li", _step(step), class_="step") for _, step in listed], start=listed[0][0])


def _group(step: PlanStep, plan: PlanDocument) -> str:
    if step.kind == "burn_key":
        return "key"
    if step.kind == "burn_data":
        return "data"
    if step.kind == "write_protect":
        return "lock"
    if step.kind == "burn_field":
        return "switch" if step.field in plan.enabling_fields else "door"
    return "work"


def _step(step: PlanStep) -> Iterator[Element]:
    least = step.min_revision
    only = f" (only on chips from {revision_text(least)})" if least else ""
    yield el("p", "Why: ", el("strong", sentence(step.why)))
    yield el("p", "What: ", step.title, only)
    yield el("p", "Wanted by: ", step.source, class_="source")
