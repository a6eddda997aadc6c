"""Rules about room: images against partitions, each other, and the flash."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from secure_ext.plan.doctor.rule import Hit, Rule, Severity, Subject
from secure_ext.project.build import Role
from secure_ext.project.image import SECTOR_SIZE


def _bootloader_under_table(subject: Subject) -> Iterator[Hit]:
    build = subject.build
    for image in subject.images:
        if image.offset == build.bootloader_offset and image.offset < build.table_offset < image.end:
            room = build.table_offset - image.offset
            signed = " with its signature" if image.sign else ""
            yield Hit(
                image.source,
                f"the bootloader{signed} has {image.final_size} bytes, but only {room} fit under the partition table "
                f"at 0x{build.table_offset:x}",
                f"set CONFIG_PARTITION_TABLE_OFFSET to 0x{_next_table_offset(image.end):x} or more in menuconfig, "
                "leave the offsets in the CSV empty, and build again",
            )


def _next_table_offset(end: int) -> int:
    return -(-end // SECTOR_SIZE) * SECTOR_SIZE


def _image_in_partition(subject: Subject) -> Iterator[Hit]:
    partitions = {partition.label: partition for partition in subject.build.partitions.partitions}
    for image in subject.images:
        partition = partitions.get(image.partition or "")
        if partition is not None and image.end > partition.end:
            signed = " with its signature" if image.sign else ""
            yield Hit(
                f"{image.source} in partition {partition.label}",
                f"the image{signed} has {image.final_size} bytes, the partition {partition.size}",
                "make the partition larger in the partition table's CSV, or the image smaller",
            )


def _images_apart(subject: Subject) -> Iterator[Hit]:
    for first, second in pairwise(subject.images):
        is_bootloader = first.offset == subject.build.bootloader_offset
        if first.end > second.offset and not (is_bootloader and second.role is Role.PARTITION_TABLE):
            yield Hit(
                f"{first.source} and {second.source}",
                f"{first.source} reaches to 0x{first.end:x}, but {second.source} starts at 0x{second.offset:x}",
                "give each image its own partition",
            )


def _images_in_flash(subject: Subject) -> Iterator[Hit]:
    size = subject.build.flash_size
    for image in subject.images:
        if size is not None and image.end > size:
            yield Hit(
                image.source,
                f"the image reaches to 0x{image.end:x}, the flash has 0x{size:x} bytes",
                "choose the right flash size in menuconfig (Serial flasher config), or a smaller layout",
            )


def _partitions_in_flash(subject: Subject) -> Iterator[Hit]:
    size = subject.build.flash_size
    for partition in subject.build.partitions.partitions:
        if size is not None and partition.end > size:
            yield Hit(
                f"partition {partition.label}",
                f"the partition reaches to 0x{partition.end:x}, the flash has 0x{size:x} bytes",
                "choose the right flash size in menuconfig (Serial flasher config), or make the partition smaller",
            )


def _partitions_apart(subject: Subject) -> Iterator[Hit]:
    build = subject.build
    own = (build.bootloader_offset, build.table_offset)
    rows = sorted((row for row in build.partitions.partitions if row.offset not in own), key=lambda row: row.offset)
    for row in rows:
        if row.offset < build.table_offset + SECTOR_SIZE and row.end > build.table_offset:
            yield Hit(
                f"partition {row.label}",
                f"the partition at 0x{row.offset:x} overlaps the partition table at 0x{build.table_offset:x}",
                "move the partition behind the table",
            )
    for first, second in pairwise(rows):
        if first.end > second.offset:
            yield Hit(
                f"partitions {first.label} and {second.label}",
                f"{first.label} reaches to 0x{first.end:x}, but {second.label} starts at 0x{second.offset:x}",
                "mend the offsets in the partition table's CSV",
            )


def _alignment(subject: Subject) -> Iterator[Hit]:
    for image in subject.images:
        if image.offset % SECTOR_SIZE:
            yield Hit(
                image.source,
                f"the image's address 0x{image.offset:x} is no multiple of a flash sector (0x{SECTOR_SIZE:x})",
                "put the image at the start of a partition",
            )


def _flash_size_known(subject: Subject) -> Iterator[Hit]:
    if subject.build.flash_size_setting == "detect":
        yield Hit(
            "flasher_args.json",
            "the flash size is set to 'detect': esptool would write the detected size into the bootloader while "
            "flashing, which a signed or encrypted bootloader cannot take",
            "choose the real flash size in menuconfig; the size in the bootloader's header stays as it was built",
        )


RULES = (
    Rule("SP001", Severity.ERROR, "signed bootloader overlaps the partition table", _bootloader_under_table, False),
    Rule("SP002", Severity.ERROR, "image is larger than its partition", _image_in_partition, False),
    Rule("SP003", Severity.ERROR, "images overlap", _images_apart, False),
    Rule("SP004", Severity.ERROR, "image reaches behind the end of the flash", _images_in_flash, False),
    Rule("SP005", Severity.ERROR, "partition reaches behind the end of the flash", _partitions_in_flash),
    Rule("SP006", Severity.ERROR, "partitions overlap", _partitions_apart, False),
    Rule("SP007", Severity.ERROR, "image does not start at a flash sector", _alignment, False),
    Rule("SP008", Severity.WARNING, "flash size is left to esptool", _flash_size_known),
)
