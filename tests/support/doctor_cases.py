# SPDX-License-Identifier: Apache-2.0
"""For each rule of the doctor a sample build and a profile in which it finds something."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

from secure_ext.doctor.decide import Decision
from secure_ext.doctor.rule import Making
from secure_ext.formats.partition_table import (
    FLAG_ENCRYPTED,
    TYPE_APP,
    TYPE_DATA,
    Partition,
)
from secure_ext.sample.options import AppFacts
from support.doctor_case import (
    ANTI_ROLLBACK,
    BEHIND_STORAGE,
    BOTH,
    DISABLED,
    ENCRYPTED,
    FAR_APPS,
    FAR_STORAGE,
    IDENTITY,
    KEY,
    LOCKED_DOWNLOAD_MODE,
    MORE_NVS,
    P192,
    PLAIN,
    READABLE,
    RECOVERY,
    SECOND_BOOTLOADER,
    SECURE_CERT,
    SIGNED,
    STORAGE,
    TEE_KEY,
    UNSIGNED_APP,
    WITHOUT_NVS_KEYS,
    Case,
    app_of_another_chip,
    append_data,
    authority,
    beside_profile,
    bootloader_of,
    built_with,
    edit_json,
    examine_case,
    expose_key,
    identity_place,
    move_data_to,
    nvs_csv,
    nvs_image,
    rows,
    sign_app,
    sign_app_with_another_key,
    signing_key,
    without_md5,
)

JTAG_KEY = {"jtag": {"purpose": "HMAC_DOWN_JTAG", "key": "generate"}}
CASES: dict[str, Case] = {
    "SP001": Case(BOTH | {"table_offset": 0x8000}, change=bootloader_of(0xAE00)),
    "SP002": Case(BOTH | {"data_images": {"storage": bytes(0x100001)}}),
    "SP003": Case(BOTH | {"data_images": {"nvs": bytes(0x6800)}}),
    "SP004": Case(BOTH | {"flash_size": "2MB", "data_images": {"storage": b"data"}}),
    "SP005": Case(BOTH | {"flash_size": "2MB"}),
    "SP006": Case(BOTH | {"partitions": rows(Partition("late", TYPE_DATA, 0x40, STORAGE + 0x1000, 0x1000))}),
    "SP007": Case(BOTH, change=move_data_to(hex(STORAGE + 0x800))),
    "SP008": Case(
        BOTH, change=edit_json("flasher_args.json", lambda args: args["flash_settings"].update(flash_size="detect"))
    ),
    "SP009": Case(BOTH | {"table_offset": 0x20000}, chip="esp32", change=bootloader_of(0xC800, "esp32", 300)),
    "SP010": Case(BOTH, change=app_of_another_chip),
    "SP011": Case(PLAIN, {"secure_boot": {"enabled": True}}),
    "SP012": Case(BOTH, change=sign_app),
    "SP013": Case(ENCRYPTED, change=sign_app),
    "SP014": Case(ENCRYPTED | {"config": UNSIGNED_APP}),
    "SP020": Case(SIGNED, {"flash_encryption": {"mode": "release"}}),
    "SP021": Case(ENCRYPTED, {"secure_boot": {"enabled": True}}),
    "SP022": Case(BOTH, {"flash_encryption": {"mode": "development"}}),
    "SP023": Case(BOTH, {"flash_encryption": {"mode": "off"}}),
    "SP024": Case(BOTH, {"secure_boot": {"scheme": "ecdsa256"}}, chip="esp32c6"),
    "SP025": Case(
        BOTH | {"scheme": "ecdsa256", "config": {"SECURE_BOOT_V2_FORCE_ENABLE_ECDSA": False}}, chip="esp32h2"
    ),
    "SP026": Case(
        BOTH, change=edit_json("config/sdkconfig.json", lambda values: values.update(SECURE_BOOT_INSECURE=True))
    ),
    "SP027": Case(BOTH, {"nvs": {"scheme": "hmac", "key_id": 4}}),
    "SP028": Case(BOTH | {"partitions": rows(without=("nvs_keys",))}, {"nvs": {"scheme": "flash-encryption"}}),
    "SP029": Case(BOTH, {"nvs": {"scheme": "off"}}),
    "SP030": Case(BOTH | {"config": {"EFUSE_VIRTUAL": True}}),
    "SP031": Case(BOTH | {"config": {"ESP_DEFAULT_CPU_FREQ_MHZ": 240}}, chip="esp32c5"),
    "SP032": Case(BOTH, {"secure_boot": {"revoke_unused": False}}),
    "SP033": Case(
        {"flash_encryption": "development", "secure_boot": True}
        | {"config": {"SECURE_FLASH_REQUIRE_ALREADY_ENABLED": True}},
        {"flash_encryption": {"mode": "off"}},
    ),
    "SP034": Case(BOTH, {"nvs": {"scheme": "off"}}),
    "SP035": Case(ENCRYPTED | {"config": {"BOOTLOADER_SKIP_VALIDATE_ALWAYS": True}}),
    "SP036": Case(
        BOTH | {"config": {"SECURE_BOOT_INSECURE": True, "SECURE_BOOT_ALLOW_JTAG": True}},
        {"lockdown": {"jtag": "disabled"}},
    ),
    "SP037": Case(
        BOTH | {"config": {"BOOTLOADER_APP_ROLLBACK_ENABLE": True}, "partitions": rows(without=("otadata",))}
    ),
    "SP038": Case(
        BOTH | {"config": ANTI_ROLLBACK, "partitions": rows(Partition("factory", TYPE_APP, 0, BEHIND_STORAGE, 0x40000))}
    ),
    "SP039": Case(BOTH | {"config": ANTI_ROLLBACK | {"BOOTLOADER_APP_SECURE_VERSION": 17}}),
    "SP040": Case(ENCRYPTED),
    "SP041": Case({"flash_encryption": "development"}),
    "SP042": Case(BOTH, {"lockdown": {"jtag": "open"}}),
    "SP043": Case(BOTH, {"lockdown": {"download_mode": "open"}}),
    "SP044": Case(BOTH, {"flash_encryption": {"pseudo_round": 0}}, chip="esp32h2"),
    "SP045": Case(BOTH, {"secure_boot": {"aggressive_revoke": True}}),
    "SP046": Case(BOTH, {"secure_boot": {"revoke_unused": False}}),
    "SP047": Case(BOTH, chip="esp32p4"),
    "SP048": Case(BOTH, chip="esp32h21"),
    "SP049": Case(BOTH | {"min_revision": 0}),
    "SP050": Case(BOTH, chip="esp32h2"),
    "SP051": Case(BOTH | {"config": {"SOC_EFUSE_DIS_BOOT_REMAP": True}}),
    "SP052": Case(BOTH, {"lockdown": {"rom_basic": "open"}}, chip="esp32"),
    "SP053": Case({"flash_encryption": "development", "config": {"SECURE_FLASH_UART_BOOTLOADER_ALLOW_CACHE": True}}),
    "SP054": Case(BOTH, {"secure_boot": {"keep_read_protection_writable": True}}),
    "SP055": Case(ENCRYPTED | {"config": ANTI_ROLLBACK}),
    "SP056": Case(BOTH | {"config": {"BOOTLOADER_LOG_LEVEL": 5}}),
    "SP057": Case(BOTH | {"config": {"ESP_SYSTEM_GDBSTUB_RUNTIME": True}}),
    "SP058": Case(BOTH | {"config": {"ESP_COREDUMP_ENABLE_TO_UART": True}}),
    "SP059": Case(
        BOTH
        | {"config": {"BOOTLOADER_APP_TEST": True}}
        | {"partitions": rows(Partition("test", TYPE_APP, 0x20, BEHIND_STORAGE, 0x40000))}
    ),
    "SP060": Case(BOTH | {"partitions": rows(Partition("nvs", TYPE_DATA, 2, 0xD000, 0x6000, FLAG_ENCRYPTED))}),
    "SP061": Case(
        BOTH | {"partitions": rows(Partition("storage", TYPE_DATA, 0x82, STORAGE, 0x100000, FLAG_ENCRYPTED))}
    ),
    "SP062": Case(SIGNED),
    "SP063": Case(BOTH | {"partitions": rows(Partition("storage", TYPE_DATA, 0x81, STORAGE, 0x1234, FLAG_ENCRYPTED))}),
    "SP064": Case(BOTH),
    "SP065": Case(BOTH | {"partitions": rows(Partition("coredump", TYPE_DATA, 3, STORAGE + 0x100000, 0x10000))}),
    "SP066": Case(BOTH, change=move_data_to("0x3f0000")),
    "SP067": Case(BOTH, change=without_md5),
    "SP068": Case(BOTH, {"blank_partitions": {"sotrage": "erased"}}),
    "SP069": Case(BOTH | {"partitions": rows(Partition("ota_1", TYPE_APP, 0x11, 0x120000, 0x30000))}),
    "SP070": Case(BOTH | {"partitions": rows(Partition("storage", TYPE_DATA, 0x81, STORAGE, 0x100000))}),
    "SP071": Case(
        BOTH | {"config": {"SECURE_ENABLE_TEE": True, "SECURE_TEE_SEC_STG_MODE_DEVELOPMENT": True}}, chip="esp32c6"
    ),
    "SP072": Case(BOTH | {"config": TEE_KEY}, chip="esp32c6"),
    "SP080": Case(BOTH, {"flash_encryption": {"key": "key.bin"}}, change=expose_key),
    "SP081": Case(BOTH),
    "SP082": Case(BOTH, KEY, change=signing_key(beside_profile, "init -q", "add key.pem")),
    "SP083": Case(BOTH, KEY, change=signing_key(beside_profile, "init -q")),
    "SP084": Case(
        BOTH, {"secure_boot": {"keys": ["project/build/key.pem"]}}, change=signing_key(lambda build_dir: build_dir)
    ),
    "SP085": Case(BOTH, KEY, change=signing_key(beside_profile), publishes="key.pem"),
    "SP086": Case(BOTH, {"secure_boot": {"keys": ["generate"]}}),
    "SP090": Case(BOTH | {"data_images": {"nvs": nvs_image(None)}}),
    "SP091": Case(BOTH | {"partitions": rows(MORE_NVS), "data_images": {"more": nvs_image(None)}}),
    "SP092": Case(BOTH, {"nvs": {"images": {"nvs": "nvs.csv"}, "key": "device"}}, chip="esp32", change=nvs_csv),
    "SP093": Case(BOTH | {"partitions": rows(Partition("nvs_keys", TYPE_DATA, 4, 0x16000, 0x800, FLAG_ENCRYPTED))}),
    "SP094": Case(BOTH | {"partitions": rows(Partition("nvs_keys", TYPE_DATA, 4, 0x16000, 0x1000))}),
    "SP095": Case(BOTH | {"config": {"NVS_ENCRYPTION": False}}, {"nvs": {"scheme": "hmac"}}),
    "SP096": Case(BOTH | {"partitions": rows(Partition("nvs", TYPE_DATA, 2, 0xD000, 0x2000))}),
    "SP097": Case(BOTH | {"partitions": rows(MORE_NVS)}, {"nvs": {"images": {"more": "nvs.csv"}}}, change=nvs_csv),
    "SP100": Case(BOTH | {"app": AppFacts(max_revision=99), "min_revision": 0}, chip="esp32c5"),
    "SP101": Case(BOTH | {"flash_size": "32MB", "bootloader_version": ("v5.3.2", 0)}, chip="esp32c3"),
    "SP110": Case(BOTH, DISABLED, change=built_with("v5.5.1")),
    "SP111": Case(BOTH | {"flash_size": "32MB"}, chip="esp32c6"),
    "SP137": Case(BOTH, change=append_data),
    "SP160": Case(BOTH, making=Making(("nvs_hmac_key.bin",), build_server=True)),
    "SP161": Case(
        BOTH, making=Making(("flash_encryption_key.bin", "nvs_hmac_key.bin"), build_server=True, archived=True)
    ),
    "SP162": Case(
        BOTH,
        KEY,
        change=signing_key(beside_profile, "init -q"),
        making=Making(bundled_keys=(Path("release/keys/flash_encryption_key.bin"),)),
    ),
    "SP150": Case(BOTH, {"secure_boot": {"keys": ["a.pem", "b.pem"]}}),
    "SP151": Case(
        BOTH | {"scheme": "ecdsa256", "config": {"SECURE_BOOT_SIGNING_KEY": "keys/ours.pem"}},
        {"secure_boot": {"scheme": "ecdsa256"}},
        chip="esp32c6",
        change=sign_app_with_another_key,
    ),
    "SP152": Case(BOTH, {"secure_boot": {"keys": []}}),
    "SP153": Case(BOTH, {"secure_boot": {"keys": ["a.pem", {"digest": "5a" * 32}]}}),
    "SP155": Case(BOTH | {"config": SECOND_BOOTLOADER | {"BOOTLOADER_ANTI_ROLLBACK_ENABLE": True}}, chip="esp32p4"),
    "SP156": Case(BOTH | {"partitions": rows(SECURE_CERT)}),
    "SP157": Case(BOTH | {"config": {"SECURE_SIGNED_DATA_PARTITION": True}}),
    "SP175": Case(BOTH, {"extra_keys": {"own": {"purpose": "ECDSA_KEY_P192", "key": "generate"}}}, chip="esp32c5"),
    "SP176": Case(BOTH, {"extra_keys": JTAG_KEY, "lockdown": {"jtag": "hmac"}}),
    "SP168": Case(BOTH, {"custom_mac": "02:00:00:12:34:56"}),
    "SP169": Case(BOTH | {"config": {"ESP_MAC_USE_CUSTOM_MAC_AS_BASE_MAC": True}}),
    "SP180": Case(identity_place(size=0x1000), IDENTITY, change=authority(intermediates=1)),
    "SP181": Case(identity_place(), IDENTITY, change=authority(is_ca=False)),
    "SP182": Case(identity_place(), IDENTITY, change=authority(days=7000)),
    "SP183": Case(identity_place(flags=0), IDENTITY, change=authority()),
    "SP166": Case(BOTH, {"reserved_key_blocks": ["KEY0"]}),
    "SP165": Case(BOTH, {"efuses": {"VDD_SPI_AS_GPIO": 1}}),
    "SP164": Case(BOTH, {"keep": ["nvs"]}),
    "SP163": Case(BOTH | {"flash_size": "32MB", "partitions": rows(*FAR_APPS)}),
    "SP158": Case(BOTH | {"partitions": rows(RECOVERY, without=("storage",))}, chip="esp32c5"),
    "SP170": Case(BOTH | {"config": SECOND_BOOTLOADER | {"BOOTLOADER_RECOVERY_OFFSET": 0x300000}}, chip="esp32c5"),
    "SP171": Case(
        BOTH | {"config": SECOND_BOOTLOADER | {"SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE": True}},
        {"secure_boot": {"keys": ["a.pem", "b.pem"]}},
        chip="esp32c5",
    ),
    "SP172": Case(
        BOTH
        | {
            "config": {"SECURE_SIGNED_DATA_PARTITION": True},
            "partitions": rows(Partition("web", TYPE_DATA, 6, BEHIND_STORAGE, 0x3000)),
            "data_images": {"web": bytes(0x2001)},
        }
    ),
}
# further places where a rule must find something
MORE_CASES: tuple[tuple[str, Case], ...] = (
    ("SP032", Case(BOTH, {"lockdown": {"download_mode": "open"}})),
    ("SP033", Case(BOTH, {"flash_encryption": {"mode": "off"}}, chip="esp32c2")),
    ("SP034", LOCKED_DOWNLOAD_MODE),
    ("SP035", Case(BOTH | {"config": {"BOOTLOADER_SKIP_VALIDATE_IN_DEEP_SLEEP": True}})),
    (
        "SP037",
        Case(BOTH | {"config": {"BOOTLOADER_APP_ROLLBACK_ENABLE": True}, "partitions": rows(without=("ota_1",))}),
    ),
    ("SP053", Case(READABLE, chip="esp32")),
    ("SP057", Case(BOTH | {"config": {"ESP_SYSTEM_PANIC_GDBSTUB": True}})),
    ("SP072", Case(BOTH | {"config": TEE_KEY | {"SECURE_TEE_SEC_STG_EFUSE_HMAC_KEY_ID": 0}}, chip="esp32c6")),
    ("SP072", Case(BOTH | {"config": TEE_KEY}, chip="esp32c61")),
    ("SP001", Case(BOTH | {"table_offset": 0x5000, "partitions": rows()})),
    ("SP002", Case(BOTH | {"partitions": rows(Partition("ota_0", TYPE_APP, 0x10, 0x20000, 0x30000))})),
    ("SP023", Case(BOTH, {"secure_boot": {"enabled": False}})),
    ("SP027", Case(BOTH | {"config": {"NVS_SEC_HMAC_EFUSE_KEY_ID": -1}})),
    ("SP028", Case(SIGNED, {"nvs": {"scheme": "flash-encryption"}})),
    ("SP040", Case(SIGNED)),
    ("SP049", Case(PLAIN, {"secure_boot": {"enabled": True}}, chip="esp32")),
    ("SP050", Case(ENCRYPTED | {"min_revision": 0}, {"lockdown": {"download_mode": "disabled"}}, chip="esp32")),
    ("SP006", Case(BOTH | {"partitions": rows(Partition("early", TYPE_DATA, 0x40, 0xB000, 0x1800))})),
    ("SP005", Case(BOTH | {"flash_size": "32MB", "bootloader_version": ("v5.5.1", 0)}, chip="esp32c3")),
    ("SP005", Case(BOTH | {"flash_size": "128MB", "bootloader_version": ("v5.5.1", 0)}, chip="esp32c5")),
    ("SP005", Case(BOTH | {"flash_size": "32MB", "layout": "5.0"}, chip="esp32")),
    ("SP090", Case(BOTH, {"nvs": {"scheme": "off", "images": {"nvs": "nvs.csv"}}}, change=nvs_csv)),
    ("SP092", Case(BOTH | {"data_images": {"nvs": nvs_image(bytes(range(64)))}})),
    ("SP092", Case(BOTH | {"data_images": {"nvs": nvs_image(bytes(range(64)))}}, chip="esp32")),
    ("SP092", Case(WITHOUT_NVS_KEYS, {"nvs": {"images": {"nvs": "nvs.csv"}}}, chip="esp32", change=nvs_csv)),
    ("SP095", Case(BOTH, {"nvs": {"scheme": "flash-encryption"}})),
    ("SP110", Case(BOTH, DISABLED, chip="esp32c5", change=built_with("v5.4.3-12-g0123abc"))),
    ("SP110", Case(BOTH, DISABLED, chip="esp32s3", change=built_with("0123abcd"))),
    ("SP111", Case(BOTH | {"flash_size": "128MB"}, chip="esp32h2")),
    ("SP155", Case(BOTH | {"config": SECOND_BOOTLOADER, "min_revision": 100}, chip="esp32p4")),
    ("SP158", Case(BOTH | {"config": SECOND_BOOTLOADER, "partitions": rows(RECOVERY)}, chip="esp32c61")),
    ("SP170", Case(BOTH | {"config": SECOND_BOOTLOADER, "flash_size": "2MB"}, chip="esp32c61")),
    *(
        ("SP163", Case(BOTH | {"flash_size": "32MB", "partitions": rows(*FAR_APPS)}, chip=chip))
        for chip in ("esp32", "esp32s2", "esp32s3", "esp32c5")
    ),
    ("SP163", Case(BOTH | {"flash_size": "32MB", "partitions": rows(FAR_APPS[1])})),
    ("SP163", Case(BOTH | {"flash_size": "32MB", "partitions": rows(FAR_STORAGE)})),
    ("SP156", Case(BOTH | {"partitions": rows(replace(SECURE_CERT, label="identity"))})),
    ("SP156", Case(SIGNED | {"partitions": rows(replace(SECURE_CERT, type=TYPE_DATA))}, chip="esp32s3")),
    ("SP156", Case(BOTH | {"partitions": rows(replace(SECURE_CERT, type=TYPE_DATA, subtype=2, label="pre_prov"))})),
    ("SP156", Case(BOTH | {"config": {"MBEDTLS_HARDWARE_ECDSA_SIGN": True}}, chip="esp32c5")),
    ("SP156", Case(BOTH | {"config": {"USE_ESP32_ECDSA_PERIPHERAL": True}}, chip="esp32h2")),
    ("SP024", Case(BOTH | {"config": P192}, {"secure_boot": {"scheme": "ecdsa256"}}, chip="esp32c6")),
)


PASSING: dict[str, Case] = {
    "SP110": Case(BOTH, DISABLED, change=built_with("v5.5.2")),
    "SP064": Case(SIGNED),
    "SP081": Case(SIGNED),
}
"""Builds in which a rule finds nothing, where that is not the clean sample."""


@functools.cache
def _cases_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="doctor-cases-")


def case_folder(code: str) -> Path:
    """Where the case of a code is: the profile's folder, with the project in it."""
    return Path(_cases_folder().name, code)


@functools.cache
def case_decision(code: str) -> Decision:
    """The decision on the case of a code, made once; its build must not be changed."""
    return examine_case(CASES[code], case_folder(code))
