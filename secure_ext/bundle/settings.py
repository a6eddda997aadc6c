"""The settings of the build that decide how its firmware starts, as the manifest has them: raw, to be judged by."""

from __future__ import annotations

from secure_ext.project.sdkconfig import SdkConfig, Value

SETTINGS = (
    "BOOT_ROM_LOG_ALWAYS_OFF",
    "BOOT_ROM_LOG_ON_GPIO_HIGH",
    "BOOT_ROM_LOG_ON_GPIO_LOW",
    "BOOTLOADER_APP_ANTI_ROLLBACK",
    "BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD",
    "EFUSE_VIRTUAL",
    "ESPTOOLPY_FLASH_MODE_AUTO_DETECT",
    "ESPTOOLPY_OCT_FLASH",
    "ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL",
    "ESP_DEFAULT_CPU_FREQ_MHZ",
    "ESP_ECDSA_ENABLE_P192_CURVE",
    "ESP_SYSTEM_SINGLE_CORE_MODE",
    "FREERTOS_UNICORE",
    "SECURE_BOOT",
    "SECURE_BOOT_ECDSA_KEY_LEN_384_BITS",
    "SECURE_BOOT_REQUIRE_ALREADY_ENABLED",
    "SECURE_BOOT_V2_ENABLED",
    "SECURE_DISABLE_ROM_DL_MODE",
    "SECURE_ENABLE_SECURE_ROM_DL_MODE",
    "SECURE_FLASH_ENC_ENABLED",
    "SECURE_FLASH_ENCRYPTION_MODE_RELEASE",
    "SECURE_FLASH_REQUIRE_ALREADY_ENABLED",
    "SECURE_SIGNED_APPS_ECDSA_V2_SCHEME",
    "SECURE_SIGNED_APPS_RSA_SCHEME",
    "SECURE_SIGNED_ON_UPDATE_NO_SECURE_BOOT",
    "SPI_FLASH_SIZE_OVERRIDE",
)
"""Kconfig symbols without ``CONFIG_``: what bootloader and app compare with eFuses and flash at every start."""


def firmware_settings(config: SdkConfig) -> dict[str, Value]:
    """Those of `SETTINGS` that the build's configuration has."""
    return {name: config.values[name] for name in SETTINGS if config.defines(name)}
