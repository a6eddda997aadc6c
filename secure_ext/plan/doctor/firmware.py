"""Rules about the firmware's configuration: does the build fit what the chip will enforce?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.plan.doctor.rule import Hit, Rule, Severity, Subject
from secure_ext.policy.policy import DownloadMode, FlashEncryptionMode, NvsScheme
from secure_ext.project.partition_table import DATA_NVS_KEYS, TYPE_DATA

_MENU = "menuconfig, Security features"


def _flash_encryption_built_in(subject: Subject) -> Iterator[Hit]:
    if subject.policy.flash_encryption.enabled and not subject.build.config.enabled("SECURE_FLASH_ENC_ENABLED"):
        yield Hit(
            "CONFIG_SECURE_FLASH_ENC_ENABLED",
            "the firmware is built without flash encryption: it boots, but its writes to encrypted partitions "
            "(OTA updates, OTA data) fail",
            f"enable flash encryption in {_MENU} and build again",
        )


def _secure_boot_built_in(subject: Subject) -> Iterator[Hit]:
    if subject.policy.secure_boot.enabled and not subject.build.config.enabled("SECURE_BOOT_V2_ENABLED"):
        yield Hit(
            "CONFIG_SECURE_BOOT",
            "the bootloader is built without secure boot: the ROM checks the bootloader, but nothing checks the app",
            f"enable Secure Boot V2 in {_MENU} and build again",
        )


def _same_mode(subject: Subject) -> Iterator[Hit]:
    config, mode = subject.build.config, subject.policy.flash_encryption.mode
    built = FlashEncryptionMode.RELEASE if config.enabled("SECURE_FLASH_ENCRYPTION_MODE_RELEASE") else None
    built = FlashEncryptionMode.DEVELOPMENT if config.enabled("SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT") else built
    if built is not None and mode is not FlashEncryptionMode.OFF and built is not mode:
        yield Hit(
            "CONFIG_SECURE_FLASH_ENCRYPTION_MODE",
            f"the firmware is built for {built.value} mode, the chip will be in {mode.value} mode",
            f"choose the same usage mode in {_MENU}, or leave flash_encryption.mode to sdkconfig",
        )


def _left_off(subject: Subject) -> Iterator[Hit]:
    config, policy = subject.build.config, subject.policy
    if config.enabled("SECURE_FLASH_ENC_ENABLED") and not policy.flash_encryption.enabled:
        yield Hit(
            "CONFIG_SECURE_FLASH_ENC_ENABLED",
            "the bootloader turns flash encryption on at its first boot, with a key of its own that nobody knows",
            "plan flash encryption here too, or turn it off in menuconfig and build again",
        )
    if config.enabled("SECURE_BOOT_V2_ENABLED") and not policy.secure_boot.enabled:
        yield Hit(
            "CONFIG_SECURE_BOOT",
            "the bootloader turns secure boot on at its first boot",
            "plan secure boot here too, or turn it off in menuconfig and build again",
        )


def _same_scheme(subject: Subject) -> Iterator[Hit]:
    config, policy = subject.build.config, subject.policy.secure_boot
    rsa, ecdsa = config.enabled("SECURE_SIGNED_APPS_RSA_SCHEME"), config.enabled("SECURE_SIGNED_APPS_ECDSA_V2_SCHEME")
    built = "rsa3072" if rsa else None
    if ecdsa:
        built = "ecdsa384" if config.enabled("SECURE_BOOT_ECDSA_KEY_LEN_384_BITS") else "ecdsa256"
    if policy.enabled and built is not None and built != policy.scheme:
        yield Hit(
            "CONFIG_SECURE_SIGNED_APPS_SCHEME",
            f"the firmware verifies {built} signatures, the profile wants {policy.scheme}",
            f"choose one scheme in {_MENU} and in the profile",
        )


def _errata(subject: Subject) -> Iterator[Hit]:
    policy, facts = subject.policy.secure_boot, subject.chip.facts
    if policy.enabled and policy.scheme in facts.schemes_with_errata:
        if not subject.build.config.enabled("SECURE_BOOT_V2_FORCE_ENABLE_ECDSA"):
            others = [scheme for scheme in facts.schemes if scheme not in facts.schemes_with_errata]
            yield Hit(
                f"secure_boot.scheme: {policy.scheme}",
                f"by {subject.chip.name}'s errata, verifying {policy.scheme} signatures can fail or be bypassed",
                f"use {' or '.join(others)}" if others else "read the errata; then accept this code in the profile",
            )


def _built_config_differs(subject: Subject) -> Iterator[Hit]:
    for difference in subject.build.config_differences:
        yield Hit(
            f"CONFIG_{difference.name}",
            f"sdkconfig says {_shown(difference.sdkconfig)}, but the build was made with {_shown(difference.built)}; "
            "what was built counts here",
            "build again (idf.py build), so that both agree",
        )


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "y" if value else "n"
    return repr(value)


def _hmac_key_id(subject: Subject) -> Iterator[Hit]:
    config, nvs = subject.build.config, subject.policy.nvs
    if nvs.scheme is not NvsScheme.HMAC:
        return
    built = config.integer("NVS_SEC_HMAC_EFUSE_KEY_ID") if config.enabled("NVS_SEC_KEY_PROTECT_USING_HMAC") else None
    if built is None or built != nvs.key_id:
        yield Hit(
            "CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID",
            f"the firmware looks for the HMAC key in block {built if built is not None else '(not configured)'}, "
            f"the plan burns it into {nvs.key_id if nvs.key_id is not None else 'the first free one'}",
            "set CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID to a key block and build again",
        )


def _nvs_scheme_works(subject: Subject) -> Iterator[Hit]:
    policy = subject.policy
    if policy.nvs.scheme is not NvsScheme.FLASH_ENCRYPTION:
        return
    has_keys = any(p.type == TYPE_DATA and p.subtype == DATA_NVS_KEYS for p in subject.build.partitions.partitions)
    if not has_keys:
        yield Hit(
            "partition table",
            "NVS encryption by flash encryption needs a partition of subtype nvs_keys, and there is none",
            "add one to the CSV: nvs_keys, data, nvs_keys, , 0x1000, encrypted",
        )
    if not policy.flash_encryption.enabled:
        yield Hit(
            "nvs.scheme",
            "the keys of NVS encryption would lie in flash in plaintext, because flash encryption is off",
            "turn flash encryption on, or use nvs.scheme: hmac",
        )


def _nvs_in_plaintext(subject: Subject) -> Iterator[Hit]:
    if subject.policy.flash_encryption.release and subject.policy.nvs.scheme is NvsScheme.OFF:
        yield Hit(
            "CONFIG_NVS_ENCRYPTION",
            "flash encryption does not cover NVS: Wi-Fi passwords and the like stay readable in flash",
            "enable NVS encryption in menuconfig",
        )


def _virtual_efuses(subject: Subject) -> Iterator[Hit]:
    if subject.build.config.enabled("EFUSE_VIRTUAL"):
        yield Hit(
            "CONFIG_EFUSE_VIRTUAL",
            "the firmware looks at virtual eFuses instead of the real ones",
            "turn virtual eFuses off in menuconfig and build again",
        )


def _clock_of_c5(subject: Subject) -> Iterator[Hit]:
    # ESP-IDF v6.1, components/esp_system/port/soc/esp32c5/Kconfig.cpu; earlier versions leave 240 MHz on
    frequency = subject.build.config.integer("ESP_DEFAULT_CPU_FREQ_MHZ") or 0
    if subject.chip.name == "esp32c5" and subject.policy.flash_encryption.enabled and frequency > 160:
        yield Hit(
            "CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ",
            f"the CPU runs at {frequency} MHz: above 160 MHz an ESP32-C5 can corrupt what it writes encrypted",
            "choose 160 MHz in menuconfig, Component config, ESP System Settings, CPU frequency, and build again",
        )


def _stricter_firmware(subject: Subject) -> Iterator[Hit]:
    config, policy = subject.build.config, subject.policy
    disabled = policy.lockdown.download_mode is DownloadMode.DISABLED
    if policy.locks_down and config.enabled("SECURE_DISABLE_ROM_DL_MODE") and not disabled:
        yield Hit(
            "CONFIG_SECURE_DISABLE_ROM_DL_MODE",
            "the firmware disables the download mode at its first boot, whatever the profile says",
            f"choose the same in {_MENU} and in the profile",
        )
    keeps_slots = policy.secure_boot.enabled and not policy.secure_boot.revoke_unused
    if keeps_slots and not config.enabled("SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS"):
        yield Hit(
            "CONFIG_SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS",
            "the firmware revokes the free digest slots at its first boot, whatever the profile says",
            f"choose the same in {_MENU} and in the profile",
        )


RULES = (
    Rule("SP020", Severity.ERROR, "firmware is built without flash encryption", _flash_encryption_built_in),
    Rule("SP021", Severity.ERROR, "firmware is built without secure boot", _secure_boot_built_in),
    Rule("SP022", Severity.WARNING, "firmware is built for another usage mode", _same_mode),
    Rule("SP023", Severity.ERROR, "bootloader enables a feature that the plan leaves off", _left_off),
    Rule("SP024", Severity.ERROR, "firmware verifies another signature scheme", _same_scheme, False),
    Rule("SP025", Severity.ERROR, "signature scheme with errata", _errata),
    Rule("SP026", Severity.WARNING, "sdkconfig differs from what was built", _built_config_differs),
    Rule("SP027", Severity.ERROR, "HMAC key block is not the one the firmware uses", _hmac_key_id),
    Rule("SP028", Severity.ERROR, "NVS encryption cannot work as configured", _nvs_scheme_works),
    Rule("SP029", Severity.WARNING, "NVS stays in plaintext", _nvs_in_plaintext),
    Rule("SP030", Severity.ERROR, "firmware uses virtual eFuses", _virtual_efuses, False),
    Rule("SP031", Severity.ERROR, "ESP32-C5 firmware runs too fast to write encrypted flash", _clock_of_c5),
    Rule("SP032", Severity.WARNING, "firmware closes more than the profile", _stricter_firmware),
)
