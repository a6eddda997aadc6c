# SPDX-License-Identifier: Apache-2.0
"""The sample build: deterministic, quick, and with the settings that were asked for."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Literal

import pytest

from secure_ext.build.build import read_build
from secure_ext.errors import InputError, ToolError, UsageError
from secure_ext.formats.image import parse_image
from secure_ext.formats.partition_table import Partition
from secure_ext.sample import SampleOptions, images, make_sample_build
from secure_ext.sample.config import config_of
from secure_ext.sample.options import partitions_of


def tree(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_the_same_every_time(tmp_path: Path) -> None:
    options = SampleOptions(secure_boot=True, flash_encryption="release")
    make_sample_build(tmp_path, "esp32h2", options=options)
    before = tree(tmp_path)
    images.make_app.cache_clear()
    images.make_bootloader.cache_clear()
    make_sample_build(tmp_path, "esp32h2", options=options)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("table_offset", [0x8000, 0xC000, 0x10000, 0x20000])
@pytest.mark.parametrize("app_size", [10_000, 1_500_000])
def test_partitions_are_placed_as_esp_idf_demands(table_offset: int, app_size: int) -> None:
    partitions = partitions_of(SampleOptions(table_offset=table_offset, app_size=app_size))
    end = table_offset + 0x1000
    for partition in partitions:
        assert partition.offset >= end
        assert partition.offset % (0x10000 if partition.type == 0 else 0x1000) == 0
        end = partition.end


def test_options_reach_the_build(tmp_path: Path) -> None:
    factory = Partition("factory", 0, 0, 0x20000, 0x100000)
    options = SampleOptions(
        min_revision=301,
        table_offset=0x10000,
        app_size=20_000,
        flash_size="16MB",
        partitions=(factory,),
        config={"SECURE_BOOT_INSECURE": True, "IDF_TARGET": "esp32"},
    )
    build = read_build(make_sample_build(tmp_path, "esp32", options=options))
    assert build.partitions.partitions == (factory,)
    assert (build.table_offset, build.min_revision, build.flash_size) == (0x10000, 301, 16 << 20)
    assert build.config.enabled("SECURE_BOOT_INSECURE")
    header = parse_image(build.apps[0].path.read_bytes(), place="app")
    assert (header.min_revision, header.flash_size) == (301, 16 << 20)
    assert 20_000 < header.image_length < 21_000


@pytest.mark.parametrize(("mode", "expected"), [("off", "false"), ("development", "true"), ("release", "false")])
def test_encrypted_is_only_said_in_development_mode(
    tmp_path: Path, mode: Literal["off", "development", "release"], expected: str
) -> None:
    options = SampleOptions(flash_encryption=mode, data_images={"nvs": b"nvs"})
    build_dir = make_sample_build(tmp_path, "esp32s3", options=options)
    arguments = json.loads((build_dir / "flasher_args.json").read_text())
    said = {name: entry["encrypted"] for name, entry in arguments.items() if "encrypted" in entry}
    assert said == {
        "bootloader": expected,
        "partition-table": expected,
        "nvs": "false",
        "otadata": expected,
        "app": expected,
    }


@pytest.mark.parametrize(
    ("chip", "options", "enabled"),
    [
        ("esp32", SampleOptions(secure_boot=True), "SECURE_SIGNED_APPS_RSA_SCHEME"),
        ("esp32c2", SampleOptions(secure_boot=True), "SECURE_BOOT_ECDSA_KEY_LEN_256_BITS"),
        ("esp32p4", SampleOptions(secure_boot=True, scheme="ecdsa384"), "SECURE_BOOT_ECDSA_KEY_LEN_384_BITS"),
        (
            "esp32c2",
            SampleOptions(secure_boot=True, flash_encryption="release"),
            "SECURE_FLASH_ENCRYPTION_AES128_DERIVED",
        ),
        ("esp32c2", SampleOptions(flash_encryption="release"), "SECURE_FLASH_ENCRYPTION_AES128"),
        ("esp32", SampleOptions(flash_encryption="release"), "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC"),
        ("esp32s2", SampleOptions(flash_encryption="release"), "NVS_SEC_KEY_PROTECT_USING_HMAC"),
        ("esp32c3", SampleOptions(flash_encryption="release"), "SECURE_ENABLE_SECURE_ROM_DL_MODE"),
        ("esp32c3", SampleOptions(flash_encryption="development"), "SECURE_INSECURE_ALLOW_DL_MODE"),
        ("esp32h21", SampleOptions(flash_encryption="release"), "SECURE_DISABLE_ROM_DL_MODE"),
        ("esp32h2", SampleOptions(flash_encryption="release"), "SECURE_FLASH_PSEUDO_ROUND_FUNC"),
    ],
)
def test_menuconfig_choices(chip: str, options: SampleOptions, enabled: str) -> None:
    assert config_of(chip, options)[enabled] is True


def test_an_unknown_chip(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_sample_build(tmp_path, "esp8266")
    assert caught.value.code == "SE191"


def test_partitions_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        make_sample_build(tmp_path, "esp32c3", options=SampleOptions(partitions=(Partition("", 0, 0, 0, 0),)))
    assert caught.value.code == "SE128"


def test_an_esptool_that_cannot(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        make_sample_build(tmp_path, "esp32c3", options=SampleOptions(flash_size="3MB"))
    assert caught.value.code == "SE190"
    assert "3MB" in caught.value.cause


def test_no_esptool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    with pytest.raises(ToolError) as caught:
        make_sample_build(tmp_path, "esp32c3", options=SampleOptions(app_size=1234))
    assert caught.value.code == "SE190"
