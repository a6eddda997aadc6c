# SPDX-License-Identifier: Apache-2.0
"""Rules about the firmware's configuration: does the build fit what the chip will enforce?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.build import Role
from secure_ext.build.idf_version import parse_idf_version
from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject, Unseen
from secure_ext.formats.partition_table import DATA_NVS_KEYS, TYPE_DATA
from secure_ext.plan.fleet import nvs_scheme, signature_scheme, signs_in_software
from secure_ext.plan.steps import KeyRole
from secure_ext.policy.policy import FlashEncryptionMode, NvsScheme

_MENU = "menuconfig, Security features"
_LOOKS_AT_THE_CLOCK = {(5, 5): 2, (6, 0): -1}
"""First patch release of each branch whose app aborts (components/esp_security/src/init.c); -1 for all of them."""
_CLOCK_MESSAGE = b"CPU frequency > 160MHz is not supported"


def _flash_encryption_built_in(subject: Subject) -> Iterator[Match]:
    if subject.policy.flash_encryption.enabled and not subject.build.config.enabled("SECURE_FLASH_ENC_ENABLED"):
        yield Match(
            "CONFIG_SECURE_FLASH_ENC_ENABLED",
            "the firmware is built without flash encryption: it boots, but its writes to encrypted partitions "
            "(OTA updates, OTA data) fail",
            f"set CONFIG_SECURE_FLASH_ENC_ENABLED=y ({_MENU}), which also turns NVS encryption on; "
            f"{_what_nvs_encryption_needs(subject)}and build again",
        )


def _what_nvs_encryption_needs(subject: Subject) -> str:
    """What the next run would ask for (SP028), or ESP-IDF's own check of NVS_SEC_HMAC_EFUSE_KEY_ID, said at once."""
    rows = subject.build.partitions.partitions
    if any(row.type == TYPE_DATA and row.subtype == DATA_NVS_KEYS for row in rows):
        return ""
    row = "add to the CSV: nvs_keys, data, nvs_keys, , 0x1000, encrypted"
    if subject.chip.facts.hmac:
        row += " (or choose the HMAC scheme, and set CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID to a free key block)"
    return row + ", "


def _secure_boot_built_in(subject: Subject) -> Iterator[Match]:
    if subject.policy.secure_boot.enabled and not subject.build.config.enabled("SECURE_BOOT_V2_ENABLED"):
        yield Match(
            "CONFIG_SECURE_BOOT",
            "the bootloader is built without secure boot: the ROM checks the bootloader, but nothing checks the app",
        )


def _same_mode(subject: Subject) -> Iterator[Match]:
    config, mode = subject.build.config, subject.policy.flash_encryption.mode
    built = FlashEncryptionMode.RELEASE if config.enabled("SECURE_FLASH_ENCRYPTION_MODE_RELEASE") else None
    built = FlashEncryptionMode.DEVELOPMENT if config.enabled("SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT") else built
    if built is not None and mode is not FlashEncryptionMode.OFF and built is not mode:
        yield Match(
            "CONFIG_SECURE_FLASH_ENCRYPTION_MODE",
            f"the firmware is built for {built.value} mode, the chip will be in {mode.value} mode",
            f"set CONFIG_SECURE_FLASH_ENCRYPTION_MODE_{mode.name}=y ({_MENU}) and build again, or leave "
            "flash_encryption.mode to sdkconfig",
        )


def _same_scheme(subject: Subject) -> Iterator[Match | Unseen]:
    config, policy = subject.build.config, subject.policy.secure_boot
    built, wanted = signature_scheme(config), policy.scheme
    in_software = subject.fleet is not None and signs_in_software(config)
    if built is None or not (policy.enabled or in_software):
        return
    if not wanted:
        yield Unseen("CONFIG_SECURE_SIGNED_APPS_SCHEME", "which signatures the boards verify is not recorded")
    elif built != wanted:
        yield Match(
            "CONFIG_SECURE_SIGNED_APPS_SCHEME",
            f"the firmware verifies {built} signatures, "
            + (f"the boards {wanted}" if subject.fleet else f"the profile wants {wanted}"),
        )


