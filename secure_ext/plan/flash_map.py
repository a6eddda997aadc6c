# SPDX-License-Identifier: Apache-2.0
"""What lies where in flash: every partition with the images in it, and what nothing uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from secure_ext.documents.manifest import ManifestImage, PartitionRow
from secure_ext.station.flash_sectors import whole_sectors
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import KeepStep

_TITLES = {"bootloader": "bootloader", "partition_table": "partition table"}


@frozen
class PlacedImage:
    """An image at its place; `offset` and `size` in bytes of flash."""

    name: str
    role: str
    offset: int
    size: int
    signed: bool
    encrypted: bool

    @property
    def end(self) -> int:
        """The first flash address behind it."""
        return self.offset + self.size

    @property
    def treatment(self) -> str:
        """How it is protected, in words."""
        return " + ".join(
            word for word, is_so in (("signed", self.signed), ("encrypted", self.encrypted)) if is_so
        ) or ("plain")


@frozen
class Area:
    """A part of the flash that belongs together.

    Attributes:
        label: the partition's label, or what it is; empty where nothing is.
        kind: type and subtype of the partition, or why there is none.
        offset: flash address in bytes.
        size: length in bytes.
        encrypted: whether the chip decrypts what it reads from there.
        images: what the bundle writes there.
        kept: boards come with what is there, and keep it.
    """

    label: str
    kind: str
    offset: int
    size: int
    encrypted: bool
    images: tuple[PlacedImage, ...] = ()
    kept: bool = False

    @property
    def end(self) -> int:
        """The first flash address behind it."""
        return self.offset + self.size

    @property
    def is_unused(self) -> bool:
        """Whether no partition and no image is there."""
        return not self.label

    @property
    def written(self) -> int:
        """How many bytes the bundle writes."""
        return sum(image.size for image in self.images)

    @property
    def overhang(self) -> int:
        """How many bytes of its images reach over its end."""
        return max([0, *(image.end - self.end for image in self.images)])

    @property
    def treatment(self) -> str:
        """What is there and how it is protected, in words."""
        if self.is_unused:
            return "unused"
        if self.kept:
            return "kept, and encrypted" if self.encrypted else "kept as it is"
        if not self.images:
            return "empty, encrypted when used" if self.encrypted else "empty, not encrypted"
        return ", ".join(dict.fromkeys(image.treatment for image in self.images))


@frozen
class FlashMap:
    """The whole flash: `size` in bytes, and its areas by address, without holes."""

    size: int
    areas: tuple[Area, ...]

    @property
    def used(self) -> tuple[Area, ...]:
        """The areas that are not unused."""
        return tuple(area for area in self.areas if not area.is_unused)


def flash_map(
    flash_size: int | None, partitions: Iterable[Area], images: Sequence[PlacedImage], kept: Iterable[KeepStep] = ()
) -> FlashMap:
    """The map of a flash of `flash_size` bytes (None if unknown), with `partitions` that hold no images yet.

    The bootloader's room ends where the partition table begins; the table has one sector of 4 KB.
    """
    rooms = [_filled(area, images) for area in partitions]
    placed = {image.offset for room in rooms for image in room.images}
    loose = [image for image in images if image.offset not in placed]
    starts = sorted({room.offset for room in rooms} | {image.offset for image in loose})
    rooms += [_loose_area(image, starts) for image in loose]
    rooms = list(_with_kept(rooms, kept))
    rooms.sort(key=lambda room: (room.offset, room.end))
    size = max([flash_size or 0, *(room.end for room in rooms)])
    return FlashMap(size, tuple(_without_holes(rooms, size)))


def _filled(area: Area, images: Iterable[PlacedImage]) -> Area:
    return replace(area, images=tuple(image for image in images if area.offset <= image.offset < area.end))


def _with_kept(rooms: Sequence[Area], kept: Iterable[KeepStep]) -> Iterator[Area]:
    """A part that is kept is a partition, lies in one, or in none."""
    parts = list(kept)
    for room in rooms:
        yield replace(room, kept=any(part.offset < room.end and room.offset < part.end for part in parts))
    for part in parts:
        if not any(part.offset < room.end and room.offset < part.end for room in rooms):
            yield Area(part.label, "no partition", part.offset, part.size, part.encrypt, kept=True)


def _loose_area(image: PlacedImage, starts: Sequence[int]) -> Area:
    following = next((start for start in starts if start > image.offset), None)
    size = whole_sectors(image.size)
    if image.role == "bootloader" and following is not None:
        size = following - image.offset
    label = _TITLES.get(image.role, image.name)
    return Area(label, "no partition", image.offset, size, image.encrypted, (image,))


def _without_holes(rooms: Iterable[Area], size: int) -> Iterator[Area]:
    position = 0
    for room in rooms:
        if room.offset > position:
            yield Area("", "unused", position, room.offset - position, False)
        yield room
        position = max(position, room.end)
    if position < size:
        yield Area("", "unused", position, size - position, False)


def partition_areas(rows: Iterable[PartitionRow]) -> Iterator[Area]:
    """The partitions for a flash map."""
    for row in rows:
        yield Area(row.label or "(no name)", f"{row.type}, {row.subtype}", row.offset, row.size, row.encrypted)


def placed_images(images: Iterable[ManifestImage]) -> list[PlacedImage]:
    """The images for a flash map."""
    return [
        PlacedImage(i.name, i.role, i.offset, i.size, i.signed, i.encrypted or i.encrypt_per_device) for i in images
    ]


def size_text(size: int) -> str:
    """A number of bytes for people: exact, in MiB or KiB where that has at most one decimal."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size * 10 % unit == 0:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"
