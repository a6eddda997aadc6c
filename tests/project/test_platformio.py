# SPDX-License-Identifier: Apache-2.0
"""PlatformIO's builds of ESP-IDF: read, damaged, through to a rehearsed bundle, and told in PlatformIO's commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.kconfig_project import make_project
from support.platformio import as_platformio

from secure_ext.build.build import read_build
from secure_ext.errors import InputError
from secure_ext.formats.partition_table import Partition, build_partition_table
from secure_ext.sample import SampleOptions, make_sample_build

FACTORY, OTA_0, OTA_1 = (
    Partition("factory", 0, 0x00, 0x210000, 0x100000),
    Partition("ota_0", 0, 0x10, 0x10000, 0x100000),
    Partition("ota_1", 0, 0x11, 0x110000, 0x100000),
)
SPIFFS = Partition("storage", 1, 0x82, 0x310000, 0x10000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return as_platformio(make_sample_build(tmp_path / "a project", "esp32c3"))


def error_of(folder: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_build(folder)
    return caught.value


def files_of(folder: Path) -> list[tuple[str, str, str | None, int, str]]:
    return [(file.role.value, file.name, file.partition, file.offset, file.source) for file in read_build(folder).files]


def give_table(folder: Path, *rows: Partition) -> None:
    """As with ``board_build.partitions``, of which sdkconfig and flasher_args.json know nothing."""
    (folder / "partitions.bin").write_bytes(build_partition_table(rows))


def test_it_is_read_as_the_build_that_idf_py_makes(tmp_path: Path) -> None:
    options = SampleOptions(flash_encryption="release", secure_boot=True)
    theirs = read_build(make_sample_build(tmp_path / "idf", "esp32c6", options=options))
    folder = as_platformio(make_sample_build(tmp_path / "pio", "esp32c6", options=options))
    ours = read_build(folder)
    assert [(file.role, file.name, file.partition, file.offset, file.path.read_bytes()) for file in ours.files] == [
        (file.role, file.name, file.partition, file.offset, file.path.read_bytes()) for file in theirs.files
    ]
    assert [file.source for file in ours.files] == [
        "bootloader.bin",
        "partitions.bin",
        "ota_data_initial.bin",
        "firmware.bin",
    ]
    assert (ours.project_dir, ours.sdkconfig) == (folder.parents[2], folder.parents[2] / "sdkconfig.board")
    assert (ours.idf_version, ours.config_differences) == ("6.1", ())


def test_the_built_table_places_the_app_and_not_the_one_of_sdkconfig(folder: Path) -> None:
    give_table(folder, OTA_0, OTA_1)
    assert files_of(folder)[-1] == ("app", "app", "ota_0", 0x10000, "firmware.bin")
    give_table(folder, OTA_0, OTA_1, FACTORY)
    assert files_of(folder)[-1] == ("app", "app", "factory", 0x210000, "firmware.bin")


@pytest.mark.parametrize(
    ("name", "size", "offset"),
    [
        ("littlefs.bin", 0x10000, 0x310000),
        ("fatfs.bin", 0xF000, 0x311000),  # PlatformIO's
        ("fatfs.bin", 0x10000, 0x310000),  # pioarduino's
    ],
)
def test_a_file_system_is_where_uploadfs_puts_it(folder: Path, name: str, size: int, offset: int) -> None:
    give_table(folder, OTA_0, SPIFFS)
    (folder / name).write_bytes(bytes(size))
    assert files_of(folder)[-1] == ("data", "storage", "storage", offset, name)
    (folder / "spiffs.bin").write_bytes(bytes(size))
    assert error_of(folder).code == "SE109"


def test_signed_images_are_those_of_a_build_that_signs(tmp_path: Path) -> None:
    folder = as_platformio(
        make_sample_build(
            tmp_path,
            "esp32c3",
            options=SampleOptions(secure_boot=True, config={"SECURE_BOOT_BUILD_SIGNED_BINARIES": True}),
        )
    )
    for name in ("bootloader", "firmware"):
        (folder / f"{name}.bin").rename(folder / f"{name}-signed.bin")
    sources = [source for *_, source in files_of(folder)]
    assert (sources[0], sources[-1]) == ("bootloader-signed.bin", "firmware-signed.bin")


def test_a_program_with_a_name_of_its_own(folder: Path) -> None:
    for kind in ("bin", "elf"):
        (folder / f"firmware.{kind}").rename(folder / f"lamp-1.2.{kind}")
    assert files_of(folder)[-1][-1] == "lamp-1.2.bin"
    (folder / "firmware.elf").touch()
    error = error_of(folder)
    assert error.code == "SE155" and "firmware, lamp-1.2" in error.cause


@pytest.mark.parametrize("name", ["bootloader.bin", "partitions.bin", "firmware.bin"])
def test_a_file_is_missing(folder: Path, name: str) -> None:
    (folder / name).unlink()
    error = error_of(folder)
    assert error.code == "SE107" and name in error.cause


def test_configured_but_not_built(folder: Path) -> None:
    for path in folder.glob("*.*"):
        if path.suffix in (".bin", ".elf"):
            path.unlink()
    assert error_of(folder).code == "SE110"


def test_a_table_without_a_place_for_the_app(folder: Path) -> None:
    give_table(folder, SPIFFS)
    assert error_of(folder).code == "SE106"


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 0xC00])
def test_a_damaged_table(folder: Path, content: bytes) -> None:
    (folder / "partitions.bin").write_bytes(content)
    error = error_of(folder)
    assert error.code in {"SE120", "SE121", "SE122", "SE125", "SE126", "SE127"} and "partitions.bin" in str(error.place)


def test_through_to_a_verified_bundle_and_a_passed_rehearsal(
    new_build: Callable[..., Path], signing_keys: dict[str, Path], run_cli: Callable[..., Result], tmp_path: Path
) -> None:
    folder = as_platformio(new_build())
    words = ("-B", folder, "--signing-key", signing_keys["rsa_0"])
    for command in (("bundle", "-o", tmp_path / "bundle"), ("verify", tmp_path / "bundle")):
        done = run_cli(*command, *words)
        assert done.exit_code == 0, done.output
    assert (folder.parents[2] / "secure_keys").is_dir(), "`pio run -t clean` deletes what is in the build"
    rehearsed = run_cli("rehearse", tmp_path / "bundle")
    assert rehearsed.exit_code == 0 and "rehearsal: PASSED" in rehearsed.stdout, rehearsed.output


def test_people_are_told_what_they_type(folder: Path, run_cli: Callable[..., Result]) -> None:
    (folder / "firmware.bin").unlink()
    shown = run_cli("plan", "-B", folder).stderr
    assert "error SE107" in shown and "`pio run`" in shown and "idf.py" not in shown


def test_a_folder_that_is_no_build_names_those_there_are(
    folder: Path, run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parents[2])
    (folder.parent / "other").mkdir()
    (folder.parent / "project.checksum").touch()
    for words in ((), ("-B", "."), ("-B", ".pio/build")):
        shown = run_cli("doctor", *words).stderr
        assert "error SE154" in shown
        assert "environment: `-B .pio/build/board` or `-B .pio/build/other`" in shown
    assert "error SE154" in run_cli("configure", "--check").stderr


def test_a_project_that_was_never_built(tmp_path: Path) -> None:
    (tmp_path / "platformio.ini").touch()
    error = error_of(tmp_path / "build")
    assert error.code == "SE154"
    assert error.cure == "build it with `pio run`, then give the folder of an environment: `-B .pio/build/ENV`"


def test_what_only_looks_like_platformio_is_not(folder: Path) -> None:
    path = folder / "project_description.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    others: tuple[object, ...] = (None, "__pio_env", {}, ["main"])
    for components in others:
        path.write_text(json.dumps(description | {"build_components": components}), encoding="utf-8")
        assert error_of(folder).code == "SE107"


def test_a_configured_project_is_told_which_table_platformio_takes(
    tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    build = make_project(tmp_path) / "build"
    path = build / "project_description.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(description | {"build_components": ["__pio_env"]}), encoding="utf-8")
    shown = run_cli("configure", "-B", build, "--apply", "--yes").stderr
    assert "board_build.partitions = partitions_two_ota.csv" in shown and "next: pio run" in shown