def _errata(subject: Subject) -> Iterator[Match]:
    policy, facts = subject.policy.secure_boot, subject.chip.facts
    if policy.enabled and policy.scheme in facts.schemes_with_errata:
        if not subject.build.config.enabled("SECURE_BOOT_V2_FORCE_ENABLE_ECDSA"):
            others = [scheme for scheme in facts.schemes if scheme not in facts.schemes_with_errata]
            yield Match(
                f"secure_boot.scheme: {policy.scheme}",
                f"by {subject.chip.name}'s errata, verifying {policy.scheme} signatures can fail or be bypassed",
                f"set secure_boot.scheme to {' or '.join(others)}, and the same in {_MENU}"
                if others
                else f"read the errata; set CONFIG_SECURE_BOOT_INSECURE=y first ({_MENU}: the next one is not in the "
                "menu without it), then CONFIG_SECURE_BOOT_V2_FORCE_ENABLE_ECDSA=y; or accept this code",
            )


def _built_config_differs(subject: Subject) -> Iterator[Match]:
    for difference in subject.build.config_differences:
        yield Match(
            f"CONFIG_{difference.name}",
            f"sdkconfig says {_shown(difference.sdkconfig)}, but the build was made with {_shown(difference.built)}; "
            "what was built counts here",
        )


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "y" if value else "n"
    return repr(value)


def _hmac_key_id(subject: Subject) -> Iterator[Match]:
    config, nvs = subject.build.config, subject.policy.nvs
    if nvs.scheme is not NvsScheme.HMAC:
        return
    if subject.fleet is not None and nvs_scheme(config) is not NvsScheme.HMAC:
        return  # SP095
    built = config.integer("NVS_SEC_HMAC_EFUSE_KEY_ID") if config.enabled("NVS_SEC_KEY_PROTECT_USING_HMAC") else None
    if built is not None and built == nvs.key_id:
        return
    planned = next((key.block.name for key in subject.plan.keys if key.role is KeyRole.NVS_HMAC), None)
    if planned is None:
        yield Match(
            "CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID",
            f"the firmware looks for the HMAC key in block {built if built is not None else '(not configured)'}, "
            "the plan burns none",
        )
        return
    number = planned.removeprefix("BLOCK_KEY")
    yield Match(
        "CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID",
        f"the firmware looks for the HMAC key in block {built if built is not None else '(not configured)'}, "
        f"the plan burns it into block {number} ({planned})"
        + ("" if nvs.key_id is not None else ", the first that is free"),
        f"set CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID={number} (menuconfig, NVS Security Provider) and build again; or name "
        "in nvs.key_id the block that the firmware looks in",
    )


def _nvs_scheme_works(subject: Subject) -> Iterator[Match]:
    policy = subject.policy
    if policy.nvs.scheme is not NvsScheme.FLASH_ENCRYPTION:
        return
    has_keys = any(p.type == TYPE_DATA and p.subtype == DATA_NVS_KEYS for p in subject.build.partitions.partitions)
    if not has_keys:
        yield Match(
            "partition table",
            "NVS encryption by flash encryption needs a partition of subtype nvs_keys, and there is none",
        )
    if not policy.flash_encryption.enabled:
        yield Match(
            "nvs.scheme",
            "the keys of NVS encryption would lie in flash in plaintext, because flash encryption is off",
            "turn flash encryption on (flash_encryption.mode: release), or set nvs.scheme: hmac",
        )


def _nvs_in_plaintext(subject: Subject) -> Iterator[Match]:
    if subject.policy.flash_encryption.release and subject.policy.nvs.scheme is NvsScheme.OFF:
        yield Match(
            "CONFIG_NVS_ENCRYPTION",
            "flash encryption does not cover NVS: Wi-Fi passwords and the like stay readable in flash",
            "set CONFIG_NVS_ENCRYPTION=y (menuconfig, Component config, NVS), "
            f"{_what_nvs_encryption_needs(subject)}and build again",
        )


def _virtual_efuses(subject: Subject) -> Iterator[Match]:
    if subject.build.config.enabled("EFUSE_VIRTUAL"):
        yield Match(
            "CONFIG_EFUSE_VIRTUAL",
            "the firmware looks at virtual eFuses instead of the real ones",
        )


def _clock_of_c5(subject: Subject) -> Iterator[Match]:
    # earlier versions of ESP-IDF than 6.1 leave 240 MHz on
    most = subject.chip.facts.encrypted_write_clock
    frequency = subject.build.config.integer("ESP_DEFAULT_CPU_FREQ_MHZ") or 0
    if most and subject.policy.flash_encryption.enabled and frequency > most:
        yield Match(
            "CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ",
            f"the CPU runs at {frequency} MHz: above {most} MHz an {subject.chip.name} can corrupt what it writes "
            "encrypted",
        )


