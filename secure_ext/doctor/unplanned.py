# SPDX-License-Identifier: Apache-2.0
"""Rules about what the firmware needs and the plan does not bring: recovery bootloaders, identity keys, signed data."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Match, Rule, Severity, Subject
from secure_ext.formats.partition_table import DATA_UNDEFINED, TYPE_BOOTLOADER, TYPE_DATA
from secure_ext.formats.signed_data import signed_size
from secure_ext.plan.bootloader_efuses import told_by
from secure_ext.plan.steps import WriteProtect
from secure_ext.plan.unplanned import unplanned_features
from secure_ext.station.revision import revision_text

_RECOVERY = 0x02
_SECURE_CERT_TYPE = 0x3F
_IDENTITY_LABELS = ("esp_secure_cert", "pre_prov")
_IDENTITY_SETTINGS = {
    "MBEDTLS_HARDWARE_ECDSA_SIGN": "an ECDSA key",
    "USE_ESP32_ECDSA_PERIPHERAL": "an ECDSA key",
}
"""Symbols that are off unless somebody wants a key in eFuse. Those for the DS peripheral are on by themselves."""


def _recovery_bootloader(subject: Subject) -> Iterator[Match]:
    if not subject.policy.locks_down:
        return
    chip = subject.chip
    for feature in unplanned_features(subject.build.config, chip):
        yield Match(
            feature.setting,
            f"it needs the eFuse {feature.missing}, which {chip.name} from {revision_text(chip.revision)} on does not "
            f"have with esptool {chip.efuses.esptool_version}: {feature.without}",
            f"set {feature.setting}=n (menuconfig, Bootloader config, Recovery Bootloader and Rollback) and build "
            "again; or build for chips that have it, and take an esptool that knows it",
        )


def _unused_recovery_partition(subject: Subject) -> Iterator[Match]:
    if not subject.policy.locks_down:
        return
    offset = told_by(subject.chip, subject.plan.steps).recovery_offset
    for row in subject.build.partitions.partitions:
        if (row.type, row.subtype) == (TYPE_BOOTLOADER, _RECOVERY) and row.offset != offset:
            told = "is not burned" if offset is None else f"says 0x{offset:x}"
            yield Match(
                f"partition {row.label}",
                f"the ROM never starts a recovery bootloader from there: the eFuse that tells it where {told}",
            )


def _identity(subject: Subject) -> Iterator[Match]:
    chip = subject.chip
    locked = any(isinstance(s.action, WriteProtect) and s.action.field == "RD_DIS" for s in subject.plan.steps)
    if not locked or chip.has_fixed_key_blocks or chip.has_one_key_block:  # these two sign with no key in eFuse
        return
    purposes = {key.purpose for key in subject.plan.keys if key.role.is_extra}
    if purposes - {"HMAC_DOWN_JTAG"}:  # the owner knows that keys have to be in the plan
        return
    wanted = [
        (f"partition {row.label}", "holds an identity, whose private key is usually bound to a key block")
        for row in subject.build.partitions.partitions
        if row.type == _SECURE_CERT_TYPE or row.label in _IDENTITY_LABELS
    ]
    config = subject.build.config
    wanted += [
        (f"CONFIG_{name}", f"wants {key} in a key block")
        for name, key in _IDENTITY_SETTINGS.items()
        if config.enabled(name)
    ]
    for place, what in wanted:
        yield Match(place, f"it {what}, which the plan does not burn; once RD_DIS is locked, none can be added")


def _signed_data(subject: Subject) -> Iterator[Match]:
    if subject.build.config.enabled("SECURE_SIGNED_DATA_PARTITION"):
        yield Match(
            "CONFIG_SECURE_SIGNED_DATA_PARTITION",
            "the app takes updates of data partitions (subtype undefined) only if they are signed, and what a bundle "
            "writes there is not signed",
        )


def _no_room_for_a_signature(subject: Subject) -> Iterator[Match]:
    if not subject.build.config.enabled("SECURE_SIGNED_DATA_PARTITION"):
        return
    for row in subject.build.partitions.partitions:
        if (row.type, row.subtype) != (TYPE_DATA, DATA_UNDEFINED):
            continue
        image = next((image for image in subject.images if image.partition == row.label), None)
        needed = signed_size(1 if image is None else image.final_size)
        if needed > row.size:
            yield Match(
                f"partition {row.label}",
                f"it has 0x{row.size:x} bytes, and an update of what is there would have 0x{needed:x}, signature "
                "included",
            )


RULES = (
    Rule(
        "SP155",
        Severity.ERROR,
        "recovery or rollback protection of the bootloader is not planned",
        _recovery_bootloader,
        explanation="The ROM of some chips starts a recovery bootloader when the first one fails, and refuses "
        "bootloaders that are too old. Where the recovery bootloader lies, and which version is the least, stands in "
        "eFuses, which the plan burns. ESP-IDF lets a build ask for both on chips that do not have these eFuses: an "
        "ESP32-P4 has the one for the place from v3.0 on, and none for versions. An old esptool may not know them. A "
        "board without them is less than what its project counts on: a failed update of its bootloader is the end.",
        source="ESP-IDF components/bootloader/Kconfig.bootloader_rollback; components/efuse/src/esp_efuse_fields.c "
        "(esp_efuse_set_recovery_bootloader_offset)",
        cure="set CONFIG_BOOTLOADER_RECOVERY_ENABLE=n (menuconfig, Bootloader config, Recovery Bootloader and "
        "Rollback) and build again",
        acceptable=False,
        why="the firmware would update its bootloader as if there were a second one",
        settings=(("BOOTLOADER_RECOVERY_ENABLE", False),),
    ),
    Rule(
        "SP156",
        Severity.WARNING,
        "key of the board's identity cannot be added later",
        _identity,
        explanation="A certificate partition, or firmware that signs with a key in eFuse (digital signature, ECDSA or "
        "HMAC peripheral), needs a key block that only this board has. Such a key must be read-protected, and the last "
        "steps of the plan write-protect RD_DIS, so that nobody hides the digest of the signing key. From then on no "
        "key block can be hidden any more, by nobody. The plan burns the keys of `identity` and `extra_keys`, and the "
        "profile has none. For a private key in flash nothing is to be done.",
        source="espressif/esp_secure_cert_mgr, README; ESP-IDF components/mbedtls/Kconfig "
        "(MBEDTLS_HARDWARE_ECDSA_SIGN); manual, Security Features Enablement Workflows, secure boot step 5B",
        cure="if the identity has a key in eFuse, choose now: let each board get its own (identity in the profile), or "
        "name it in extra_keys; or set "
        "secure_boot.keep_read_protection_writable: true, have the key burned after the stage burn (provision.py "
        "--until burn) and RD_DIS write-protected then; or leave the identity out of these boards",
    ),
    Rule(
        "SP157",
        Severity.INFO,
        "data updates have to be signed",
        _signed_data,
        explanation="With this option the app verifies updates of data partitions like those of apps. The images that "
        "are flashed first are not verified, so the board starts as it is, and a bundle does not sign them. But what "
        "is sent to it later has to carry a signature.",
        source="ESP-IDF components/app_update/Kconfig.projbuild (SECURE_SIGNED_DATA_PARTITION); esp_ota_ops.c",
        cure="have updates made by `secure-provision ota --data LABEL=FILE`, or signed with espsecure sign-data "
        "--version 2, with a key whose digest is burned",
    ),
    Rule(
        "SP158",
        Severity.WARNING,
        "recovery partition that the ROM does not know",
        _unused_recovery_partition,
        explanation="The partition table has a place for a recovery bootloader. The ROM looks only where an eFuse "
        "(RECOVERY_BOOTLOADER_FLASH_SECTOR) says, and the plan does not burn it, or burns another place. The partition "
        "is dead weight, until code on the board burns that eFuse, and then whatever lies there has to be signed and "
        "encrypted for that place, or a failed bootloader is the end.",
        source="ESP-IDF components/efuse/src/esp_efuse_fields.c (esp_efuse_set_recovery_bootloader_offset); manual, "
        "Bootloader, Recovery Bootloader",
        cure="set CONFIG_BOOTLOADER_RECOVERY_ENABLE=y with CONFIG_BOOTLOADER_RECOVERY_OFFSET at this partition and "
        "build again; or take the row out of the partition table's CSV",
    ),
    Rule(
        "SP172",
        Severity.WARNING,
        "data partition without room for a signed update",
        _no_room_for_a_signature,
        explanation="A signed update of a data partition is padded to whole sectors of 4 KB, and has one more with its "
        "signatures. The app looks for them in the last sector that was written, so data that fill their partition can "
        "never be sent as an update, and a partition of one sector can never be updated at all.",
        source="ESP-IDF components/app_update/esp_ota_ops.c (ota_verify_data_partition_signature); manual, Over The "
        "Air Updates, Signed Data Partition Updates",
        cure="give the partition a sector (0x1000 bytes) more than its data have, in the partition table's CSV, and "
        "build again",
        needs_images=True,
    ),
)
