"""What can be read in the folder by whoever gets its files, with its keys and without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from secure_ext.bundle.readable import READABLE, Holds
from secure_ext.bundle.report_page.element import Element, code, el, section, table
from secure_ext.plan.effects import effects_of

_KNOWN = {kind.value: kind for kind in Holds}


def readable_sections(manifest: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[Element]:
    """The part of the page; none for manifests of earlier versions, which do not say it."""
    rows = manifest.get(READABLE)
    if rows:
        yield section(
            "readable",
            "Who can read what",
            el(
                "p",
                "Whoever has these files, as an archive or as a copy of the folder, can read what is marked so, even "
                "without the keys.",
            ),
            table("Files without the keys", ("File", "Readable", "It holds"), map(_row, rows), class_="hashes"),
            el("ul", [el("li", line) for line in _further(manifest, plan)]),
        )


def _row(row: Mapping[str, str]) -> tuple[Element, Element, str]:
    """A word that is not known counts as readable."""
    kind = _KNOWN.get(row["holds"])
    if kind is None or not kind.is_closed:
        look = "note" if kind is not None and not kind.is_secret else "final"
        return code(row["file"]), el("span", "yes", class_=f"badge {look}"), kind.words if kind else row["holds"]
    return code(row["file"]), el("span", "no", class_="badge safe"), kind.words


def _further(manifest: Mapping[str, Any], plan: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "Plan, report, scripts and this list can be read, too. They hold no key and no value; but they hold the "
        "SHA-256 of each file, with which a guess at a short value that is in the clear can be tried."
    )
    if any(step["kind"] == "burn_key" and step["rd_dis_bits"] for step in plan["steps"]):
        yield "Whoever has the keys, too, can read everything. A station that burns these keys has them."
    if any(image["encrypt_per_device"] for image in manifest["images"]):
        yield "The software is encrypted only on the station, with a key for each board: until then it is in the clear."
    if any((kind := _KNOWN.get(row["holds"])) is not None and kind.is_secret for row in manifest[READABLE]):
        yield (
            "The files with secrets belong to their owner alone (mode 0600). An archive holds them only if somebody "
            "asked for that."
        )
    if effects_of(plan).flash_encryption == "development":
        yield (
            "Flash encryption is in development mode, which does not keep the software from whoever has a finished "
            "board."
        )
