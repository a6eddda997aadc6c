"""The settings of the build that decide how its firmware starts, and what its updates must be like, raw."""

from __future__ import annotations

from secure_ext.project.sdkconfig import SdkConfig, Value

SETTINGS = (
    "BOOTLOADER_APP_ANTI_ROLLBACK",
    "BOOTLOADER_APP_ROLLBACK_ENABLE",
    "BOOTLOADER_APP_SECURE_VERSION",
    "BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD",
    "BOOT_ROM_LOG_ALWAYS_OFF",
    "BOOT_ROM_LOG_ON_GPIO_HIGH",
    "BOOT_ROM_LOG_ON_GPIO_LOW",
    "EFUSE_VIRTUAL",
    "EFUSE_VIRTUAL_KEEP_IN_FLASH",
    "ESPTOOLPY_FLASH_MODE_AUTO_DETECT",
    "ESPTOOLPY_OCT_FLASH",
    "ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL",
    "ESP_DEFAULT_CPU_FREQ_MHZ",
    "ESP_ECDSA_ENABLE_P192_CURVE",
    "ESP_SYSTEM_SINGLE_CORE_MODE",
    "FREERTOS_UNICORE",
    "MMU_PAGE_SIZE",
    "NVS_COMPATIBLE_PRE_V4_3_ENCRYPTION_FLAG",
    "NVS_ENCRYPTION",
    "NVS_SEC_HMAC_EFUSE_KEY_ID",
    "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC",
    "NVS_SEC_KEY_PROTECT_USING_HMAC",
    "PARTITION_TABLE_MD5",
    "PARTITION_TABLE_OFFSET",
    "SECURE_BOOT",
    "SECURE_BOOT_ECDSA_KEY_LEN_192_BITS",
    "SECURE_BOOT_ECDSA_KEY_LEN_256_BITS",
    "SECURE_BOOT_ECDSA_KEY_LEN_384_BITS",
    "SECURE_BOOT_REQUIRE_ALREADY_ENABLED",
    "SECURE_BOOT_V2_ENABLED",
    "SECURE_DISABLE_ROM_DL_MODE",
    "SECURE_ENABLE_SECURE_ROM_DL_MODE",
    "SECURE_ENABLE_TEE",
    "SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR",
    "SECURE_FLASH_ENC_ENABLED",
    "SECURE_FLASH_REQUIRE_ALREADY_ENABLED",
    "SECURE_SIGNED_APPS_ECDSA_V2_SCHEME",
    "SECURE_SIGNED_APPS_NO_SECURE_BOOT",
    "SECURE_SIGNED_APPS_RSA_SCHEME",
    "SECURE_SIGNED_ON_UPDATE_NO_SECURE_BOOT",
    "SECURE_TEE_DRAM_SIZE",
    "SECURE_TEE_DROM_SIZE",
    "SECURE_TEE_INTR_STACK_SIZE",
    "SECURE_TEE_IRAM_SIZE",
    "SECURE_TEE_IROM_SIZE",
    "SECURE_TEE_STACK_SIZE",
    "SPIFFS_META_LENGTH",
    "SPIFFS_OBJ_NAME_LEN",
    "SPIFFS_PAGE_SIZE",
    "SPIFFS_USE_MAGIC",
    "SPIFFS_USE_MAGIC_LENGTH",
    "WL_SECTOR_SIZE",
)
"""Kconfig symbols without ``CONFIG_``: what bootloader and app compare with eFuses and flash, and what an update of the
boards must have in common with the firmware that they were made with."""


def firmware_settings(config: SdkConfig) -> dict[str, Value]:
    """Those of `SETTINGS` that the build's configuration has."""
    return {name: config.values[name] for name in SETTINGS if config.defines(name)}
