# SPDX-License-Identifier: Apache-2.0
"""What was found and proved: the doctor's findings, the rehearsal, hashes, fingerprints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secure_ext.documents.manifest import Manifest, ManifestImage, RecordedFinding
from secure_ext.documents.rehearsal import CheckedBy, PowerCutReport, RehearsalOutcome
from secure_ext.plan.key_block_map import ROLE_TITLES
from secure_ext.report.element import Element, code, command, el, section, sentence, table

_SEVERITIES = {"error": "error", "warning": "warning", "info": "note"}


def findings_section(findings: Sequence[RecordedFinding]) -> Element:
    """The part of the page with what the doctor found."""
    if not findings:
        return section("findings", "What the doctor found", el("p", "Nothing."))
    return section(
        "findings",
        "What the doctor found",
        el("p", "Before a bundle is made, project and settings are examined for what would ruin, weaken or surprise."),
        el("ul", [el("li", _finding(finding), class_="finding") for finding in findings], class_="findings"),
    )


def _finding(finding: RecordedFinding) -> Iterator[Element]:
    severity = finding.severity
    accepted = el("span", "accepted in the profile", class_="badge safe") if finding.accepted else None
    yield el(
        "p",
        el("span", _SEVERITIES[severity], class_=f"badge {'note' if severity == 'info' else 'final'}"),
        " ",
        accepted,
        " ",
        code(finding.code),
        " ",
        el("strong", finding.place),
    )
    yield el("p", sentence(finding.cause))
    yield el("p", "What to do: ", sentence(finding.cure), class_="source")


def rehearsal_section(rehearsal: RehearsalOutcome | None) -> Element:
    """The part of the page with the outcome of the rehearsal; None if there was none."""
    if rehearsal is None:
        return section(
            "rehearsal",
            "Rehearsal",
            el(
                "p",
                el("span", "not rehearsed yet", class_="badge final"),
                " Run ",
                command("secure-provision rehearse"),
                " before the first board: it runs this bundle's own program on a virtual chip. No board is needed.",
            ),
        )
    return section(
        "rehearsal",
        "Rehearsal",
        el(
            "p",
            _verdict(rehearsal.passed),
            " This bundle's own program was run on a virtual chip"
            f" ({time(rehearsal.date)}) with esptool {rehearsal.esptool}. No board was touched.",
        ),
        el("ul", [el("li", _means(item), class_="finding") for item in rehearsal.means], class_="findings"),
        _boot_log(rehearsal.boot_log),
        _power_cuts(rehearsal.power_cuts),
    )


def _verdict(passed: bool) -> Element:
    return el("span", "passed" if passed else "FAILED", class_=f"badge {'safe' if passed else 'final'}")


def _means(item: CheckedBy) -> Iterator[Element]:
    yield el("p", _verdict(item.passed), " ", sentence(item.name))
    yield from (el("p", line, class_="source") for line in item.evidence)


def _boot_log(lines: Sequence[str]) -> Iterator[Element]:
    if lines:
        yield el("h3", "What the chip would say at its first start")
        yield el("ol", [el("li", line) for line in lines], class_="log")


def _power_cuts(report: PowerCutReport | None) -> Iterator[Element]:
    if report:
        yield el("h3", "Power cuts")
        yield el(
            "p",
            f"The power was cut at {report.tried} moments, and the program run again: {report.recovered} "
            "times the chip "
            f"became as if nothing had happened; {report.damaged} times the cut itself destroyed a key block, "
            "and the "
            f"program refused to go on; {report.failed} times something was wrong.",
        )


def time(stamp: str) -> str:
    """A time of the manifest for people."""
    return stamp.replace("T", " ").replace("Z", " UTC")


def _source(image: ManifestImage) -> Element | str:
    digest = image.source_sha256
    return code(digest) if digest else "not recorded: it would help to guess the values"


def hashes_section(manifest: Manifest) -> Element:
    """The part of the page with hashes and fingerprints."""
    images = (
        (image.name, code(image.file), code(image.sha256), code(image.source), _source(image))
        for image in manifest.images
    )
    keys = (
        (
            ROLE_TITLES[key.role],
            code(key.block),
            code(key.purpose or "fixed by the chip"),
            code(key.fingerprint) if key.fingerprint else "each board has its own",
        )
        for key in manifest.keys
    )
    return section(
        "hashes",
        "Hashes and fingerprints",
        el(
            "p",
            "They tell two files or two keys apart. A fingerprint tells nothing about its key. Every image was "
            "read back as "
            f"the chip will read it before the bundle was kept: {len(manifest.checks)} checks passed.",
        ),
        table(
            "Images (SHA-256)", ("Image", "File", "Hash in flash", "Made from", "Hash of that"), images, class_="hashes"
        ),
        table("Keys", ("Key", "Block", "Purpose", "Fingerprint"), keys, class_="hashes") if manifest.keys else None,
    )
