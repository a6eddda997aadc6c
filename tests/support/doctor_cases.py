# SPDX-License-Identifier: Apache-2.0
"""For each rule of the doctor a sample build and a profile in which it finds something."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secure_ext.doctor import published_keys
from secure_ext.doctor.decide import Decision, decide
from secure_ext.doctor.rule import Making
from secure_ext.formats.partition_table import (
    FLAG_ENCRYPTED,
    TYPE_APP,
    TYPE_BOOTLOADER,
    TYPE_DATA,
    Partition,
    build_partition_table,
)
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key, load_signing_key
from secure_ext.policy.profile import check_profile
from secure_ext.sample import images as sample_images
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import AppFacts, SampleOptions, partitions_of

PLAIN: dict[str, Any] = {}
BOTH: dict[str, Any] = {"flash_encryption": "release", "secure_boot": True}
ENCRYPTED: dict[str, Any] = {"flash_encryption": "release"}
SIGNED: dict[str, Any] = {"secure_boot": True}


def rows(*changed: Partition, without: tuple[str, ...] = ()) -> tuple[Partition, ...]:
    """The sample's partitions, with some of them replaced or added."""
    table = {row.label: row for row in partitions_of(SampleOptions()) if row.label not in without}
    table |= {row.label: row for row in changed}
    return tuple(table.values())


@dataclass(frozen=True)
class Case:
    """A sample build and a profile that a rule must find something in.

    Attributes:
        options: those of the sample.
        profile: sections of the profile.
        change: done to the build directory; the profile lies two folders above it.
        publishes: a key file beside the profile that counts as published.
        making: what the run that makes the bundle adds; paths are relative to the profile.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    chip: str = "esp32c3"
    change: Callable[[Path], None] | None = None
    publishes: str | None = None
    making: Making | None = None


def examine_case(case: Case, folder: Path, accept: tuple[str, ...] = ()) -> Decision:
    """The decision on a case, made in `folder`."""
    build_dir = make_sample_build(folder / "project", case.chip, options=SampleOptions(**dict(case.options)))
    if case.change is not None:
        case.change(build_dir)
    document: dict[str, Any] = {"schema": 1, **{name: dict(value) for name, value in case.profile.items()}}
    document.setdefault("secure_boot", {}).setdefault("keys", ["signing.pem"])
    document["doctor"] = {"accept": list(accept)}
    with pytest.MonkeyPatch.context() as patch:
        if case.publishes:
            lines = (folder / case.publishes).read_bytes().splitlines()
            der = base64.b64decode(b"".join(lines[1:-1]))
            patch.setattr(published_keys, "PUBLISHED_KEYS", frozenset({hashlib.sha256(der).hexdigest()}))
        decision = decide(build_dir, check_profile(document, folder / "profile.yaml"))
        if case.making is not None:
            bundled = tuple(folder / path for path in case.making.bundled_keys)
            decision = decision.with_making(replace(case.making, bundled_keys=bundled))
        return decision


def edit_json(name: str, edit: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def change(build_dir: Path) -> None:
        path = build_dir / name
        content = json.loads(path.read_text(encoding="utf-8"))
        edit(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    return change


def move_data_to(address: str) -> Callable[[Path], None]:
    """Has the build flash a small file at an address of its own."""

    def edit(content: dict[str, Any]) -> None:
        content["flash_files"][address] = "extra.bin"
        content["extra"] = {"offset": address, "file": "extra.bin", "encrypted": "false"}

    def change(build_dir: Path) -> None:
        (build_dir / "extra.bin").write_bytes(b"data" * 1024)
        edit_json("flasher_args.json", edit)(build_dir)

    return change


def without_md5(build_dir: Path) -> None:
    path = build_dir / "partition_table" / "partition-table.bin"
    path.write_bytes(build_partition_table(partitions_of(SampleOptions()), md5=False))


def app_of_another_chip(build_dir: Path) -> None:
    """Makes the app one for esp32c6 (chip id 13), with a right hash."""
    path = build_dir / "sample.bin"
    content = bytearray(path.read_bytes())
    content[12] = 13
    content[-32:] = hashlib.sha256(content[:-32]).digest()
    path.write_bytes(content)


@functools.cache
def _other_key() -> bytes:
    return generate_signing_key(SignatureScheme.RSA3072)


def sign_app(build_dir: Path) -> None:
    """Appends a signature sector to the app, with a key that no profile names."""
    pem = build_dir.parent.parent / "other.pem"
    pem.write_bytes(_other_key())
    path = build_dir / "sample.bin"
    path.write_bytes(sign(path.read_bytes(), [load_signing_key(pem)], place="app"))


def sign_app_with_another_key(build_dir: Path) -> None:
    """The app is signed, and the key of the profile is another one; both keys are always the same two."""
    folder = build_dir.parent.parent
    for name, number in (("other.pem", 12345), ("signing.pem", 54321)):
        form = (serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        key = ec.derive_private_key(number, ec.SECP256R1())
        write_secret_file(folder / name, key.private_bytes(serialization.Encoding.PEM, *form))
    path = build_dir / "sample.bin"
    path.write_bytes(sign(path.read_bytes(), [load_signing_key(folder / "other.pem")], place="app"))


def append_data(build_dir: Path) -> None:
    with (build_dir / "sample.bin").open("ab") as file:
        file.write(b"data of my own")


def sign_app_and_bootloader(build_dir: Path) -> None:
    pem = build_dir.parent.parent / "other.pem"
    pem.write_bytes(rsa_key())
    for path in (build_dir / "sample.bin", build_dir / "bootloader" / "bootloader.bin"):
        path.write_bytes(sign(path.read_bytes(), [load_signing_key(pem)], place=path.name))


def expose_key(build_dir: Path) -> None:
    key = build_dir.parent.parent / "key.bin"
    key.write_bytes(hashlib.sha256(b"a key").digest())
    key.chmod(0o644)


def nvs_image(keys: bytes | None) -> bytes:
    """An NVS image with one value, as Espressif's generator makes it."""
    from esp_idf_nvs_partition_gen import nvs_partition_gen

    target = io.BytesIO()
    image = nvs_partition_gen.nvs_open(target, 0x5000, version=0xFE, is_encrypt=keys is not None, key=keys)
    nvs_partition_gen.write_entry(image, "app", "namespace", "", "")
    nvs_partition_gen.write_entry(image, "pin", "data", "u16", "4711")
    nvs_partition_gen.nvs_close(image)
    return target.getvalue()


