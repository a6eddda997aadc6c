# SPDX-License-Identifier: Apache-2.0
"""The sample's configuration, as ``config/sdkconfig.json`` has it and as the text of an sdkconfig.

It has the symbols that concern flash, revisions, partitions and security, with the values that the Kconfig files of
ESP-IDF (``components/bootloader/Kconfig.projbuild``, ``components/nvs_sec_provider/Kconfig``) give to such a choice.
"""

from __future__ import annotations

from collections.abc import Mapping

from secure_ext.chips.facts import chip_facts
from secure_ext.sample.chip_facts import capabilities, sample_chip
from secure_ext.sample.options import SampleOptions

_FLASH_SIZES = ("1MB", "2MB", "4MB", "8MB", "16MB", "32MB", "64MB", "128MB")
_FULL_VERSION = {"6.1": "6.1.0", "5.0": "5.0.2"}
_HEXADECIMAL = ("BOOTLOADER_OFFSET_IN_FLASH", "PARTITION_TABLE_OFFSET", "MMU_PAGE_SIZE")
_ESP32_SECURE_BOOT_V2_REVISION = 300


def min_revision_of(chip: str, options: SampleOptions) -> int:
    """The least chip revision of the sample, as major * 100 + minor."""
    if options.min_revision is not None:
        return options.min_revision
    if chip == "esp32" and options.secure_boot:
        return _ESP32_SECURE_BOOT_V2_REVISION
    return sample_chip(chip).min_revision


def max_revision_of(chip: str, options: SampleOptions) -> int:
    """The greatest chip revision of the sample, likewise."""
    return sample_chip(chip).max_revision if options.app.max_revision is None else options.app.max_revision


def config_of(chip: str, options: SampleOptions) -> dict[str, object]:
    """All symbols of the sample without ``CONFIG_``, sorted; `SampleOptions.config` has the last word."""
    symbols = capabilities(chip)
    symbols |= _general(chip, options)
    symbols |= _secure_boot(chip, options, symbols)
    symbols |= _flash_encryption(options, symbols)
    symbols |= _nvs(chip, options, symbols)
    symbols |= _download_mode(options, symbols)
    symbols |= options.config
    return dict(sorted(symbols.items()))


def sdkconfig_text(symbols: Mapping[str, object], layout: str) -> str:
    """The symbols as the text of an sdkconfig, with its heading."""
    version = f" {_FULL_VERSION[layout]}" if layout != "5.0" else ""
    heading = (
        "#\n# Automatically generated file. DO NOT EDIT.\n"
        f"# Espressif IoT Development Framework (ESP-IDF){version} Project Configuration\n#\n"
    )
    return heading + "".join(_line(name, value) for name, value in symbols.items())


def _line(name: str, value: object) -> str:
    if value is True:
        return f"CONFIG_{name}=y\n"
    if value is False:
        return f"# CONFIG_{name} is not set\n"
    if isinstance(value, int):
        return f"CONFIG_{name}={hex(value) if name in _HEXADECIMAL else value}\n"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'CONFIG_{name}="{text}"\n'


