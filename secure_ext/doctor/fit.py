# SPDX-License-Identifier: Apache-2.0
"""Rules about room: images against partitions, each other, and the flash."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from secure_ext.build.build import Role
from secure_ext.build.flash_size import MEGABYTE
from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject
from secure_ext.station.flash_sectors import SECTOR_SIZE, whole_sectors

_ROM_BUFFER = 0x10000
_ROM_BUFFER_OF_ESP32 = 0xC000
_GROWTH_BY_FEATURES = 0x3000
"""More than secure boot and flash encryption add to a bootloader, in bytes."""
_USUAL_TABLE_OFFSET = 0xC000
"""Where ESP-IDF's own examples with secure boot have their table."""


def _bootloader_under_table(subject: Subject) -> Iterator[Match]:
    build = subject.build
    for image in subject.images:
        if image.offset == build.bootloader_offset and image.offset < build.table_offset < image.end:
            room = build.table_offset - image.offset
            signed = " with its signature" if image.sign else ""
            yield Match(
                image.source,
                f"the bootloader{signed} has {image.final_size} bytes, but only {room} fit under the partition table "
                f"at 0x{build.table_offset:x}",
                f"set CONFIG_PARTITION_TABLE_OFFSET=0x{_table_offset_for(subject, image.end):x} or more (menuconfig, "
                "Partition Table), leave the offsets in the CSV empty, and build again",
            )


def _table_offset_for(subject: Subject, end: int) -> int:
    """Behind the bootloader as it will be: one that is yet to be built with a feature (SP020, SP021) grows by it."""
    policy, config = subject.policy, subject.build.config
    grows = (policy.flash_encryption.enabled and not config.enabled("SECURE_FLASH_ENC_ENABLED")) or (
        policy.secure_boot.enabled and not config.enabled("SECURE_BOOT_V2_ENABLED")
    )
    return max(whole_sectors(end + _GROWTH_BY_FEATURES), _USUAL_TABLE_OFFSET) if grows else whole_sectors(end)


def _image_in_partition(subject: Subject) -> Iterator[Match]:
    partitions = {partition.label: partition for partition in subject.table.partitions}
    for image in subject.images:
        partition = partitions.get(image.partition or "")
        if partition is not None and image.end > partition.end:
            signed = " with its signature" if image.sign else ""
            yield Match(
                f"{image.source} in partition {partition.label}",
                f"the image{signed} has {image.final_size} bytes, the partition {partition.size}",
                f"give {partition.label} the size 0x{whole_sectors(image.final_size):x} or more in the CSV, or "
                "make the image smaller",
            )


def _images_apart(subject: Subject) -> Iterator[Match]:
    for first, second in pairwise(subject.images):
        is_bootloader = first.offset == subject.build.bootloader_offset
        if first.end > second.offset and not (is_bootloader and second.role is Role.PARTITION_TABLE):
            yield Match(
                f"{first.source} and {second.source}",
                f"{first.source} reaches to 0x{first.end:x}, but {second.source} starts at 0x{second.offset:x}",
            )


def _flash_of(subject: Subject) -> str:
    """How much flash the bootloader believes in, and why it is less than its header says."""
    flash = subject.build.bootloader_flash
    if flash is None or flash.header == flash.least:
        return f"the flash has 0x{subject.build.flash_size:x} bytes"
    built = flash.idf_version or "an unknown ESP-IDF"
    header = "no known size" if flash.header is None else f"{flash.header // MEGABYTE} MB"
    return f"but the bootloader of {built} does not know the flash size in its header ({header}) and takes it for 2 MB"


def _images_in_flash(subject: Subject) -> Iterator[Match]:
    size = subject.build.flash_size
    for image in subject.images:
        if size is not None and image.end > size:
            yield Match(
                image.source,
                f"the image reaches to 0x{image.end:x}, {_flash_of(subject)}",
            )


def _partitions_in_flash(subject: Subject) -> Iterator[Match]:
    size = subject.build.flash_size
    for partition in subject.build.partitions.partitions:
        if size is not None and partition.end > size:
            yield Match(
                f"partition {partition.label}",
                f"the partition reaches to 0x{partition.end:x}, {_flash_of(subject)}",
            )


def _may_fit(subject: Subject) -> bool:
    """Whether the bootloader may believe in more flash than is sure, because its ESP-IDF is not known."""
    flash = subject.build.bootloader_flash
    return flash is not None and all(row.end <= flash.most for row in subject.build.partitions.partitions)