def nvs_csv(build_dir: Path) -> None:
    text = "key,type,encoding,value\napp,namespace,,\npin,data,u16,4711\n"
    (build_dir.parent.parent / "nvs.csv").write_text(text, encoding="utf-8")


def bootloader_of(size: int, chip: str = "esp32c3", revision: int = 3) -> Callable[[Path], None]:
    """Has the build a bootloader with this many bytes of code."""

    def change(build_dir: Path) -> None:
        settings = sample_images.ImageSettings(chip, "4MB", revision, secure_boot=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sample_images, "BOOTLOADER_SIZE", size)
            content = sample_images.make_bootloader.__wrapped__(settings)
        (build_dir / "bootloader" / "bootloader.bin").write_bytes(content)

    return change


@functools.cache
def rsa_key() -> bytes:
    return generate_signing_key(SignatureScheme.RSA3072)


def signing_key(folder: Callable[[Path], Path], *git: str) -> Callable[[Path], None]:
    """Puts a signing key into a folder, which depends on the build directory, and runs git commands there."""

    def change(build_dir: Path) -> None:
        place = folder(build_dir)
        write_secret_file(place / "key.pem", rsa_key())
        for command in git:
            subprocess.run(["git", *command.split()], cwd=place, check=True, capture_output=True)  # noqa: S607 (as the user calls it)

    return change


def beside_profile(build_dir: Path) -> Path:
    return build_dir.parent.parent


