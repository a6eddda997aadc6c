# SPDX-License-Identifier: Apache-2.0
"""A sample build as PlatformIO leaves it: ESP-IDF's files of the configuration, and images of its own beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

IMAGES = {
    "bootloader/bootloader.bin": "bootloader.bin",
    "partition_table/partition-table.bin": "partitions.bin",
    "sample.bin": "firmware.bin",
}
"""What ESP-IDF calls them, and PlatformIO."""


def as_platformio(build_dir: Path, environment: str = "board") -> Path:
    """Makes a project's finished build into one of PlatformIO's; returns its folder."""
    project = build_dir.parent.resolve()
    folder = project / ".pio" / "build" / environment
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(build_dir, folder)
    for theirs, ours in IMAGES.items():
        (folder / theirs).rename(folder / ours)
    for program in ("bootloader.elf", "firmware.elf"):
        (folder / program).touch()
    (project / "sdkconfig").rename(project / f"sdkconfig.{environment}")
    for name in ("platformio.ini", "CMakeLists.txt"):
        (project / name).touch()
    path = folder / "project_description.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description |= {
        "project_path": str(project),
        "build_dir": str(folder),
        "config_file": f"{project}/sdkconfig.{environment}",
        "bootloader_elf": f"{folder}/bootloader/bootloader.elf",
        "git_revision": description["git_revision"].removeprefix("v"),
        "build_components": ["__pio_env", "app_update", "bootloader", "main", ""],
    }
    path.write_text(json.dumps(description), encoding="utf-8")
    return folder
