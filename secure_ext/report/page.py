# SPDX-License-Identifier: Apache-2.0
"""Puts the page together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from secure_ext.documents.manifest import Manifest, RecordedFinding
from secure_ext.documents.rehearsal import RehearsalOutcome
from secure_ext.plan.effects import Effects, effects_of
from secure_ext.plan.flash_map import flash_map, partition_areas, placed_images
from secure_ext.plan.key_block_map import key_block_map
from secure_ext.report.board_needs import board_needs_section
from secure_ext.report.element import Element, el, markup, revisions
from secure_ext.report.evidence import findings_section, hashes_section, rehearsal_section, time
from secure_ext.report.flash_map import flash_map_section
from secure_ext.report.glossary import glossary_section
from secure_ext.report.key_blocks import key_blocks_section
from secure_ext.report.open_doors import open_doors
from secure_ext.report.readable import readable_sections
from secure_ext.report.steps import steps_section
from secure_ext.report.style import STYLE
from secure_ext.report.summary import summary_section
from secure_ext.station.plan_document import PlanDocument

REPORT = "report.html"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_report(manifest: Manifest, plan: PlanDocument, rehearsal: RehearsalOutcome | None) -> str:
    """The page as HTML; `rehearsal` is what ``rehearsal.json`` holds, None before a rehearsal.

    Of the manifest everything but ``files`` is used, which names the page itself.
    """
    effects = effects_of(plan)
    images = placed_images(manifest.images)
    flash = flash_map(manifest.flash_size, partition_areas(manifest.partitions), images, plan.kept)
    project = manifest.project or "project without a name"
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{project}: provisioning report"),
        el("style", STYLE),
    )
    sections = (
        summary_section(manifest, plan, effects),
        board_needs_section(plan),
        flash_map_section(flash, manifest.boot),
        key_blocks_section(key_block_map(manifest.key_blocks, plan), are_placed_at_station=bool(plan.places)),
        steps_section(plan),
        findings_section(manifest.findings),
        rehearsal_section(rehearsal),
        *readable_sections(manifest, plan),
        hashes_section(manifest),
        glossary_section(),
    )
    body = el(
        "body",
        el("a", "Skip to the summary", href="#summary", class_="skip"),
        _header(manifest, plan, rehearsal, effects, project),
        _contents(sections),
        el("main", sections),
    )
    return "<!DOCTYPE html>\n" + markup(el("html", head, body, lang="en")) + "\n"


def _contents(sections: tuple[Element, ...]) -> Element:
    """The way to every section, by its heading."""
    links = [
        el("li", el("a", heading.children, href=f"#{heading.attributes['id']}"))
        for part in sections
        for heading in part.children
        if isinstance(heading, Element) and heading.tag == "h2"
    ]
    return el("nav", el("ul", links), aria_label="Contents")


def _header(
    manifest: Manifest,
    plan: PlanDocument,
    rehearsal: RehearsalOutcome | None,
    effects: Effects,
    project: str,
) -> Element:
    made = f"Made {time(manifest.created)} by {manifest.tool}"
    built = f", from a build with ESP-IDF {manifest.idf_version}" if manifest.idf_version else ""
    doors = open_doors(effects)
    return el(
        "header",
        el("p", "Provisioning report", class_="kind"),
        el("h1", el("bdi", project)),
        el(
            "p",
            f"For boards with the chip {manifest.chip}, revision {revisions(plan)}. {made}{built}.",
        ),
        el("p", _state(rehearsal), " ", _trouble(manifest.findings)),
        el(
            "div",
            el("p", el("strong", "Stays open on the finished board")),
            el("ul", [el("li", door) for door in doors]),
            class_="doors",
        )
        if doors
        else None,
    )


def _state(rehearsal: RehearsalOutcome | None) -> Element:
    if rehearsal is None:
        return el("span", "not rehearsed yet", class_="badge final")
    passed = rehearsal.passed
    return el(
        "span", "rehearsal passed" if passed else "rehearsal FAILED", class_=f"badge {'safe' if passed else 'final'}"
    )


def _trouble(findings: Sequence[RecordedFinding]) -> Element:
    counts = Counter(finding.severity for finding in findings)
    serious = [_count(counts[severity], severity) for severity in ("error", "warning") if counts[severity]]
    notes = [_count(counts["info"], "note")] if counts["info"] else []
    listed = ", ".join([*(serious or ["no fault"]), *notes])
    return el("span", f"the doctor found {listed}", class_=f"badge {'note' if serious else 'safe'}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
