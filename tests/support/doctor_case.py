# SPDX-License-Identifier: Apache-2.0
"""A case of a rule of the doctor: a sample build, what is done to it, and a profile; and what cases are made of."""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
import io
import json
import subprocess
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
from secure_ext.sample.options import SampleOptions, partitions_of
from support.authority import write_authority

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
    document: dict[str, Any] = {"schema": 1, **copy.deepcopy(dict(case.profile))}
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


def authority(*, days: int = 9000, is_ca: bool = True, intermediates: int = 0) -> Callable[[Path], None]:
    """Puts a CA's certificate beside the profile."""

    def change(build_dir: Path) -> None:
        write_authority(beside_profile(build_dir), days=days, is_ca=is_ca, intermediates=intermediates)

    return change


def identity_place(*, size: int = 0x2000, flags: int = FLAG_ENCRYPTED) -> dict[str, Any]:
    """A build with a partition for the identity of boards."""
    return BOTH | {"partitions": rows(replace(SECURE_CERT, size=size, flags=flags))}


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
IDENTITY = {"identity": {"key": "rsa2048", "ca": "ca.pem"}}
FAR_APPS = (
    Partition("ota_0", TYPE_APP, 0x10, 0x1000000, 0x100000),
    Partition("ota_1", TYPE_APP, 0x11, 0x1100000, 0x100000),
)
FAR_STORAGE = Partition("storage", TYPE_DATA, 0x81, 0xFFF000, 0x100000, FLAG_ENCRYPTED)
SECOND_BOOTLOADER: dict[str, Any] = {"BOOTLOADER_RECOVERY_ENABLE": True, "BOOTLOADER_RECOVERY_OFFSET": 0x3F0000}
RECOVERY = Partition("recovery", TYPE_BOOTLOADER, 2, 0x300000, 0x10000)
