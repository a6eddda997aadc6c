# SPDX-License-Identifier: Apache-2.0
"""A configured project whose ESP-IDF is a few Kconfig files: the menus and the traps of the real ones, no more."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from secure_ext.station.chip_facts import FACTS

KCONFIG = """\
mainmenu "small"

config IDF_TARGET
    string
    default "$IDF_TARGET"

config SOC_SECURE_BOOT_SUPPORTED
    bool
    default y if "$IDF_TARGET" != "esp32h4"

config SOC_FLASH_ENC_SUPPORTED
    bool
    default y

config SOC_HMAC_SUPPORTED
    bool
    default y if "$IDF_TARGET" != "esp32" && "$IDF_TARGET" != "esp32c2" && "$IDF_TARGET" != "esp32h4"

config SOC_SUPPORTS_SECURE_DL_MODE
    bool
    default y if "$IDF_TARGET" != "esp32"

config RSA_SUPPORTED
    bool
    default y if ("$IDF_TARGET" = "esp32" && ESP32_REV_MIN_FULL >= 300) || "$IDF_TARGET" = "esp32c3"

config ECC_SUPPORTED
    bool
    default y if "$IDF_TARGET" = "esp32c2" || "$IDF_TARGET" = "esp32c61"

config SECURE_BOOT_V2_ECDSA_INSECURE
    bool
    default y if "$IDF_TARGET" = "esp32c61"

choice ESP32_REV_MIN
    prompt "Minimum revision"
    default ESP32_REV_MIN_0

    config ESP32_REV_MIN_0
        bool "v0.0"
    config ESP32_REV_MIN_3
        bool "v3.0"
endchoice

config ESP32_REV_MIN_FULL
    int
    default 300 if ESP32_REV_MIN_3
    default 0

config ESPTOOLPY_FLASHSIZE
    string "flash size"
    default "4MB"

config BOOTLOADER_LOG_LEVEL
    int "log level"
    default 3

menu "Security features"
config SECURE_BOOT
    bool "secure boot"
    default n
    depends on SOC_SECURE_BOOT_SUPPORTED

choice SECURE_BOOT_VERSION
    prompt "version"
    depends on SECURE_BOOT
    default SECURE_BOOT_V2_ENABLED

    config SECURE_BOOT_V2_ENABLED
        bool "2"
endchoice

config SECURE_BOOT_INSECURE
    bool "allow insecure options"
    depends on SECURE_BOOT

config SECURE_BOOT_V2_FORCE_ENABLE_ECDSA
    bool "force"
    depends on SECURE_BOOT_INSECURE && SECURE_BOOT_V2_ECDSA_INSECURE

choice SECURE_SIGNED_APPS_SCHEME
    prompt "scheme"
    depends on SECURE_BOOT

    config SECURE_SIGNED_APPS_RSA_SCHEME
        bool "RSA"
        depends on RSA_SUPPORTED
    config SECURE_SIGNED_APPS_ECDSA_V2_SCHEME
        bool "ECDSA"
        depends on ECC_SUPPORTED && (!SECURE_BOOT_V2_ECDSA_INSECURE || SECURE_BOOT_V2_FORCE_ENABLE_ECDSA)
endchoice

choice SECURE_BOOT_ECDSA_KEY_LEN_SIZE
    prompt "curve"
    depends on SECURE_SIGNED_APPS_ECDSA_V2_SCHEME

    config SECURE_BOOT_ECDSA_KEY_LEN_256_BITS
        bool "256"
endchoice

config SECURE_BOOT_BUILD_SIGNED_BINARIES
    bool "the build signs"
    depends on SECURE_BOOT
    default y

config SECURE_BOOT_SIGNING_KEY
    string "key"
    depends on SECURE_BOOT_BUILD_SIGNED_BINARIES
    default "secure_boot_signing_key.pem"

config SECURE_FLASH_ENC_ENABLED
    bool "flash encryption"
    default n

choice SECURE_FLASH_ENCRYPTION_KEYSIZE
    prompt "size"
    depends on SECURE_FLASH_ENC_ENABLED && "$IDF_TARGET" = "esp32c2"
    default SECURE_FLASH_ENCRYPTION_AES128

    config SECURE_FLASH_ENCRYPTION_AES128_DERIVED
        bool "derived"
    config SECURE_FLASH_ENCRYPTION_AES128
        bool "128"
        depends on !SECURE_BOOT
endchoice

choice SECURE_FLASH_ENCRYPTION_MODE
    prompt "mode"
    depends on SECURE_FLASH_ENC_ENABLED
    default SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT

    config SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT
        bool "development"
        select EXAMPLE_IS_FORCED
    config SECURE_FLASH_ENCRYPTION_MODE_RELEASE
        bool "release"
endchoice

config EXAMPLE_IS_FORCED
    bool

config EFUSE_VIRTUAL
    bool "eFuses in RAM"

choice SECURE_UART_ROM_DL_MODE
    prompt "download mode"
    depends on SECURE_BOOT || SECURE_FLASH_ENC_ENABLED
    depends on !("$IDF_TARGET" = "esp32" && ESP32_REV_MIN_FULL < 300)
    default SECURE_INSECURE_ALLOW_DL_MODE

    config SECURE_DISABLE_ROM_DL_MODE
        bool "disabled"
    config SECURE_ENABLE_SECURE_ROM_DL_MODE
        bool "secure"
        depends on SOC_SUPPORTS_SECURE_DL_MODE
    config SECURE_INSECURE_ALLOW_DL_MODE
        bool "open"