def _is_new(subject: Subject) -> bool:
    return subject.fleet is None


def _starts_fast(subject: Subject) -> bool:
    """Whether the app does not look at its clock: an ESP-IDF that is known not to, and images without its message."""
    version = parse_idf_version(subject.build.idf_version)
    if version is None or version.has(_LOOKS_AT_THE_CLOCK):
        return False
    return not any(_CLOCK_MESSAGE in image.content for image in subject.images if image.role is Role.APP)


RULES = (
    Rule(
        "SP020",
        Severity.ERROR,
        "firmware is built without flash encryption",
        _flash_encryption_built_in,
        explanation="The chip will encrypt its flash, but the firmware was built without that feature. The ROM and "
        "the cache decrypt in hardware, so the app starts; but it has no code that writes encrypted. An update over "
        "the air, or the note in OTA data of which slot to start, is then written in plaintext and read back as "
        "noise, and the board is lost at its first update.",
        source="ESP-IDF components/spi_flash/esp_flash_api.c and components/esp_partition (encrypted writes); "
        "ESP-IDF issue 253",
        cure="set CONFIG_SECURE_FLASH_ENC_ENABLED=y (menuconfig, Security features) and build again",
        acceptable=_is_new,
        why="a new board runs until its first update over the air; boards in the field would take no other one",
        concerns=Concern.BOTH,
        stops_update="SE767",
        settings=(("SECURE_FLASH_ENC_ENABLED", True),),
    ),
    Rule(
        "SP021",
        Severity.ERROR,
        "firmware is built without secure boot",
        _secure_boot_built_in,
        explanation="Secure boot is a chain: the ROM verifies the bootloader, the bootloader verifies the app. The "
        "second link is code in the bootloader that exists only in a secure boot build. Without it any app starts, "
        "and updates are not verified either.",
        source="ESP-IDF components/bootloader_support/src/esp_image_format.c (verify_secure_boot_signature); issue "
        "13273",
        cure="set CONFIG_SECURE_BOOT=y and CONFIG_SECURE_BOOT_V2_ENABLED=y (menuconfig, Security features) and build "
        "again",
        acceptable=_is_new,
        why="ROM and bootloader still start the app; boards in the field would take no other update",
        concerns=Concern.BOTH,
        stops_update="SE767",
        settings=(
            ("SECURE_BOOT", True),
            ("SECURE_BOOT_V2_ENABLED", True),
        ),
    ),
    Rule(
        "SP022",
        Severity.WARNING,
        "firmware is built for another usage mode",
        _same_mode,
        explanation="The usage mode in sdkconfig and the one burned into eFuse differ. An app built for release on a "
        "chip in development mode prints at every start that the device is not secure, and with secure boot it makes "
        "flash encryption permanent on its own. The other way round the chip is as safe as planned, but the firmware "
        "still offers what development mode offers.",
        source="ESP-IDF issues 16116, 6166 and 15333; components/bootloader_support/src/flash_encrypt.c "
        "(esp_flash_encryption_init_checks)",
        cure="choose the same usage mode in menuconfig, Security features, or leave flash_encryption.mode to sdkconfig",
        concerns=Concern.BOTH,
    ),
    Rule(
        "SP024",
        Severity.ERROR,
        "firmware verifies another signature scheme",
        _same_scheme,
        explanation="The bootloader knows one signature scheme, the one it was built for. If the images are signed "
        "by another, the ROM may accept the bootloader, but the bootloader accepts no app, and the key digest is "
        "burned by then.",
        source="ESP-IDF components/bootloader_support/src/secure_boot_v2/secure_boot_signatures_bootloader.c",
        cure="choose one scheme in menuconfig (Security features, App Signing Scheme) and in secure_boot.scheme",
        acceptable=False,
        why="the bootloader accepts no app, or the app no further update",
        concerns=Concern.BOTH,
    ),
    Rule(
        "SP025",
        Severity.ERROR,
        "signature scheme with errata",
        _errata,
        explanation="On some chips the hardware that verifies ECDSA signatures has an erratum: a valid signature can "
        "be refused, or an invalid one accepted under attack. ESP-IDF therefore hides the scheme behind an option "
        "that says so. Where the chip has RSA, that is the way out; the ESP32-C61 has no other scheme.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT_V2_ECDSA_INSECURE); Espressif's errata "
        "documents",
        cure="use rsa3072 where the chip has it; else read the errata and accept this code in the profile",
        why="the board runs; the erratum is a risk that somebody may take, and the ESP32-C61 has no other scheme",
    ),
    Rule(
        "SP026",
        Severity.WARNING,
        "sdkconfig differs from what was built",
        _built_config_differs,
        explanation="The build directory records the configuration that was built. If sdkconfig has changed since, "
        "what you see in menuconfig is not what the binaries do. Everything here goes by what was built.",
        source="ESP-IDF manual, Build System: build/config/sdkconfig.json is written by the build, sdkconfig by "
        "menuconfig",
        cure="build again, so that both agree: idf.py build",
        concerns=Concern.BOTH,
    ),
    Rule(
        "SP027",
        Severity.ERROR,
        "HMAC key block is not the one the firmware uses",
        _hmac_key_id,
        explanation="The firmware takes the HMAC key of NVS encryption from the one block that its configuration "
        "names. If the plan burns the key into another block, the firmware finds none there: it makes a key of its "
        "own, or fails to open NVS because RD_DIS is write-protected by then.",
        source="ESP-IDF components/nvs_sec_provider/nvs_sec_provider.c; ESP-IDF issue 13909",
        cure="set CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID to the block that the plan has chosen (menuconfig, NVS Security "
        "Provider) and build again",
        why="the board runs; only NVS encryption fails",
        concerns=Concern.BOTH,
    ),
    Rule(
        "SP028",
        Severity.ERROR,
        "NVS encryption cannot work as configured",
        _nvs_scheme_works,
        explanation="With this scheme the keys of NVS encryption lie in a partition of their own, which flash "
        "encryption must cover. Without the partition nvs_flash_init() fails; without flash encryption the keys can "
        "be read with a cable.",
        source="ESP-IDF components/nvs_sec_provider/nvs_sec_provider.c; manual, NVS Encryption, flash "
        "encryption-based scheme",
        cure="add to the CSV: nvs_keys, data, nvs_keys, , 0x1000, encrypted",
        why="the board runs; only NVS encryption fails, or protects nothing",
    ),
    Rule(
        "SP029",
        Severity.WARNING,
        "NVS stays in plaintext",
        _nvs_in_plaintext,
        explanation="Flash encryption never covers NVS: its format writes single words, which encrypted flash "
        "cannot. Wi-Fi passwords, tokens and pairing keys in it can be read from the flash chip, unless NVS encrypts "
        "them itself.",
        source="ESP-IDF manual, Flash Encryption (limitations) and NVS Encryption; ESP-IDF issue 9549",
        cure="set CONFIG_NVS_ENCRYPTION=y (menuconfig, Component config, NVS) and build again",
        settings=(("NVS_ENCRYPTION", True),),
    ),
    Rule(
        "SP030",
        Severity.ERROR,
        "firmware uses virtual eFuses",
        _virtual_efuses,
        explanation="The option is for tests: bootloader and app read and write a copy of the eFuses in memory or in "
        "a partition. On a provisioned chip they then believe that flash encryption and secure boot are off, write "
        "plaintext, and verify nothing.",
        source="ESP-IDF components/efuse/Kconfig (EFUSE_VIRTUAL); components/efuse/src/esp_efuse_startup.c",
        cure="set CONFIG_EFUSE_VIRTUAL=n (menuconfig, Component config, eFuse Bit Manager) and build again",
        acceptable=False,
        why="on a closed chip the firmware verifies nothing and writes plaintext, which no update can undo",
        concerns=Concern.BOTH,
        settings=(("EFUSE_VIRTUAL", False),),
    ),
    Rule(
        "SP031",
        Severity.ERROR,
        "ESP32-C5 firmware runs too fast to write encrypted flash",
        _clock_of_c5,
        explanation="Above 160 MHz an ESP32-C5 can write wrong ciphertext: updates and data are damaged now and "
        "then. Later releases of ESP-IDF refuse to start such a combination, earlier ones do not look.",
        source="ESP-IDF components/esp_security/src/init.c; ESP32-C5 errata",
        cure="set CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ_160=y (menuconfig, Component config, ESP System Settings, CPU "
        "frequency) and build again",
        acceptable=_starts_fast,
        why="before ESP-IDF 5.5.2 the app starts, and its encrypted writes can fail; since then it aborts at every "
        "start",
        concerns=Concern.BOTH,
        settings=(("ESP_DEFAULT_CPU_FREQ_MHZ_160", True),),
    ),
)
