# SPDX-License-Identifier: Apache-2.0
"""What can be read in the folder by whoever gets its files, with its keys and without."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.documents.manifest import Manifest, ReadableImage
from secure_ext.documents.readable import Holds
from secure_ext.plan.effects import effects_of
from secure_ext.report.element import Element, code, el, section, table
from secure_ext.station.plan_document import PlanDocument


def readable_sections(manifest: Manifest, plan: PlanDocument) -> Iterator[Element]:
    """The part of the page; none for manifests of earlier versions, which do not say it."""
    rows = manifest.readable
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


def _row(row: ReadableImage) -> tuple[Element, Element, str]:
    kind = Holds(row.holds)
    if kind.is_closed:
        return code(row.file), el("span", "no", class_="badge safe"), kind.words
    return code(row.file), el("span", "yes", class_=f"badge {'final' if kind.is_secret else 'note'}"), kind.words


def _further(manifest: Manifest, plan: PlanDocument) -> Iterator[str]:
    yield (
        "Plan, report, scripts and this list can be read, too. They hold no key and no value; but they hold the "
        "SHA-256 of each file, with which a guess at a short value that is in the clear can be tried."
    )
    if any(key.rd_dis_bits for key in plan.keys):
        yield "Whoever has the keys, too, can read everything. A station that burns these keys has them."
    if any(image.encrypt_per_device for image in manifest.images):
        yield "The software is encrypted only on the station, with a key for each board: until then it is in the clear."
    if any(Holds(row.holds).is_secret for row in manifest.readable or ()):
        yield (
            "The files with secrets belong to their owner alone (mode 0600). An archive holds them only if somebody "
            "asked for that."
        )
    if effects_of(plan).flash_encryption == "development":
        yield (
            "Flash encryption is in development mode, which does not keep the software from whoever has a finished "
            "board."
        )
