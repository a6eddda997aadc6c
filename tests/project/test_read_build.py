# SPDX-License-Identifier: Apache-2.0
"""Reading a build directory: both spellings, moved projects, and every reason to refuse one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from secure_ext.build.build import Build, Role, read_build
from secure_ext.build.sdkconfig import ConfigDifference
from secure_ext.errors import InputError
from secure_ext.formats.partition_table import Partition
from secure_ext.sample import SampleOptions, make_sample_build

Edit = Callable[[dict[str, Any]], object]
DESCRIPTION, ARGS, CONFIG = "project_description.json", "flasher_args.json", "config/sdkconfig.json"


@pytest.fixture
def build_dir(tmp_path: Path) -> Path:
    return make_sample_build(tmp_path / "a project", "esp32c6")


def edit(path: Path, change: Edit) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def error_of(build_dir: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_build(build_dir)
    return caught.value


def without_paths(build: Build) -> Build:
    files = tuple(dataclasses.replace(file, path=Path(file.source)) for file in build.files)
    return dataclasses.replace(build, build_dir=Path(), project_dir=None, sdkconfig=None, files=files)


def test_all_that_a_build_tells(build_dir: Path) -> None:
    build = read_build(build_dir)
    assert (build.project_name, build.chip, build.idf_version) == ("sample", "esp32c6", "v6.1")
    assert (build.flash_size, build.flash_size_setting, build.flash_mode, build.flash_freq) == (
        4 << 20,
        "4MB",
        "dio",
        "80m",
    )
    assert (build.bootloader_offset, build.table_offset) == (0, 0xC000)
    assert (build.min_revision, build.max_revision) == (0, 99)
    assert build.project_dir == build_dir.parent.resolve()
    assert build.config.text("IDF_TARGET") == "esp32c6"
    assert build.config_differences == ()
    assert [(file.role.value, file.name, file.partition, file.offset, file.source) for file in build.files] == [
        ("bootloader", "bootloader", None, 0, "bootloader/bootloader.bin"),
        ("partition_table", "partition-table", None, 0xC000, "partition_table/partition-table.bin"),
        ("data", "otadata", "otadata", 0x13000, "ota_data_initial.bin"),
        ("app", "app", "ota_0", 0x20000, "sample.bin"),
    ]
    assert all(file.path.is_file() for file in build.files)
    assert build.bootloader is build.file(Role.BOOTLOADER)
    assert build.partition_table_file is build.file(Role.PARTITION_TABLE)
    assert build.apps == (build.file(Role.APP),)


@pytest.mark.parametrize("secure_boot", [False, True])
@pytest.mark.parametrize("encryption", ["off", "development", "release"])
def test_spelling_makes_no_difference(
    tmp_path: Path, secure_boot: bool, encryption: Literal["off", "development", "release"]
) -> None:
    options = SampleOptions(secure_boot=secure_boot, flash_encryption=encryption)
    new = read_build(make_sample_build(tmp_path / "new", "esp32c3", options=options))
    old = read_build(make_sample_build(tmp_path / "old", "esp32c3", options=dataclasses.replace(options, layout="5.0")))
    assert old.idf_version == "v5.0.2"
    assert old.config_differences == ()
    assert without_paths(old) == dataclasses.replace(without_paths(new), idf_version="v5.0.2", config=old.config)


def test_secure_boot_leaves_out_the_bootloader(tmp_path: Path) -> None:
    build_dir = make_sample_build(tmp_path, "esp32c5", options=SampleOptions(secure_boot=True))
    assert "bootloader" not in json.loads((build_dir / ARGS).read_text())
    build = read_build(build_dir)
    assert (build.bootloader.offset, build.bootloader.source) == (0x2000, "bootloader/bootloader.bin")
    assert (build.flash_size_setting, build.flash_size) == ("keep", 4 << 20)


@pytest.mark.parametrize(
    ("chip", "offset"), [("esp32", 0x1000), ("esp32s2", 0x1000), ("esp32p4", 0x2000), ("esp32c6", 0)]
)
def test_bootloader_offset_without_its_symbol(tmp_path: Path, chip: str, offset: int) -> None:
    build_dir = make_sample_build(tmp_path, chip)
    edit(build_dir / CONFIG, lambda config: config.pop("BOOTLOADER_OFFSET_IN_FLASH"))
    assert read_build(build_dir).bootloader.offset == offset


def test_a_project_from_another_machine(build_dir: Path) -> None:
    def move(description: dict[str, Any]) -> None:
        description["project_path"] = "C:/Users/me/Block Lights/slave"
        description["build_dir"] = "C:/Users/me/Block Lights/slave/build"
        description["config_file"] = "C:/Users/me/Block Lights/slave/sdkconfig"

    before = read_build(build_dir)
    edit(build_dir / DESCRIPTION, move)
    assert read_build(build_dir) == before


def test_an_sdkconfig_with_a_name_of_its_own(build_dir: Path) -> None:
    edit(build_dir / DESCRIPTION, lambda d: d.update(config_file=d["build_dir"] + "/sdkconfig.factory"))
    shutil.copy(build_dir.parent / "sdkconfig", build_dir / "sdkconfig.factory")
    (build_dir.parent / "sdkconfig").unlink()
    with (build_dir / "sdkconfig.factory").open("a") as file:
        file.write("CONFIG_SECURE_BOOT=y\n")
    assert read_build(build_dir).config_differences == (ConfigDifference("SECURE_BOOT", False, True),)


def test_a_build_directory_alone(build_dir: Path, tmp_path: Path) -> None:
    moved = shutil.move(build_dir, tmp_path / "moved")
    shutil.rmtree(build_dir.parent)
    build = read_build(Path(moved))
    assert build.project_dir is None or not (build.project_dir / "sdkconfig").exists()
    assert build.config_differences == ()


def test_a_build_without_its_recorded_places(build_dir: Path) -> None:
    edit(build_dir / DESCRIPTION, lambda d: [d.pop(key) for key in ("project_path", "build_dir", "config_file")])
    with (build_dir.parent / "sdkconfig").open("a") as file:
        file.write("CONFIG_SECURE_BOOT=y\n")
    build = read_build(build_dir)
    assert build.project_dir is None
    assert [difference.name for difference in build.config_differences] == ["SECURE_BOOT"]


def test_roles_follow_the_place_in_flash(tmp_path: Path) -> None:
    partitions = (
        Partition("tee", 0, 0x30, 0x10000, 0x30000),
        Partition("bootloader2", 2, 2, 0x40000, 0x8000),
        Partition("table2", 3, 1, 0x48000, 0x1000),
        Partition("factory", 0, 0, 0x50000, 0x100000),
        Partition("www", 1, 0x82, 0x150000, 0x10000),
    )
    images = {"bootloader2": b"b", "table2": b"t", "www": b"w", "factory": b"f"}
    options = SampleOptions(partitions=partitions, table_offset=0x8000, data_images=images)
    build_dir = make_sample_build(tmp_path, "esp32c6", options=options)
    (build_dir / "extra.bin").write_bytes(b"x")
    edit(build_dir / ARGS, lambda args: args["flash_files"].update({"0x200000": "extra.bin"}))
    build = read_build(build_dir)
    assert {(file.name, file.partition): file.role for file in build.files} == {
        ("bootloader", None): Role.BOOTLOADER,
        ("partition-table", None): Role.PARTITION_TABLE,
        ("app", "tee"): Role.APP,
        ("bootloader2", "bootloader2"): Role.BOOTLOADER,
        ("table2", "table2"): Role.PARTITION_TABLE,
        ("factory", "factory"): Role.APP,
        ("www", "www"): Role.DATA,
        ("extra", None): Role.DATA,
    }
    assert build.bootloader.name == "bootloader"
    assert build.partition_table_file.name == "partition-table"
    assert len(build.apps) == 2


@pytest.mark.parametrize(
    ("code", "expected"), [(0x00, 1 << 20), (0x30, 8 << 20), (0x40, 16 << 20), (0x80, 2 << 20), (0xF0, 2 << 20)]
)
def test_the_flash_size_is_what_the_bootloader_makes_of_its_own_header(
    build_dir: Path, code: int, expected: int
) -> None:
    bootloader = build_dir / "bootloader/bootloader.bin"
    content = bytearray(bootloader.read_bytes())
    content[3] = code | content[3] & 0x0F
    bootloader.write_bytes(content)
    build = read_build(build_dir)
    assert (build.flash_size, build.flash_size_setting) == (expected, "4MB")


def test_without_a_bootloader_image_the_flash_size_is_unknown(build_dir: Path) -> None:
    (build_dir / "bootloader/bootloader.bin").write_bytes(b"no image")
    assert read_build(build_dir).flash_size is None


@pytest.mark.parametrize(
    ("symbols", "recorded", "expected"),
    [
        ({"ESP32C6_REV_MIN_FULL": 2, "ESP_REV_MIN_FULL": 1}, "0", 2),
        ({"ESP_REV_MIN_FULL": 101}, "0", 101),
        ({}, "300", 300),
        ({}, "", 0),
    ],
)
def test_least_revision(build_dir: Path, symbols: dict[str, int], recorded: str, expected: int) -> None:
    def change(config: dict[str, Any]) -> None:
        del config["ESP32C6_REV_MIN_FULL"], config["ESP_REV_MIN_FULL"]
        config.update(symbols)

    edit(build_dir / CONFIG, change)
    edit(build_dir / DESCRIPTION, lambda description: description.update(min_rev=recorded))
    assert read_build(build_dir).min_revision == expected


def test_a_version_that_git_did_not_know(build_dir: Path) -> None:
    edit(build_dir / DESCRIPTION, lambda description: description.update(git_revision="HEAD-HASH-NOTFOUND"))
    assert read_build(build_dir).idf_version is None


def test_directory_missing(tmp_path: Path) -> None:
    assert error_of(tmp_path / "build").code == "SE101"
    (tmp_path / "file").touch()
    assert error_of(tmp_path / "file").code == "SE101"


@pytest.mark.parametrize("name", [DESCRIPTION, ARGS, CONFIG])
def test_not_a_build_directory(build_dir: Path, name: str) -> None:
    (build_dir / name).unlink()
    error = error_of(build_dir)
    assert error.code == "SE102"
    assert name in error.cause
    assert "idf.py build" in error.cure


@pytest.mark.parametrize("name", [DESCRIPTION, ARGS, CONFIG])
def test_truncated_json(build_dir: Path, name: str) -> None:
    path = build_dir / name
    path.write_bytes(path.read_bytes()[:-20])
    error = error_of(build_dir)
    assert (error.code, error.place) == ("SE103", str(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda description: description.pop("bootloader_elf"),
        lambda description: description.update(git_revision="v4.4.7-dirty"),
        lambda description: description.update(git_revision="v3.3"),
    ],
)
def test_older_than_esp_idf_5(build_dir: Path, change: Edit) -> None:
    edit(build_dir / DESCRIPTION, change)
    assert error_of(build_dir).code == "SE104"


def test_a_build_that_names_no_target_is_older_still(build_dir: Path) -> None:
    """ESP-IDF 4.0 and 4.1 wrote neither."""
    edit(build_dir / DESCRIPTION, lambda description: (description.pop("target"), description.pop("bootloader_elf")))
    assert error_of(build_dir).code == "SE104"


@pytest.mark.parametrize("target", ["esp8266", "linux", "esp32x9", ""])
def test_unsupported_chip(build_dir: Path, target: str) -> None:
    edit(build_dir / DESCRIPTION, lambda description: description.update(target=target))
    edit(build_dir / DESCRIPTION, lambda description: description.pop("bootloader_elf"))
    assert error_of(build_dir).code == "SE105"


@pytest.mark.parametrize("symbol", ["APP_BUILD_BOOTLOADER", "APP_BUILD_GENERATE_BINARIES"])
def test_a_build_for_ram(build_dir: Path, symbol: str) -> None:
    edit(build_dir / CONFIG, lambda config: config.update({symbol: False}))
    error = error_of(build_dir)
    assert error.code == "SE106"
    assert symbol in error.cause


@pytest.mark.parametrize(("name", "offset"), [("app", "0x20000"), ("partition-table", "0xc000")])
def test_a_part_of_a_project(build_dir: Path, name: str, offset: str) -> None:
    edit(build_dir / ARGS, lambda args: (args.pop(name), args["flash_files"].pop(offset)))
    assert error_of(build_dir).code == "SE106"


@pytest.mark.parametrize("name", ["sample.bin", "bootloader/bootloader.bin", "partition_table/partition-table.bin"])
def test_a_file_is_missing(build_dir: Path, name: str) -> None:
    (build_dir / name).unlink()
    error = error_of(build_dir)
    assert error.code == "SE107"
    assert name in error.cause


def test_the_unlisted_bootloader_is_missing(tmp_path: Path) -> None:
    build_dir = make_sample_build(tmp_path, "esp32c6", options=SampleOptions(secure_boot=True))
    (build_dir / "bootloader" / "bootloader.bin").unlink()
    assert error_of(build_dir).code == "SE107"


def test_a_file_may_not_be_read(build_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, _mode: path.name != "sample.bin")
    error = error_of(build_dir)
    assert error.code == "SE108"
    assert error.place is not None and error.place.endswith("sample.bin")


def test_a_directory_may_not_be_searched(build_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_file = Path.is_file

    def no_permission(path: Path) -> bool:
        if path.parent.name == "bootloader":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", no_permission)
    error = error_of(build_dir)
    assert error.code == "SE108"
    assert error.place is not None and error.place.endswith("bootloader.bin")


def test_a_recorded_path_of_somebody_else(build_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists

    def no_permission(path: Path) -> bool:
        if "somebody" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path)

    edit(build_dir / DESCRIPTION, lambda description: description.update(project_path="/home/somebody/project"))
    monkeypatch.setattr(Path, "exists", no_permission)
    assert read_build(build_dir).project_dir is None


def test_two_files_at_one_address(build_dir: Path) -> None:
    edit(build_dir / ARGS, lambda args: args.update(storage={"offset": "0x20000", "file": "storage.bin"}))
    error = error_of(build_dir)
    assert error.code == "SE109"
    assert "0x20000" in error.cause


def test_configured_but_not_built(build_dir: Path) -> None:
    for path in build_dir.rglob("*.bin"):
        path.unlink()
    assert error_of(build_dir).code == "SE110"


@pytest.mark.parametrize(
    "change",
    [
        lambda args: args.pop("flash_settings"),
        lambda args: args.pop("flash_files"),
        lambda args: args["flash_settings"].pop("flash_mode"),
        lambda args: args["app"].update(offset="twenty"),
        lambda args: args["app"].update(offset=0x20000),
        lambda args: args["app"].pop("file"),
        lambda args: args.update(surprise=[]),
    ],
)
def test_flasher_args_of_another_form(build_dir: Path, change: Edit) -> None:
    edit(build_dir / ARGS, change)
    assert error_of(build_dir).code == "SE111"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (CONFIG, lambda config: config.update(IDF_TARGET="esp32")),
        (CONFIG, lambda config: config.update(BOOTLOADER_OFFSET_IN_FLASH=0x1000)),
        (CONFIG, lambda config: config.update(PARTITION_TABLE_OFFSET=0x8000)),
    ],
)
def test_files_of_different_builds(build_dir: Path, name: str, change: Edit) -> None:
    edit(build_dir / name, change)
    assert error_of(build_dir).code == "SE112"


def test_a_damaged_table(build_dir: Path) -> None:
    path = build_dir / "partition_table" / "partition-table.bin"
    path.write_bytes(path.read_bytes().replace(b"storage", b"storagf"))
    error = error_of(build_dir)
    assert (error.code, error.place) == ("SE123", str(path))