DEVELOPMENT = {"flash_encryption": {"mode": "development"}, "lockdown": {"download_mode": "open"}}
READABLE: dict[str, Any] = {
    "flash_encryption": "development",
    "config": {"SECURE_FLASH_UART_BOOTLOADER_ALLOW_DEC": True},
}
STORAGE = 0x220000
MORE_NVS = Partition("more", TYPE_DATA, 2, STORAGE + 0x100000, 0x6000)
WITHOUT_NVS_KEYS = BOTH | {"partitions": rows(without=("nvs_keys",))}
BEHIND_STORAGE = 0x320000
KEY: dict[str, Any] = {"secure_boot": {"keys": ["key.pem"]}}
ANTI_ROLLBACK: dict[str, Any] = {
    "BOOTLOADER_APP_ROLLBACK_ENABLE": True,
    "BOOTLOADER_APP_ANTI_ROLLBACK": True,
    "BOOTLOADER_APP_SECURE_VERSION": 0,
    "BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD": 16,
}


def built_with(version: str) -> Callable[[Path], None]:
    """Has the build record another ESP-IDF."""
    return edit_json("project_description.json", lambda description: description.update(git_revision=version))


UNSIGNED_APP = {
    "SECURE_SIGNED_APPS_NO_SECURE_BOOT": True,
    "SECURE_SIGNED_ON_UPDATE_NO_SECURE_BOOT": True,
    "SECURE_SIGNED_APPS_RSA_SCHEME": True,
}
DISABLED = {"lockdown": {"download_mode": "disabled"}}
TEE_KEY = {"SECURE_ENABLE_TEE": True, "SECURE_TEE_SEC_STG_EFUSE_HMAC_KEY_ID": 4}
LOCKED_DOWNLOAD_MODE = Case(BOTH | {"config": {"SECURE_DISABLE_ROM_DL_MODE": True}}, DEVELOPMENT, chip="esp32")
SECURE_CERT = Partition("esp_secure_cert", 0x3F, 6, 0x300000, 0x2000, FLAG_ENCRYPTED)
P192 = {
    "SECURE_SIGNED_APPS_RSA_SCHEME": False,
    "SECURE_SIGNED_APPS_ECDSA_V2_SCHEME": True,
    "SECURE_BOOT_ECDSA_KEY_LEN_192_BITS": True,
}
FAR_APPS = (
    Partition("ota_0", TYPE_APP, 0x10, 0x1000000, 0x100000),
    Partition("ota_1", TYPE_APP, 0x11, 0x1100000, 0x100000),
)
FAR_STORAGE = Partition("storage", TYPE_DATA, 0x81, 0xFFF000, 0x100000, FLAG_ENCRYPTED)
RECOVERY = Partition("recovery", TYPE_BOOTLOADER, 2, 0x300000, 0x10000)
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
    "SP155": Case(
        BOTH | {"config": {"BOOTLOADER_RECOVERY_ENABLE": True, "BOOTLOADER_RECOVERY_OFFSET": 0x3F0000}}, chip="esp32c5"
    ),
    "SP156": Case(BOTH | {"partitions": rows(SECURE_CERT)}),
    "SP157": Case(BOTH | {"config": {"SECURE_SIGNED_DATA_PARTITION": True}}),
    "SP163": Case(BOTH | {"flash_size": "32MB", "partitions": rows(*FAR_APPS)}),
    "SP158": Case(BOTH | {"partitions": rows(RECOVERY)}, chip="esp32c5"),
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
    *(
        ("SP155", Case(BOTH | {"config": {symbol: True}}, chip=chip))
        for symbol in ("BOOTLOADER_RECOVERY_ENABLE", "BOOTLOADER_ANTI_ROLLBACK_ENABLE")
        for chip in ("esp32c61", "esp32p4")
    ),
    ("SP155", Case(ENCRYPTED | {"config": {"BOOTLOADER_RECOVERY_ENABLE": True}}, chip="esp32c5")),
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