def _partitions_apart(subject: Subject) -> Iterator[Match]:
    build = subject.build
    own = (build.bootloader_offset, build.table_offset)
    rows = sorted((row for row in build.partitions.partitions if row.offset not in own), key=lambda row: row.offset)
    for row in rows:
        if row.offset < build.table_offset + SECTOR_SIZE and row.end > build.table_offset:
            yield Match(
                f"partition {row.label}",
                f"the partition at 0x{row.offset:x} overlaps the partition table at 0x{build.table_offset:x}",
                f"move it to 0x{build.table_offset + SECTOR_SIZE:x} or behind, or leave its offset in the CSV empty",
            )
    for first, second in pairwise(rows):
        if first.end > second.offset:
            yield Match(
                f"partitions {first.label} and {second.label}",
                f"{first.label} reaches to 0x{first.end:x}, but {second.label} starts at 0x{second.offset:x}",
            )


def _alignment(subject: Subject) -> Iterator[Match]:
    for image in subject.images:
        if image.offset % SECTOR_SIZE:
            yield Match(
                image.source,
                f"the image's address 0x{image.offset:x} is not a multiple of a flash sector (0x{SECTOR_SIZE:x})",
            )


def _flash_size_known(subject: Subject) -> Iterator[Match]:
    if subject.build.flash_size_setting == "detect":
        yield Match(
            "flasher_args.json",
            "the flash size is set to 'detect': esptool would write the detected size into the bootloader while "
            "flashing, which a signed or encrypted bootloader cannot take",
        )


def _bootloader_fits_rom(subject: Subject) -> Iterator[Match]:
    limit = subject.chip.facts.rom_bootloader_limit
    for image in subject.images:
        if image.offset != subject.build.bootloader_offset or image.header is None or not image.sign:
            continue
        size = whole_sectors(image.header.image_length)
        if size > limit:
            yield Match(
                image.source,
                f"the bootloader has {size} bytes without its signature, but the ROM verifies at most {limit}",
            )