endchoice
endmenu

choice PARTITION_TABLE_TYPE
    prompt "table"
    default PARTITION_TABLE_TWO_OTA

    config PARTITION_TABLE_TWO_OTA
        bool "two OTA"
    config PARTITION_TABLE_CUSTOM
        bool "custom"
endchoice

config PARTITION_TABLE_CUSTOM_FILENAME
    string "file" if PARTITION_TABLE_CUSTOM
    default "partitions.csv"

config PARTITION_TABLE_FILENAME
    string
    default "partitions_two_ota.csv" if PARTITION_TABLE_TWO_OTA
    default PARTITION_TABLE_CUSTOM_FILENAME if PARTITION_TABLE_CUSTOM

config PARTITION_TABLE_OFFSET
    hex "offset"
    default 0x8000

source "$COMPONENT_KCONFIGS_SOURCE_FILE"
"""
NVS = """\
config NVS_ENCRYPTION
    bool "NVS encryption"
    depends on SECURE_FLASH_ENC_ENABLED || SOC_HMAC_SUPPORTED
    default y if SECURE_FLASH_ENC_ENABLED
"""
NVS_PROVIDER = """\
choice NVS_SEC_KEY_PROTECTION_SCHEME
    prompt "NVS keys"
    depends on NVS_ENCRYPTION

    config NVS_SEC_KEY_PROTECT_USING_FLASH_ENC
        bool "flash encryption"
        depends on SECURE_FLASH_ENC_ENABLED
    config NVS_SEC_KEY_PROTECT_USING_HMAC
        bool "HMAC"
        depends on SOC_HMAC_SUPPORTED
endchoice

config NVS_SEC_HMAC_EFUSE_KEY_ID
    int "key block"
    depends on NVS_SEC_KEY_PROTECT_USING_HMAC
    range 0 6
    default 6
"""
TWO_OTA = """\
# Name,   Type, SubType, Offset,  Size, Flags
nvs,      data, nvs,     ,        0x4000,
otadata,  data, ota,     ,        0x2000,
ota_0,    app,  ota_0,   ,        1M,
ota_1,    app,  ota_1,   ,        1M,
"""
# ESP-IDF's generator in a few lines: places rows one behind the other, and refuses what overlaps.
GENERATOR = f"""\
import sys
sys.path[:0] = {sys.path!r}
from secure_ext.configure.partition_csv import rows_of
from secure_ext.formats.partition_table import Partition
from secure_ext.formats.partition_table import build_partition_table
words = sys.argv[1:]
offset = int(words[words.index("--offset") + 1], 0)
place, made = offset + 0x1000, []
SUBTYPES = dict(nvs=2, ota=0, nvs_keys=4, ota_0=0x10, ota_1=0x11, factory=0, spiffs=0x82, phy=1)
for row in rows_of(open(words[-2], encoding="utf-8").read()):
    kind = int(row.fields[1] == "data")
    size = row.fields[4].replace("M", "*0x100000").replace("K", "*0x400")
    align = 0x1000 if kind else 0x10000
    start = int(row.offset, 0) if row.offset else -(-place // align) * align
    if start < place:
        sys.exit(f"Error at {{row.name}}: overlaps")
    place = start + eval(size)
    if place > 0x400000:
        sys.exit("Partitions tables occupies too much flash")
    made.append(Partition(row.name, kind, SUBTYPES[row.fields[2]], start, eval(size), int("encrypted" in row.flags)))
open(words[-1], "wb").write(build_partition_table(tuple(made)))
"""


def make_project(
    folder: Path, chip: str = "esp32c3", *, components: tuple[str, ...] = (NVS, NVS_PROVIDER), csv: str | None = None
) -> Path:
    """Makes project and ESP-IDF, as ``idf.py reconfigure`` leaves them; returns the project."""
    assert chip in FACTS
    project, idf = folder / "project", folder / "esp-idf"
    tables, build = idf / "components" / "partition_table", project / "build"
    tables.mkdir(parents=True)
    (build / "config").mkdir(parents=True)
    (idf / "Kconfig").write_text(KCONFIG, encoding="utf-8")
    (tables / "partitions_two_ota.csv").write_text(TWO_OTA, encoding="utf-8")
    (tables / "gen_esp32part.py").write_text(GENERATOR, encoding="utf-8")
    (build / "kconfigs.in").write_text("\n".join(components), encoding="utf-8")
    environment = {
        "IDF_TARGET": chip,
        "IDF_PATH": str(idf),
        "COMPONENT_KCONFIGS_SOURCE_FILE": str(build / "kconfigs.in"),
    }
    (build / "config.env").write_text(json.dumps(environment), encoding="utf-8")
    description = {
        "project_path": str(project),
        "build_dir": str(build),
        "config_file": str(project / "sdkconfig"),
        "target": chip,
    }
    (build / "project_description.json").write_text(json.dumps(description), encoding="utf-8")
    sdkconfig = "#\n# Automatically generated file. DO NOT EDIT.\n#\nCONFIG_BOOTLOADER_LOG_LEVEL=3\n"
    if csv is not None:
        (project / "table.csv").write_text(csv, encoding="utf-8")
        sdkconfig += 'CONFIG_PARTITION_TABLE_CUSTOM=y\nCONFIG_PARTITION_TABLE_CUSTOM_FILENAME="table.csv"\n'
    (project / "sdkconfig").write_text(sdkconfig, encoding="utf-8")
    return project
