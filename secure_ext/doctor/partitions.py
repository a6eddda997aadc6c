# SPDX-License-Identifier: Apache-2.0
"""Rules about the partition table."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.build import Role
from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject
from secure_ext.formats.partition_table import (
    DATA_NVS,
    DATA_NVS_KEYS,
    TYPE_DATA,
    Partition,
    covered_by_flash_encryption,
)
from secure_ext.policy.policy import BlankContent, NvsScheme
from secure_ext.station.flash_sectors import SECTOR_SIZE, whole_sectors

_SPIFFS, _COREDUMP = 0x82, 0x03
_PHY, _EFUSE_EMULATION = 0x01, 0x05
_NVS_KEYS = {
    NvsScheme.OFF: "NVS encryption is off, so that the firmware keeps no keys there",
    NvsScheme.HMAC: "it is not needed: the firmware derives its NVS keys from the HMAC key in eFuse",
    NvsScheme.FLASH_ENCRYPTION: "the firmware makes its own NVS keys at the first boot",
}
"""What becomes of an nvs_keys partition without an image."""


def _row(partition: Partition, *, flags: str) -> str:
    """What to write in the CSV; an encrypted partition takes whole sectors (SP063)."""
    size = whole_sectors(partition.size) if flags else partition.size
    row = f"{partition.label}, {partition.type_name}, {partition.subtype_name}, , 0x{size:x}, {flags}"
    return f"change the row in the CSV to: {row.rstrip()}"


def _nvs_flagged(subject: Subject) -> Iterator[Match]:
    compatible = subject.build.config.enabled("NVS_COMPATIBLE_PRE_V4_3_ENCRYPTION_FLAG")
    for partition in subject.table.partitions:
        is_nvs = partition.type == TYPE_DATA and partition.subtype == DATA_NVS
        if is_nvs and partition.encrypted_flag and not compatible and subject.policy.flash_encryption.enabled:
            yield Match(
                f"partition {partition.label}",
                "an NVS partition must not be flagged encrypted: the firmware cannot open it "
                "(ESP_ERR_NVS_WRONG_ENCRYPTION)",
                _row(partition, flags="") + "; NVS has an encryption of its own (CONFIG_NVS_ENCRYPTION=y)",
            )


def _spiffs_flagged(subject: Subject) -> Iterator[Match]:
    for partition in subject.build.partitions.partitions:
        is_spiffs = partition.type == TYPE_DATA and partition.subtype == _SPIFFS
        if is_spiffs and partition.encrypted_flag and subject.policy.flash_encryption.enabled:
            yield Match(
                f"partition {partition.label}",
                "SPIFFS does not work on an encrypted partition: the firmware refuses to mount it",
                _row(partition, flags="") + "; or use littlefs or fat",
            )


def _flag_without_encryption(subject: Subject) -> Iterator[Match]:
    if not subject.policy.flash_encryption.enabled:
        for partition in subject.build.partitions.partitions:
            if partition.encrypted_flag:
                yield Match(
                    f"partition {partition.label}",
                    "the partition is flagged encrypted, but flash encryption is off: it stays in plaintext",
                )


def _flagged_size(subject: Subject) -> Iterator[Match]:
    for partition in subject.build.partitions.partitions:
        covered = covered_by_flash_encryption(partition) and subject.policy.flash_encryption.enabled
        if covered and partition.size % SECTOR_SIZE:
            yield Match(
                f"partition {partition.label}",
                f"its size 0x{partition.size:x} is not a multiple of 0x{SECTOR_SIZE:x}, and the chip encrypts sectors",
                f"in the CSV, make the size of {partition.label} 0x{whole_sectors(partition.size):x}",
            )


def _unfilled(subject: Subject) -> Iterator[Match]:
    for blank in subject.blanks:
        partition = blank.partition
        if partition.type == TYPE_DATA and partition.subtype == DATA_NVS_KEYS:
            text = f"stays erased; {_NVS_KEYS[subject.policy.nvs.scheme]}"
        elif blank.content is BlankContent.ERASED:
            text = "has no image and stays erased; the firmware reads noise there until it writes"
        else:
            text = "has no image and is filled with encrypted 0xFF bytes"
        yield Match(f"partition {partition.label}", f"the encrypted partition {text}")


def _coredump(subject: Subject) -> Iterator[Match]:
    for partition in subject.build.partitions.partitions:
        is_coredump = partition.type == TYPE_DATA and partition.subtype == _COREDUMP
        if is_coredump and subject.policy.flash_encryption.release and not partition.encrypted_flag:
            yield Match(
                f"partition {partition.label}",
                "core dumps hold memory, and with it secrets; this partition is not encrypted",
                _row(partition, flags="encrypted"),
            )


def _outside_table(subject: Subject) -> Iterator[Match]:
    own = (subject.build.bootloader_offset, subject.build.table_offset)
    for image in subject.images:
        is_recovery = image.role is Role.BOOTLOADER  # the plan tells the ROM of its place
        if image.partition is None and image.offset not in own and not is_recovery:
            yield Match(
                image.source,
                f"the image at 0x{image.offset:x} lies in no partition; it is written in plaintext",
            )


def _md5(subject: Subject) -> Iterator[Match]:
    if not subject.build.partitions.has_md5:
        yield Match(
            "partition table",
            "the table has no MD5 row; a bootloader built with CONFIG_PARTITION_TABLE_MD5 rejects it",
        )


def _unknown_label(subject: Subject) -> Iterator[Match]:
    labels = {partition.label for partition in subject.build.partitions.partitions}
    for label in subject.policy.blank_partitions:
        if label not in labels:
            known = ", ".join(sorted(labels))
            yield Match(
                f"profile: blank_partitions.{label}",
                "there is no partition with this label",
                f"the table has: {known}",
            )


def _plaintext_data(subject: Subject) -> Iterator[Match]:
    apart = (DATA_NVS, _PHY, _COREDUMP, _EFUSE_EMULATION)
    for partition in subject.build.partitions.partitions:
        is_reported = partition.type == TYPE_DATA and partition.subtype in apart
        if subject.policy.flash_encryption.release and not covered_by_flash_encryption(partition) and not is_reported:
            can_be_flagged = partition.type != TYPE_DATA or partition.subtype != _SPIFFS
            yield Match(
                f"partition {partition.label}",
                "flash encryption does not cover this partition: it stays readable and writable in the flash chip",
                f"if it holds anything secret: {_row(partition, flags='encrypted')}"
                if can_be_flagged
                else "if it holds anything secret, use littlefs or fat, with the flag encrypted",
            )


RULES = (
    Rule(
        "SP060",
        Severity.ERROR,
        "NVS partition is flagged encrypted",
        _nvs_flagged,
        explanation="NVS changes single words of flash in place. Flash encryption works on blocks of 16 or 32 bytes, "
        "so that this is impossible, and the NVS library refuses to open a flagged partition. NVS encrypts by its "
        "own means.",
        source="ESP-IDF components/nvs_flash/src/nvs_partition_lookup.cpp; ESP-IDF issue 5747",
        cure="take the flag encrypted out of the row in the CSV; set CONFIG_NVS_ENCRYPTION=y instead",
        why="the board runs; only this partition cannot be opened",
        concerns=Concern.BOTH,
    ),
    Rule(
        "SP061",
        Severity.ERROR,
        "SPIFFS partition is flagged encrypted",
        _spiffs_flagged,
        explanation="SPIFFS relies on clearing single bits of flash, which encrypted flash does not allow. The "
        "component refuses to mount a flagged partition.",
        source="ESP-IDF components/spiffs/esp_spiffs.c (esp_spiffs_init); ESP-IDF issues 2001 and 5139",
        cure="take the flag encrypted out of the row in the CSV, or use littlefs or fat",
        why="the board runs; only this partition cannot be mounted",
    ),
    Rule(
        "SP062",
        Severity.WARNING,
        "encrypted flag without flash encryption",
        _flag_without_encryption,
        explanation="The flag in the table only says what to encrypt once flash encryption is on. While it is off, "
        "the partition is in plaintext like all others, without any message.",
        source="ESP-IDF components/esp_partition/partition.c; manual, Partition Tables, Flags",
        cure="plan flash encryption (flash_encryption.mode: release), if that was meant",
    ),
    Rule(
        "SP063",
        Severity.ERROR,
        "size of an encrypted partition is not a multiple of 4 KB",
        _flagged_size,
        explanation="Encrypted flash is erased and written by sectors of 4 KB. The last, incomplete sector of such a "
        "partition belongs to its neighbour as well, and one of the two cannot be written without damage to the "
        "other.",
        source="ESP-IDF components/partition_table/gen_esp32part.py; manual, Partition Tables, Offset & Size",
        cure="make the size a multiple of 0x1000 in the CSV",
        why="the board runs; its last sector shares flash with a neighbour that may never be written",
    ),
    Rule(
        "SP064",
        Severity.INFO,
        "encrypted partition without an image",
        _unfilled,
        explanation="The chip decrypts whatever it reads from an encrypted partition, erased flash included: the "
        "firmware sees noise, not 0xFF, until it has written there. Most file systems take that for damage and "
        "format. With blank_partitions in the profile the partition is filled so that it reads as erased.",
        source="ESP-IDF manual, Flash Encryption, Reading and Writing Data; ESP-IDF pull request 6631",
        cure="nothing to do, if that is meant",
        needs_images=True,
    ),
    Rule(
        "SP065",
        Severity.WARNING,
        "core dumps in plaintext",
        _coredump,
        explanation="After a crash the firmware writes stacks and heap into this partition, keys and passwords among "
        "them. Without the flag they lie there in plaintext, readable with a clip on the flash chip.",
        source="ESP-IDF issue 2932; components/espcoredump/src/core_dump_flash.c",
        cure="add the flag encrypted to the row in the CSV",
    ),
    Rule(
        "SP066",
        Severity.WARNING,
        "image outside the partition table",
        _outside_table,
        explanation="The build has a file for an address that no partition covers. Nothing says whether the firmware "
        "expects it encrypted, so it is written as it is.",
        source="ESP-IDF components/esp_partition/partition.c (which regions are decrypted is told by the table)",
        cure="give it a partition in the CSV, or leave it out of the build's flash files",
        needs_images=True,
    ),
    Rule(
        "SP067",
        Severity.WARNING,
        "partition table without MD5",
        _md5,
        explanation="The table ends with an MD5 of its rows, by which the bootloader notices damage. A bootloader "
        "that expects it rejects a table without; the row is left out only for bootloaders older than ESP-IDF 3.1.",
        source="ESP-IDF components/partition_table/Kconfig.projbuild (PARTITION_TABLE_MD5); "
        "components/bootloader_support/src/flash_partitions.c",
        cure="set CONFIG_PARTITION_TABLE_MD5=y (menuconfig, Partition Table) and build again",
        settings=(("PARTITION_TABLE_MD5", True),),
    ),
    Rule(
        "SP068",
        Severity.ERROR,
        "profile names a partition that does not exist",
        _unknown_label,
        explanation="The profile says what to fill a partition with, and the table has no partition of that name. "
        "Most often the table has changed since, or there is a slip of the pen; what was meant would not be done.",
        source="this tool's profile, blank_partitions",
        cure="correct the label in blank_partitions of the profile",
        acceptable=False,
        why="what the profile means would silently not be done",
    ),
    Rule(
        "SP070",
        Severity.INFO,
        "data partition stays in plaintext",
        _plaintext_data,
        explanation="Flash encryption covers apps, OTA data and NVS keys, and of all else only what the table flags "
        "as encrypted. This partition is not flagged. Its content can be read from the flash chip, and changed: it "
        "is not signed either.",
        source="ESP-IDF components/esp_partition/partition.c; ESP-IDF issue 11209",
        cure="add the flag encrypted to the row in the CSV, if it holds anything secret",
    ),
)
