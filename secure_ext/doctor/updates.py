# SPDX-License-Identifier: Apache-2.0
"""Rules about updates and going back: OTA slots, rollback, anti-rollback."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.build import Role
from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject
from secure_ext.formats.partition_table import DATA_OTA, TYPE_APP, TYPE_DATA, Partition

_FACTORY, _TEST = 0x00, 0x20
_OTA_SLOTS = range(0x10, 0x20)


def _ota_slots(subject: Subject) -> list[Partition]:
    rows = subject.build.partitions.partitions
    return [row for row in rows if row.type == TYPE_APP and row.subtype in _OTA_SLOTS]


def _rollback_has_slots(subject: Subject) -> Iterator[Match]:
    rows = subject.build.partitions.partitions
    has_ota_data = any(row.type == TYPE_DATA and row.subtype == DATA_OTA for row in rows)
    apps = [row for row in rows if row.type == TYPE_APP and (row.subtype in _OTA_SLOTS or row.subtype == _FACTORY)]
    if subject.build.config.enabled("BOOTLOADER_APP_ROLLBACK_ENABLE") and not (has_ota_data and len(apps) > 1):
        what = "no OTA data partition" if not has_ota_data else "only one slot for an app"
        yield Match("CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE", f"the firmware is built to roll back, but there is {what}")


def _anti_rollback(subject: Subject) -> bool:
    return subject.build.config.enabled("BOOTLOADER_APP_ANTI_ROLLBACK")


def _anti_rollback_with_factory(subject: Subject) -> Iterator[Match]:
    for row in subject.build.partitions.partitions:
        if _anti_rollback(subject) and row.type == TYPE_APP and row.subtype in (_FACTORY, _TEST):
            yield Match(
                f"partition {row.label}",
                f"anti-rollback is on, but the table has a {row.subtype_name} app, which no update ever replaces",
            )


def _secure_version_fits(subject: Subject) -> Iterator[Match]:
    config, field = subject.build.config, subject.chip.efuses.find("SECURE_VERSION")
    version = config.integer("BOOTLOADER_APP_SECURE_VERSION") or 0
    configured = config.integer("BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD")
    if not _anti_rollback(subject) or field is None:
        return
    room = field.bits if configured is None else min(configured, field.bits)
    if version > room:
        yield Match(
            "CONFIG_BOOTLOADER_APP_SECURE_VERSION",
            f"the app has secure version {version}, but the eFuse field counts up to {room}: the version is not "
            "recorded, and older apps go on starting",
        )


def _anti_rollback_unsigned(subject: Subject) -> Iterator[Match]:
    if _anti_rollback(subject) and subject.policy.locks_down and not subject.policy.secure_boot.enabled:
        yield Match(
            "CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK",
            "anti-rollback without secure boot stops nobody: the version stands in the app, which nothing verifies",
        )


def _fits_every_slot(subject: Subject) -> Iterator[Match]:
    slots = _ota_slots(subject)
    for image in subject.images:
        if image.role is not Role.APP or image.partition not in {slot.label for slot in slots}:
            continue
        for slot in slots:
            if slot.label != image.partition and image.final_size > slot.size:
                yield Match(
                    f"partition {slot.label}",
                    f"the app of {image.partition} has {image.final_size} bytes in flash, this slot {slot.size}: "
                    "an update of its size cannot be installed here",
                )


RULES = (
    Rule(
        "SP037",
        Severity.WARNING,
        "rollback without a second app",
        _rollback_has_slots,
        explanation="Rollback means that the bootloader returns to the app before when a new one does not confirm "
        "that it works. It notes the state in the OTA data partition, and needs another app to return to. Without "
        "them the option does nothing, and a bad update is final.",
        source="ESP-IDF components/bootloader/Kconfig.app_rollback; "
        "components/bootloader_support/src/bootloader_utility.c; ESP-IDF issue 4799",
        cure="add to the CSV: otadata, data, ota, , 0x2000 and two slots ota_0 and ota_1; or set "
        "CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE=n",
    ),
    Rule(
        "SP038",
        Severity.WARNING,
        "anti-rollback with a factory or test app",
        _anti_rollback_with_factory,
        explanation="Anti-rollback compares the version of an app with the number in eFuse, which grows with "
        "updates. A factory app is never updated: after the first increase it does not start any more, so that it is "
        "no way back when OTA data is damaged. With a factory app the first secure version is also not recorded at "
        "the first boot.",
        source="ESP-IDF components/bootloader/Kconfig.app_rollback (BOOTLOADER_APP_SECURE_VERSION); "
        "components/bootloader_support/src/bootloader_utility.c",
        cure="use a table with ota_0 and ota_1 only (CONFIG_PARTITION_TABLE_TWO_OTA without the row factory)",
    ),
    Rule(
        "SP039",
        Severity.ERROR,
        "secure version does not fit into eFuse",
        _secure_version_fits,
        explanation="The secure version is kept in eFuse as a number of set bits, so that it can grow only as often "
        "as the field has bits: 4 on ESP32-C2, 9 on ESP32-C5, 32 on ESP32, 16 elsewhere. A version beyond that is "
        "never recorded: the firmware prints an error and goes on, and old apps with known holes still start.",
        source="ESP-IDF components/efuse/src/esp_efuse_fields.c (esp_efuse_update_secure_version)",
        cure="set CONFIG_BOOTLOADER_APP_SECURE_VERSION to a number that fits, and build again",
        why="the board runs; older apps do, too",
        concerns=Concern.BOTH,
    ),
    Rule(
        "SP055",
        Severity.WARNING,
        "anti-rollback without secure boot",
        _anti_rollback_unsigned,
        explanation="The bootloader reads the secure version from the description inside the app. Without secure "
        "boot an attacker who can write flash changes that number, or the whole app. Anti-rollback protects only "
        "what is signed.",
        source="ESP-IDF manual, Over The Air Updates, Anti-rollback",
        cure="plan secure boot, too (secure_boot.enabled: true)",
    ),
    Rule(
        "SP069",
        Severity.WARNING,
        "app does not fit into every OTA slot",
        _fits_every_slot,
        explanation="Updates alternate between the slots. An app fits into its slot by its own size; signed, it is "
        "padded to a whole page and 4 KB longer. If another slot is smaller, the second update fails in the field, "
        "when the table cannot be changed any more.",
        source="ESP-IDF components/app_update/esp_ota_ops.c (esp_ota_begin, esp_ota_write); manual, Partition Tables",
        cure="give all OTA slots the same size in the CSV",
        needs_images=True,
    ),
)
