# SPDX-License-Identifier: Apache-2.0
"""Rules about the first boot: what the firmware will burn, cannot burn, or refuses to start with."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject
from secure_ext.plan.first_boot import bootloader_refuses


def _left_off(subject: Subject) -> Iterator[Match]:
    config, policy = subject.build.config, subject.policy
    if bootloader_refuses(config, subject.chip, subject.plan):
        return
    if config.enabled("SECURE_FLASH_ENC_ENABLED") and not policy.flash_encryption.enabled:
        yield Match(
            "CONFIG_SECURE_FLASH_ENC_ENABLED",
            "the bootloader turns flash encryption on at its first boot, with a key of its own that nobody knows",
            "plan flash encryption here too (flash_encryption.mode), or set CONFIG_SECURE_FLASH_ENC_ENABLED=n and "
            "build again",
        )
    if config.enabled("SECURE_BOOT_V2_ENABLED") and not policy.secure_boot.enabled:
        signs = any(burn.efuse == subject.chip.secure_boot_enable.name for burn in subject.first_boot)
        yield Match(
            "CONFIG_SECURE_BOOT",
            "the bootloader turns secure boot on at its first boot"
            if signs
            else "the bootloader starts only signed apps, and with secure boot off in the plan nothing signs this one",
            "plan secure boot here too (secure_boot.enabled: true), or set CONFIG_SECURE_BOOT=n and build again",
        )


def _burns_more(subject: Subject) -> Iterator[Match]:
    for burn in subject.first_boot:
        if not burn.enables and not burn.fails_because:
            yield Match(
                f"CONFIG_{burn.setting}",
                f"at its first boot the {burn.by} burns {burn.efuse}, whatever the profile says: it {burn.reason}",
            )


def _refuses(subject: Subject) -> Iterator[Match]:
    reason = bootloader_refuses(subject.build.config, subject.chip, subject.plan)
    if reason:
        yield Match(subject.build.bootloader.source, f"the bootloader will start no app: {reason}")


def _cannot_burn(subject: Subject) -> Iterator[Match]:
    for burn in subject.first_boot:
        if burn.fails_because:
            yield Match(
                f"CONFIG_{burn.setting}",
                f"at its first boot the {burn.by} wants to burn {burn.efuse} ({burn.reason}), and cannot: "
                f"{burn.fails_because}",
            )


def _app_still_starts(subject: Subject) -> bool:
    """Whether a bootloader that turns secure boot on by itself finds signed images to do so."""
    built, wanted = subject.build.config.enabled("SECURE_BOOT_V2_ENABLED"), subject.policy.secure_boot.enabled
    return wanted or not built or any(burn.efuse == subject.chip.secure_boot_enable.name for burn in subject.first_boot)


def _starts_without(subject: Subject) -> bool:
    return not any(burn.fails_because and burn.aborts for burn in subject.first_boot)


RULES = (
    Rule(
        "SP023",
        Severity.ERROR,
        "bootloader enables a feature that the plan leaves off",
        _left_off,
        explanation="A bootloader that was built for flash encryption or secure boot turns the feature on by itself "
        "when it finds it off. Flash encryption then runs with a key that the chip made and nobody knows, and all "
        "further images in this bundle are useless for the board; secure boot makes the first key that signed the "
        "only one, for ever.",
        source="ESP-IDF components/bootloader_support/src/bootloader_utility.c (load_image); ESP-IDF issues 16753 "
        "and 18340",
        cure="plan the feature here too, or turn it off in menuconfig, Security features, and build again",
        acceptable=_app_still_starts,
        why="the board runs, with a feature that the plan leaves off; but a bootloader that starts signed apps only "
        "never starts an unsigned one",
    ),
    Rule(
        "SP032",
        Severity.WARNING,
        "firmware burns more at its first boot",
        _burns_more,
        explanation="Bootloader and app burn eFuses themselves where the chip is not yet as their sdkconfig says: "
        "they close the download mode, revoke free digest slots, lock fields, make an HMAC key. What the profile "
        "left open on purpose is closed all the same when the board starts for the first time, and not by the script "
        "that you rehearsed.",
        source="ESP-IDF components/efuse/src/esp_efuse_startup.c, components/bootloader_support/src/secure_boot.c, "
        "components/esp_security/src/init.c; ESP-IDF issues 12979 and 16753",
        cure="choose the same in menuconfig and in the profile; or leave it, if it is what you want",
        concerns=Concern.BOTH,
    ),
    Rule(
        "SP033",
        Severity.ERROR,
        "bootloader will refuse to start",
        _refuses,
        explanation="A bootloader can be built to wait for features that somebody else turns on, and to start "
        "nothing before. On an ESP32-C2, whose two keys share one block, it also stops when only one of its two "
        "features is on. With this plan that never changes: the board is provisioned and does not run.",
        source="ESP-IDF components/bootloader_support/src/bootloader_utility.c (load_image), "
        "secure_boot_v2/secure_boot.c; components/bootloader/Kconfig.projbuild (SECURE_FLASH_REQUIRE_ALREADY_ENABLED)",
        cure="plan the features that the firmware was built for, or turn the option off in menuconfig, Security "
        "features",
        acceptable=False,
        why="the bootloader starts no app, and that never changes",
        needs_images=True,
    ),
    Rule(
        "SP034",
        Severity.ERROR,
        "firmware cannot burn what it needs",
        _cannot_burn,
        explanation="The firmware wants to burn an eFuse at its first boot that the plan has locked by then. NVS "
        "encryption with HMAC needs a key that can still be read-protected: once RD_DIS is write-protected, "
        "nvs_flash_init() fails at the first start, with the key burned and readable, and uses that one from then on. "
        "An app that cannot close the download mode as configured aborts.",
        source="ESP-IDF issue 13909; components/efuse/src/esp_efuse_startup.c; "
        "components/nvs_sec_provider/nvs_sec_provider.c",
        cure="have the plan burn it (for NVS: nvs.scheme: hmac), or turn the option off in menuconfig and build again",
        acceptable=_starts_without,
        why="without its NVS key the firmware still starts; where an eFuse is missing that the app insists on, it "
        "aborts at every start",
        concerns=Concern.BOTH,
    ),
)