def _general(chip: str, options: SampleOptions) -> dict[str, object]:
    facts = sample_chip(chip)
    revision = min_revision_of(chip, options)
    symbols: dict[str, object] = {
        "IDF_TARGET": chip,
        f"IDF_TARGET_{chip.upper()}": True,
        "APP_BUILD_TYPE_APP_2NDBOOT": True,
        "APP_BUILD_GENERATE_BINARIES": True,
        "APP_BUILD_BOOTLOADER": True,
        "APP_BUILD_USE_FLASH_SECTIONS": True,
        "BOOTLOADER_OFFSET_IN_FLASH": facts.bootloader_offset,
        "BOOTLOADER_APP_ROLLBACK_ENABLE": False,
        "FREERTOS_UNICORE": chip_facts(chip).cores == 1,
        "ESPTOOLPY_FLASHMODE": "dio",
        "ESPTOOLPY_FLASHFREQ": facts.flash_frequency,
        "ESPTOOLPY_FLASHSIZE": options.flash_size,
        "ESPTOOLPY_HEADER_FLASHSIZE_UPDATE": False,
        "MMU_PAGE_MODE": "64KB",
        "MMU_PAGE_SIZE": 0x10000,
        "MMU_PAGE_SIZE_64KB": True,
        "PARTITION_TABLE_CUSTOM": True,
        "PARTITION_TABLE_CUSTOM_FILENAME": "partitions.csv",
        "PARTITION_TABLE_FILENAME": "partitions.csv",
        "PARTITION_TABLE_MD5": True,
        "PARTITION_TABLE_OFFSET": options.table_offset,
        f"{chip.upper()}_REV_MIN_FULL": revision,
        f"{chip.upper()}_REV_MAX_FULL": max_revision_of(chip, options),
        "ESP_REV_MIN_FULL": revision,
        "ESP_REV_MAX_FULL": max_revision_of(chip, options),
    }
    symbols |= {f"ESPTOOLPY_FLASHSIZE_{size}": size == options.flash_size for size in _FLASH_SIZES}
    if options.layout != "5.0":
        symbols["IDF_INIT_VERSION"] = _FULL_VERSION[options.layout]
    return symbols


def _secure_boot(chip: str, options: SampleOptions, symbols: Mapping[str, object]) -> dict[str, object]:
    rsa = "SOC_SECURE_BOOT_V2_RSA" in symbols or (
        chip == "esp32" and min_revision_of(chip, options) >= _ESP32_SECURE_BOOT_V2_REVISION
    )
    ecc = "SOC_SECURE_BOOT_V2_ECC" in symbols
    supported: dict[str, object] = {}
    if rsa:
        supported["SECURE_BOOT_V2_RSA_SUPPORTED"] = True
    if ecc:
        supported["SECURE_BOOT_V2_ECC_SUPPORTED"] = True
    if not options.secure_boot:
        return {**supported, "SECURE_BOOT": False, "SECURE_SIGNED_APPS_NO_SECURE_BOOT": False}
    scheme = options.scheme or ("rsa3072" if rsa else "ecdsa256")
    has_errata = scheme in chip_facts(chip).schemes_with_errata
    chosen: dict[str, object] = {
        "SECURE_BOOT": True,
        "SECURE_BOOT_V2_ENABLED": True,
        "SECURE_BOOT_V2_RSA_ENABLED": rsa,
        "SECURE_BOOT_V2_ECDSA_ENABLED": ecc,
        "SECURE_SIGNED_APPS": True,
        "SECURE_SIGNED_ON_BOOT": True,
        "SECURE_SIGNED_ON_UPDATE": True,
        "SECURE_SIGNED_APPS_RSA_SCHEME": scheme == "rsa3072",
        "SECURE_SIGNED_APPS_ECDSA_V2_SCHEME": scheme != "rsa3072",
        "SECURE_BOOT_BUILD_SIGNED_BINARIES": False,
        "SECURE_BOOT_FLASH_BOOTLOADER_DEFAULT": False,
        "SECURE_BOOT_INSECURE": has_errata,
        "SECURE_BOOT_V2_ALLOW_EFUSE_RD_DIS": False,
    }
    if has_errata:
        chosen["SECURE_BOOT_V2_FORCE_ENABLE_ECDSA"] = True
    if scheme != "rsa3072":
        chosen["SECURE_BOOT_ECDSA_KEY_LEN_256_BITS"] = scheme == "ecdsa256"
        chosen["SECURE_BOOT_ECDSA_KEY_LEN_384_BITS"] = scheme == "ecdsa384"
    if "SOC_SUPPORT_SECURE_BOOT_REVOKE_KEY" in symbols:
        chosen["SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE"] = False
    return supported | chosen


