"""Rules about the partition table."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.plan.doctor.rule import Hit, Rule, Severity, Subject
from secure_ext.policy.policy import BlankContent
from secure_ext.project.image import SECTOR_SIZE
from secure_ext.project.partition_table import DATA_NVS, DATA_NVS_KEYS, TYPE_DATA, covered_by_flash_encryption

_SPIFFS, _COREDUMP = 0x82, 0x03


def _nvs_flagged(subject: Subject) -> Iterator[Hit]:
    compatible = subject.build.config.enabled("NVS_COMPATIBLE_PRE_V4_3_ENCRYPTION_FLAG")
    for partition in subject.build.partitions.partitions:
        is_nvs = partition.type == TYPE_DATA and partition.subtype == DATA_NVS
        if is_nvs and partition.encrypted_flag and not compatible and subject.policy.flash_encryption.enabled:
            yield Hit(
                f"partition {partition.label}",
                "an NVS partition must not be flagged encrypted: the firmware cannot open it "
                "(ESP_ERR_NVS_WRONG_ENCRYPTION)",
                "take the flag out of the CSV; NVS has an encryption of its own (CONFIG_NVS_ENCRYPTION)",
            )


def _spiffs_flagged(subject: Subject) -> Iterator[Hit]:
    for partition in subject.build.partitions.partitions:
        is_spiffs = partition.type == TYPE_DATA and partition.subtype == _SPIFFS
        if is_spiffs and partition.encrypted_flag and subject.policy.flash_encryption.enabled:
            yield Hit(
                f"partition {partition.label}",
                "SPIFFS does not work on an encrypted partition: the firmware refuses to mount it",
                "take the flag out of the CSV, or use littlefs or fat",
            )


def _flag_without_encryption(subject: Subject) -> Iterator[Hit]:
    if not subject.policy.flash_encryption.enabled:
        for partition in subject.build.partitions.partitions:
            if partition.encrypted_flag:
                yield Hit(
                    f"partition {partition.label}",
                    "the partition is flagged encrypted, but flash encryption is off: it stays in plaintext",
                    "enable flash encryption, if that was meant",
                )


def _flagged_size(subject: Subject) -> Iterator[Hit]:
    for partition in subject.build.partitions.partitions:
        covered = covered_by_flash_encryption(partition) and subject.policy.flash_encryption.enabled
        if covered and partition.size % SECTOR_SIZE:
            yield Hit(
                f"partition {partition.label}",
                f"its size 0x{partition.size:x} is no multiple of 0x{SECTOR_SIZE:x}, but the chip encrypts by sectors",
                "make the size a multiple of 4 KB in the CSV",
            )


def _unfilled(subject: Subject) -> Iterator[Hit]:
    for blank in subject.blanks:
        partition = blank.partition
        if partition.type == TYPE_DATA and partition.subtype == DATA_NVS_KEYS:
            text = "stays erased; the firmware makes its own NVS keys at the first boot"
        elif blank.content is BlankContent.ERASED:
            text = "has no image and stays erased; the firmware reads noise there until it writes"
        else:
            text = "has no image and is filled with encrypted 0xFF bytes"
        yield Hit(f"partition {partition.label}", f"the encrypted partition {text}", "nothing to do, if that is meant")


def _coredump(subject: Subject) -> Iterator[Hit]:
    for partition in subject.build.partitions.partitions:
        is_coredump = partition.type == TYPE_DATA and partition.subtype == _COREDUMP
        if is_coredump and subject.policy.flash_encryption.release and not partition.encrypted_flag:
            yield Hit(
                f"partition {partition.label}",
                "core dumps hold memory, and with it secrets; this partition is not encrypted",
                "add the flag encrypted in the CSV",
            )


def _outside_table(subject: Subject) -> Iterator[Hit]:
    own = (subject.build.bootloader_offset, subject.build.table_offset)
    for image in subject.images:
        if image.partition is None and image.offset not in own:
            yield Hit(
                image.source,
                f"the image at 0x{image.offset:x} lies in no partition; it is written in plaintext",
                "give it a partition, or leave it out of the build's flash files",
            )


def _md5(subject: Subject) -> Iterator[Hit]:
    if not subject.build.partitions.has_md5:
        yield Hit(
            "partition table",
            "the table has no MD5 row; a bootloader built with CONFIG_PARTITION_TABLE_MD5 rejects it",
            "enable CONFIG_PARTITION_TABLE_MD5 and build again",
        )


def _unknown_label(subject: Subject) -> Iterator[Hit]:
    labels = {partition.label for partition in subject.build.partitions.partitions}
    for label in subject.policy.blank_partitions:
        if label not in labels:
            yield Hit(f"profile: blank_partitions.{label}", "there is no partition with this label", "mend the label")


RULES = (
    Rule("SP060", Severity.ERROR, "NVS partition is flagged encrypted", _nvs_flagged),
    Rule("SP061", Severity.ERROR, "SPIFFS partition is flagged encrypted", _spiffs_flagged),
    Rule("SP062", Severity.WARNING, "encrypted flag without flash encryption", _flag_without_encryption),
    Rule("SP063", Severity.ERROR, "size of an encrypted partition is no multiple of 4 KB", _flagged_size),
    Rule("SP064", Severity.INFO, "encrypted partition without an image", _unfilled),
    Rule("SP065", Severity.WARNING, "core dumps in plaintext", _coredump),
    Rule("SP066", Severity.WARNING, "image outside the partition table", _outside_table),
    Rule("SP067", Severity.WARNING, "partition table without MD5", _md5),
    Rule("SP068", Severity.ERROR, "profile names a partition that does not exist", _unknown_label, False),
)
