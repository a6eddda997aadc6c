# SPDX-License-Identifier: Apache-2.0
"""A folder that is no build of ESP-IDF: whose it is, by the files that its build system leaves, and what to do."""

from __future__ import annotations

from pathlib import Path

from secure_ext.build.platformio import refuse_project
from secure_ext.errors import InputError

_ZEPHYR = ("zephyr/.config", "zephyr/runners.yaml", "runners.yaml", "build_info.yml", "domains.yaml")
_NUTTX = ("nuttx", "nuttx.bin", "nuttx.hex", "nuttx.elf", "nuttx.manifest")
_ARDUINO = ("*.ino.bin", "*.ino.*.bin", "build.options.json", "*/*.ino.bin", "*/build.options.json")
"""Arduino IDE exports into a folder for each board in ``build`` in the sketch."""
_PLATFORMIO = ("firmware.elf", "partitions.bin")

_MCUBOOT = (
    "use MCUboot's port for Espressif's chips, which has secure boot and flash encryption of its own "
    "(docs.mcuboot.com/readme-espressif); here only what is built with ESP-IDF can be made secure"
)


def refuse_foreign(folder: Path) -> None:
    """Raises InputError SE150 to SE154 for the output of another build system; nothing for any other folder."""
    if _has(folder, _ZEPHYR):
        raise InputError(
            "SE152",
            f"{folder} is a build of Zephyr, which is not supported: its images are not those of ESP-IDF",
            cure=_MCUBOOT,
            place=str(folder),
        )
    if _has(folder, _NUTTX):
        raise InputError(
            "SE153",
            f"{folder} is a build of NuttX, which is not supported: its images are not those of ESP-IDF",
            cure=_MCUBOOT,
            place=str(folder),
        )
    if _has(folder, _ARDUINO):
        raise InputError(
            "SE150",
            f"{folder} is a build of Arduino, whose bootloader and libraries come ready-made, without secure boot and "
            "flash encryption",
            cure="build the sketch with ESP-IDF, which makes them with your settings: Arduino as a component of an "
            "ESP-IDF project (`idf.py add-dependency espressif/arduino-esp32`), or PlatformIO with "
            "`framework = arduino, espidf`; then give that build",
            place=str(folder),
        )
    if _has(folder, _PLATFORMIO):
        raise InputError(
            "SE151",
            f"{folder} is a build of PlatformIO without ESP-IDF, probably of Arduino alone, whose bootloader and "
            "libraries come ready-made, without secure boot and flash encryption",
            cure="set `framework = espidf` in platformio.ini, or for a sketch `framework = arduino, espidf`, and run "
            "`pio run`",
            place=str(folder),
        )
    refuse_project(folder)


def _has(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)