def _flash_encryption(options: SampleOptions, symbols: Mapping[str, object]) -> dict[str, object]:
    if options.flash_encryption == "off":
        return {"SECURE_FLASH_ENC_ENABLED": False}
    release = options.flash_encryption == "release"
    chosen: dict[str, object] = {
        "SECURE_FLASH_ENC_ENABLED": True,
        "SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT": not release,
        "SECURE_FLASH_ENCRYPTION_MODE_RELEASE": release,
        "SECURE_FLASH_CHECK_ENC_EN_IN_APP": True,
        "SECURE_FLASH_ENCRYPT_ONLY_IMAGE_LEN_IN_APP_PART": True,
    }
    if not release:
        chosen["SECURE_FLASH_REQUIRE_ALREADY_ENABLED"] = False
        chosen["SECURE_FLASH_UART_BOOTLOADER_ALLOW_ENC"] = True
        chosen["SECURE_FLASH_UART_BOOTLOADER_ALLOW_CACHE"] = False
    if "SOC_KEY_MANAGER_SUPPORTED" in symbols:
        chosen["SECURE_FLASH_ENCRYPTION_KEY_SOURCE_EFUSES"] = True
        chosen["SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR"] = False
    if "SOC_FLASH_ENCRYPTION_XTS_AES_OPTIONS" in symbols:
        # The ESP32-C2 keeps its key and the secure boot digest in one key block: no room for the longer key.
        derived = "SOC_FLASH_ENCRYPTION_XTS_AES_128_DERIVED" in symbols and options.secure_boot
        chosen["SECURE_FLASH_ENCRYPTION_AES128"] = not derived
        if "SOC_FLASH_ENCRYPTION_XTS_AES_128_DERIVED" in symbols:
            chosen["SECURE_FLASH_ENCRYPTION_AES128_DERIVED"] = derived
        if "SOC_FLASH_ENCRYPTION_XTS_AES_256" in symbols:
            chosen["SECURE_FLASH_ENCRYPTION_AES256"] = False
    if "SOC_FLASH_ENCRYPTION_XTS_AES_SUPPORT_PSEUDO_ROUND" in symbols:
        chosen["SECURE_FLASH_PSEUDO_ROUND_FUNC"] = release
        if release:
            chosen["SECURE_FLASH_PSEUDO_ROUND_FUNC_STRENGTH_LOW"] = True
            chosen["SECURE_FLASH_PSEUDO_ROUND_FUNC_STRENGTH"] = 1
    return chosen


def _nvs(chip: str, options: SampleOptions, symbols: Mapping[str, object]) -> dict[str, object]:
    hmac = "SOC_HMAC_SUPPORTED" in symbols
    if options.flash_encryption == "off":
        return {"NVS_ENCRYPTION": False} if hmac else {}
    chosen: dict[str, object] = {"NVS_ENCRYPTION": True, "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC": not hmac}
    if hmac:
        chosen["NVS_SEC_KEY_PROTECT_USING_HMAC"] = True
        # the last key block, which on some chips cannot hold a flash encryption key anyway
        chosen["NVS_SEC_HMAC_EFUSE_KEY_ID"] = 4 if chip == "esp32s31" else 5
    return chosen


def _download_mode(options: SampleOptions, symbols: Mapping[str, object]) -> dict[str, object]:
    secure = "SOC_SUPPORTS_SECURE_DL_MODE" in symbols
    closed = options.flash_encryption != "development"
    symbols_out: dict[str, object] = {"SECURE_ROM_DL_MODE_ENABLED": True} if secure and closed else {}
    offered = options.secure_boot or options.flash_encryption != "off"
    if not offered or ("IDF_TARGET_ESP32" in symbols and not _is_esp32_rev3(symbols)):
        return symbols_out
    # Without a secure mode ESP-IDF leaves the download mode open; the sample is a project that has thought of it.
    symbols_out["SECURE_DISABLE_ROM_DL_MODE"] = closed and not secure
    if secure:
        symbols_out["SECURE_ENABLE_SECURE_ROM_DL_MODE"] = closed
    symbols_out["SECURE_INSECURE_ALLOW_DL_MODE"] = not closed
    return symbols_out


def _is_esp32_rev3(symbols: Mapping[str, object]) -> bool:
    revision = symbols["ESP_REV_MIN_FULL"]
    return isinstance(revision, int) and revision >= _ESP32_SECURE_BOOT_V2_REVISION
