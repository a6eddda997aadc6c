# SPDX-License-Identifier: Apache-2.0
"""The data partitions of a build, for boards whose partition table is the fleet's."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from secure_ext.build.build import Build, Role
from secure_ext.errors import CheckError, UsageError
from secure_ext.field.cable.pieces import Piece
from secure_ext.field.cable.wish import CableWish
from secure_ext.formats.partition_table import (
    DATA_NVS,
    DATA_NVS_KEYS,
    DATA_OTA,
    DATA_TEE_OTA,
    TYPE_APP,
    TYPE_DATA,
    Partition,
    PartitionTable,
    covered_by_flash_encryption,
)
from secure_ext.plan.fleet import Fleet
from secure_ext.plan.images import PlannedImage, plan_images

_BOARDS_OWN = {
    DATA_OTA: "which app it starts",
    DATA_TEE_OTA: "which TEE it starts",
    DATA_NVS: "what it has stored itself, encrypted with keys of its own",
    DATA_NVS_KEYS: "the keys of its NVS",
}
"""By subtype, what a board keeps in a partition that no update overwrites."""


def data_pieces(build: Build, fleet: Fleet, kept: Collection[str], wish: CableWish) -> tuple[Piece, ...]:
    """What is to be written into data partitions, by address; never what the boards have `kept`.

    Raises UsageError SE970 (no image for that label), SE979 (the board's own); CheckError SE978 (the boards have
    another partition of that name, or the image is too large for it).
    """
    images = {image.partition: image for image in _images(build, fleet) if image.partition not in (None, *kept)}
    for label in wish.data:
        if label in kept:
            raise _boards_own(label, "what it came with or got for itself, and keeps")
        _refuse_unwritable(label, build.partitions, images)
    wanted = wish.data if not wish.everything else [*wish.data, *(label for label in images if label)]
    labels = sorted(dict.fromkeys(wanted), key=lambda label: images[label].offset)
    table = build.partitions if fleet.table is None else fleet.table
    return tuple(_piece(label, images[label], build.partitions, table) for label in labels)


def _images(build: Build, fleet: Fleet) -> Iterator[PlannedImage]:
    """The build's images of data that are not a board's own, as a bundle would have them."""
    files = {file.offset for file in build.files if file.role is Role.DATA}
    rows = {row.label: row for row in build.partitions.partitions}
    for image in plan_images(build, fleet.policy):
        row = rows.get(image.partition or "")
        if row is not None and image.offset in files and image.role is Role.DATA and not _is_boards_own(row):
            yield image


def _is_boards_own(row: Partition) -> bool:
    return row.type == TYPE_DATA and row.subtype in _BOARDS_OWN


def _refuse_unwritable(label: str, built: PartitionTable, images: dict[str | None, PlannedImage]) -> None:
    row = built.labelled(label)
    if row is not None and _is_boards_own(row):
        raise _boards_own(label, _BOARDS_OWN[row.subtype])
    if label not in images:
        known = ", ".join(["app", "bootloader", *(name for name in images if name)])
        hint = "the app is called `app`" if row is not None and row.type == TYPE_APP else f"there are: {known}"
        raise UsageError("SE970", f"the build has no image that is called {label!r}", cure=hint, place="--only")


def _piece(label: str, image: PlannedImage, built: PartitionTable, table: PartitionTable) -> Piece:
    ours, theirs = built.labelled(label), table.labelled(label)
    if theirs is None or ours != theirs:
        what = "no such partition" if theirs is None else "another partition of that name"
        raise CheckError(
            "SE978",
            f"the build has an image for {label}, and the boards have {what}",
            cure="build with the fleet's partition table; an update changes no table",
            place=label,
        )
    content = image.content.ljust(image.fill_to, b"\xff")
    if len(content) > theirs.size:
        raise CheckError(
            "SE978",
            f"the image for {label} has {len(content)} bytes, and the partition has {theirs.size}",
            cure="make the image smaller; an update changes no table",
            place=label,
        )
    return Piece(label, Role.DATA, theirs.offset, content, covered_by_flash_encryption(theirs))


def _boards_own(label: str, what: str) -> UsageError:
    cure = "leave it out: an update does not write it"
    return UsageError("SE979", f"{label} is the board's own: it holds {what}", cure=cure, place=label)