RULES = (
    Rule(
        "SP001",
        Severity.ERROR,
        "signed bootloader overlaps the partition table",
        _bootloader_under_table,
        explanation="For secure boot a bootloader is padded to 4 KB and gets a sector of 4 KB with its signature. "
        "What just fitted under the partition table at 0x8000 then reaches into it, and whichever is written last "
        "destroys the other: the board does not boot. ESP-IDF checks the size of the bootloader before it is signed, "
        "so that the build does not notice. On chips whose bootloader starts at 0x2000 there is the least room.",
        source="ESP-IDF issues 7428 and 19102; manual, Secure Boot V2, bootloader size",
        cure="set CONFIG_PARTITION_TABLE_OFFSET=0xc000 or more (menuconfig, Partition Table), leave the offsets in "
        "the CSV empty, and build again",
        acceptable=False,
        why="the ROM finds a damaged bootloader, or the bootloader a damaged table",
        needs_images=True,
    ),
    Rule(
        "SP002",
        Severity.ERROR,
        "image is larger than its partition",
        _image_in_partition,
        explanation="An image must end inside its partition, with its padding and its signature sector. A signed app "
        "grows to the next 64 KB page and by 4 KB; an encrypted file system is filled to the end of its partition. "
        "What is longer overwrites the next partition, and the bootloader refuses an app that is larger than its "
        "slot.",
        source="ESP-IDF components/bootloader_support/src/esp_image_format.c (image length against partition size); "
        "components/partition_table/check_sizes.py",
        cure="make the partition larger in the CSV, or the image smaller, and build again",
        acceptable=False,
        why="the next partition is overwritten, and the bootloader refuses an app that is larger than its slot",
        concerns=Concern.BOTH,
        stops_update="SE759",
        needs_images=True,
    ),
    Rule(
        "SP003",
        Severity.ERROR,
        "images overlap",
        _images_apart,
        explanation="Two images would be written to the same place in flash. The one that is written last wins, the "
        "other is damaged, and with flash encryption it decrypts to noise. This comes from files that a build adds "
        "at an address of their own, or from a data image that is longer than its partition.",
        source="esptool, write-flash: it refuses files that overlap",
        cure="give each image a partition of its own in the CSV and let the build place it there",
        acceptable=False,
        why="one of the images is destroyed while the other is written",
        needs_images=True,
    ),
    Rule(
        "SP004",
        Severity.ERROR,
        "image reaches behind the end of the flash",
        _images_in_flash,
        explanation="The image ends behind the flash that the project is configured for. Flash chips wrap around at "
        "their end, so that such a write lands at the start of the flash, on the bootloader.",
        source="ESP-IDF components/esptool_py/Kconfig.projbuild (ESPTOOLPY_FLASHSIZE); esptool, write-flash: it "
        "refuses files that do not fit",
        cure="set CONFIG_ESPTOOLPY_FLASHSIZE to the size of the real flash (menuconfig, Serial flasher config), or "
        "choose a smaller layout in the CSV",
        acceptable=False,
        why="the write lands at the start of the flash, on the bootloader",
        needs_images=True,
    ),
    Rule(
        "SP005",
        Severity.ERROR,
        "partition reaches behind the end of the flash",
        _partitions_in_flash,
        explanation="The partition ends behind the flash that the bootloader believes in: the size in its own header, "
        "or 2 MB if it does not know that size. It compares the whole table with it, and starts no app if one row "
        "exceeds it: the board resets for ever.",
        source="ESP-IDF components/bootloader_support/src/flash_partitions.c (esp_partition_table_verify)",
        cure="set CONFIG_ESPTOOLPY_FLASHSIZE to the size of the real flash (menuconfig, Serial flasher config), or "
        "make the partition smaller in the CSV; most chips need ESP-IDF 5.4.4, 5.5.2 or 6.0 above 16 MB (SP101)",
        acceptable=_may_fit,
        why="the bootloader refuses the table and starts nothing; only where the ESP-IDF that made the bootloader is "
        "not known, and may know a larger flash, can it be accepted",
        needs_images=True,
    ),
    Rule(
        "SP006",
        Severity.ERROR,
        "partitions overlap",
        _partitions_apart,
        explanation="Two rows of the table share flash, or a row covers the table itself. What the firmware writes "
        "to one changes the other; with flash encryption the damage is a whole block of noise. This happens when "
        "offsets in the CSV are written by hand and the table has been moved to make room for a signed bootloader.",
        source="ESP-IDF components/partition_table/gen_esp32part.py (verify); manual, Partition Tables, Offset & Size",
        cure="leave the offsets in the CSV empty, so that ESP-IDF places the partitions one after the other",
        acceptable=False,
        why="what the firmware writes to one partition destroys the other",
    ),
    Rule(
        "SP007",
        Severity.ERROR,
        "image does not start at a flash sector",
        _alignment,
        explanation="Flash is erased in sectors of 4 KB, and flash encryption works on blocks whose key depends on "
        "the address. An image in the middle of a sector can be neither written nor encrypted without touching what "
        "lies before it.",
        source="ESP-IDF components/bootloader_support/src/flash_encryption/flash_encrypt.c "
        "(esp_flash_encrypt_region); esptool, write-flash",
        cure="put the image at the start of a partition",
        acceptable=False,
        why="the image can be neither written nor encrypted without damage to its neighbour",
        needs_images=True,
    ),
    Rule(
        "SP008",
        Severity.WARNING,
        "flash size is left to esptool",
        _flash_size_known,
        explanation="With the setting 'detect' esptool reads the size of the flash while it writes, and changes the "
        "header of the bootloader. In a signed bootloader the signature is then wrong, and in an encrypted one the "
        "change would be a write into ciphertext. Here the images stay as they were built, so the size in the header "
        "must be right from the start.",
        source="ESP-IDF issues 1704 and 8414",
        cure="set CONFIG_ESPTOOLPY_FLASHSIZE to the size of the real flash and "
        "CONFIG_ESPTOOLPY_HEADER_FLASHSIZE_UPDATE=n (menuconfig, Serial flasher config), and build again",
    ),
    Rule(
        "SP009",
        Severity.ERROR,
        "bootloader is too large for the ROM to verify",
        _bootloader_fits_rom,
        explanation="With secure boot the ROM first loads the whole bootloader into a buffer and verifies it there. "
        "The buffer holds 48 KB on ESP32 and 64 KB on the other chips, the signature sector not counted. The ROM "
        "refuses a larger bootloader before it can print anything, however much room there is under the partition "
        "table.",
        source="ESP-IDF issue 8002; manual, Secure Boot V2, bootloader size",
        cure="set CONFIG_BOOTLOADER_LOG_LEVEL_WARN=y and CONFIG_BOOTLOADER_COMPILER_OPTIMIZATION_SIZE=y (menuconfig, "
        "Bootloader config), and build again",
        acceptable=False,
        why="the ROM refuses the bootloader at every start",
        needs_images=True,
        settings=(
            ("BOOTLOADER_LOG_LEVEL_WARN", True),
            ("BOOTLOADER_COMPILER_OPTIMIZATION_SIZE", True),
        ),
    ),
)
