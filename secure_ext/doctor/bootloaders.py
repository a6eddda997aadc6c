# SPDX-License-Identifier: Apache-2.0
"""Rules about a second bootloader, which the ROM starts where the first one fails."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Match, Rule, Severity, Subject
from secure_ext.formats.partition_table import TYPE_BOOTLOADER
from secure_ext.plan.bootloader_efuses import told_by
from secure_ext.plan.recovery import bootloader_room

_SETTING = "CONFIG_BOOTLOADER_RECOVERY_OFFSET"


def _recovery_offset(subject: Subject) -> int | None:
    return told_by(subject.chip, subject.plan.steps).recovery_offset


def _in_the_way(subject: Subject) -> Iterator[Match]:
    build, offset = subject.build, _recovery_offset(subject)
    if offset is None:
        return
    end = offset + bootloader_room(build)
    for row in build.partitions.partitions:
        is_its_own = row.type == TYPE_BOOTLOADER and row.offset == offset
        if row.offset < end and offset < row.end and not is_its_own:
            yield Match(
                f"partition {row.label}",
                f"it has 0x{row.offset:x} to 0x{row.end:x}, and the recovery bootloader 0x{offset:x} to 0x{end:x}: "
                "whoever writes the one destroys the other",
            )
    if build.flash_size is not None and end > build.flash_size:
        yield Match(
            _SETTING,
            f"the recovery bootloader may reach to 0x{end:x}, the flash has 0x{build.flash_size:x} bytes",
        )


def _revoked_by_the_first(subject: Subject) -> Iterator[Match]:
    policy = subject.policy.secure_boot
    if _recovery_offset(subject) is not None and policy.enabled and policy.aggressive_revoke:
        yield Match(
            subject.policy.origin("secure_boot.aggressive_revoke"),
            "a first bootloader whose signature does not verify revokes its keys, and the recovery bootloader is "
            "signed by the same ones",
        )


RULES = (
    Rule(
        "SP170",
        Severity.ERROR,
        "recovery bootloader in the way of something else",
        _in_the_way,
        explanation="A recovery bootloader has as much room as the first one: from its offset on as many bytes as "
        "there are between the bootloader and the partition table. An update of the bootloader writes there, and "
        "whatever has the same flash is lost; the other way round, an app or data that is written there takes the "
        "board's second chance away, which nobody sees before the first bootloader fails.",
        source="ESP-IDF components/bootloader/Kconfig.bootloader_rollback (BOOTLOADER_RECOVERY_OFFSET); "
        "components/partition_table/gen_esp32part.py (parse_size)",
        cure=f"set {_SETTING} to a place that no partition has, or make room for it in the partition table's CSV, and "
        "build again",
        why="the board would start, until an update writes over its second bootloader",
    ),
    Rule(
        "SP171",
        Severity.WARNING,
        "failing bootloader revokes the keys of the recovery bootloader",
        _revoked_by_the_first,
        explanation="With aggressive revocation the ROM revokes a key for ever, the first time that a signature by it "
        "does not verify. A recovery bootloader is for just that moment: a first bootloader that was cut off while it "
        "was updated. Both are signed by the same keys, so that what should save the board takes its last key away.",
        source="ESP-IDF manual, Secure Boot V2, Key Revocation; eFuse SECURE_BOOT_AGGRESSIVE_REVOKE",
        cure="set secure_boot.aggressive_revoke: false in the profile, or "
        "CONFIG_SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE=n and build again",
    ),
)
