# SPDX-License-Identifier: Apache-2.0
"""Writes a project directory that looks like what ESP-IDF leaves behind after ``idf.py build``.

The forms are those of ``components/esptool_py/flasher_args.json.in`` and ``tools/cmake/project_description.json.in``
of ESP-IDF, 6.1 or 5.0.
"""

from __future__ import annotations

import json
from pathlib import Path

from secure_ext.formats.partition_table import (
    DATA_OTA,
    TYPE_APP,
    TYPE_DATA,
    Partition,
    build_partition_table,
    covered_by_flash_encryption,
)
from secure_ext.sample.chip_facts import sample_chip
from secure_ext.sample.config import config_of, max_revision_of, min_revision_of, sdkconfig_text
from secure_ext.sample.images import ImageSettings, make_app, make_bootloader
from secure_ext.sample.options import SampleOptions, partitions_of
from secure_ext.station.frozen import frozen

PROJECT_NAME = "sample"
_DEFAULT_OPTIONS = SampleOptions()
_OTA_DATA_SIZE = 0x2000


@frozen
class _FlashFile:
    name: str
    offset: int
    path: str
    content: bytes
    covered: bool
    in_flasher_args: bool = True


def make_sample_build(destination: Path, chip: str, *, options: SampleOptions = _DEFAULT_OPTIONS) -> Path:
    """Write a project with a finished build into ``destination`` and return its build directory.

    Args:
        destination: the project directory; it is made if it does not exist, and files in it are replaced.
        chip: ESP-IDF's name of the chip, as ``esp32c6``.
        options: what the build is to look like.

    Raises:
        UsageError: SE191, when there is no such chip.
        ToolError: SE190, when esptool cannot make an image for the chip.
        InputError: SE128, when the partitions do not fit the format of the table.
    """
    sample_chip(chip)
    partitions = partitions_of(options)
    config = config_of(chip, options)
    files = _flash_files(chip, options, partitions)
    build_dir = destination / "build"
    for file in files:
        _write(build_dir / file.path, file.content)
    _write_json(build_dir / "config" / "sdkconfig.json", config)
    _write_json(build_dir / "project_description.json", _project_description(chip, options, destination))
    _write_json(build_dir / "flasher_args.json", _flasher_args(chip, options, files))
    _write(destination / "sdkconfig", sdkconfig_text(config, options.layout).encode())
    _write(destination / "partitions.csv", _csv(partitions).encode())
    return build_dir


def _flash_files(chip: str, options: SampleOptions, partitions: tuple[Partition, ...]) -> list[_FlashFile]:
    """All that goes into flash, in the order in which ESP-IDF 6 lists it."""
    settings = ImageSettings(
        chip, options.flash_size, min_revision_of(chip, options), options.secure_boot, options.app.max_revision
    )
    files = [
        _FlashFile(
            "bootloader",
            sample_chip(chip).bootloader_offset,
            "bootloader/bootloader.bin",
            make_bootloader(settings, options.bootloader_version),
            covered=True,
            in_flasher_args=not options.secure_boot,
        ),
        _FlashFile(
            "partition-table",
            options.table_offset,
            "partition_table/partition-table.bin",
            build_partition_table(partitions),
            covered=True,
        ),
    ]
    app_placed = False
    for partition in partitions:
        covered = covered_by_flash_encryption(partition)
        if partition.label in options.data_images:
            content = options.data_images[partition.label]
            files.append(_FlashFile(partition.label, partition.offset, f"{partition.label}.bin", content, covered))
        elif (partition.type, partition.subtype) == (TYPE_DATA, DATA_OTA):
            content = b"\xff" * _OTA_DATA_SIZE
            files.append(_FlashFile("otadata", partition.offset, "ota_data_initial.bin", content, covered))
        elif partition.type == TYPE_APP and not app_placed:
            content = make_app(settings, PROJECT_NAME, options.app_size, options.app)
            files.append(_FlashFile("app", partition.offset, f"{PROJECT_NAME}.bin", content, covered))
            app_placed = True
    return files


def _project_description(chip: str, options: SampleOptions, destination: Path) -> dict[str, object]:
    project = destination.resolve().as_posix()
    old = options.layout == "5.0"
    description: dict[str, object] = {
        "version": "1.3",
        "project_name": PROJECT_NAME,
        "project_version": "1.0.0",
        "project_path": project,
        "build_dir": f"{project}/build",
        "config_file": f"{project}/sdkconfig",
        "config_defaults": "",
        "bootloader_elf": f"{project}/build/bootloader/bootloader.elf",
        "app_elf": f"{PROJECT_NAME}.elf",
        "app_bin": f"{PROJECT_NAME}.bin",
        "build_type": "flash_app",
        "git_revision": "v5.0.2" if old else "v6.1",
        "target": chip,
        "rev": "",
        "min_rev": str(min_revision_of(chip, options)),
        "max_rev": str(max_revision_of(chip, options)),
    }
    if old:
        for key in ("version", "project_version", "build_type"):
            del description[key]
    return description


def _flasher_args(chip: str, options: SampleOptions, files: list[_FlashFile]) -> dict[str, object]:
    listed = [file for file in files if file.in_flasher_args]
    dash = "_" if options.layout == "5.0" else "-"
    secured = options.secure_boot or options.flash_encryption != "off"
    settings = {
        "flash_mode": "dio",
        "flash_size": _flash_size_setting(chip, options),
        "flash_freq": sample_chip(chip).flash_frequency,
    }
    arguments: dict[str, object] = {
        "write_flash_args": [part for key, value in settings.items() for part in (_option(key, dash), value)],
        "flash_settings": settings,
        "flash_files": {hex(file.offset): file.path for file in listed},
    }
    for file in listed:
        encrypted = options.flash_encryption == "development" and file.covered
        arguments[file.name] = {"offset": hex(file.offset), "file": file.path, "encrypted": str(encrypted).lower()}
    arguments["extra_esptool_args"] = {
        "after": f"{'no' if secured else 'hard'}{dash}reset",
        "before": f"default{dash}reset",
        "stub": not secured,
        "chip": chip,
    }
    return arguments


def _flash_size_setting(chip: str, options: SampleOptions) -> str:
    """ESP-IDF leaves the size in the header of RSA-signed images alone (``keep``): a change would break the hash."""
    return "keep" if config_of(chip, options).get("SECURE_SIGNED_APPS_RSA_SCHEME") else options.flash_size


def _option(key: str, dash: str) -> str:
    return "--" + key.replace("_", dash)


def _csv(partitions: tuple[Partition, ...]) -> str:
    lines = ["# Name, Type, SubType, Offset, Size, Flags"]
    for row in partitions:
        flags = ":".join(
            name for name, given in (("encrypted", row.encrypted_flag), ("readonly", row.readonly_flag)) if given
        )
        lines.append(f"{row.label},{row.type_name},{row.subtype_name},{row.offset:#x},{row.size:#x},{flags}")
    return "\n".join(lines) + "\n"


def _write_json(path: Path, content: dict[str, object]) -> None:
    _write(path, (json.dumps(content, indent=4) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
