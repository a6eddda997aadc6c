# SPDX-License-Identifier: Apache-2.0
"""PlatformIO's build of ESP-IDF: configured as by ``idf.py``, with images of PlatformIO's own at places of its own.

PlatformIO has ESP-IDF's CMake configure the project in ``.pio/build/ENV``, and then compiles, links and makes the
images by itself (platform-espressif32, ``builder/frameworks/espidf.py`` and ``builder/main.py``; pioarduino's fork
alike). ``flasher_args.json`` there names files that are never made, and its addresses are those of the partition table
that sdkconfig names, while PlatformIO makes its own of ``board_build.partitions``. So the built table says what goes
where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from secure_ext.build.files import read_bytes, read_json
from secure_ext.build.flasher_args import FlashEntry
from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.errors import InputError
from secure_ext.formats.partition_table import DATA_OTA, TYPE_APP, TYPE_DATA, Partition, parse_partition_table
from secure_ext.station.flash_sectors import SECTOR_SIZE

COMMANDS = {
    "idf.py fullclean build": "pio run -t clean, then pio run",
    "idf.py fullclean": "pio run -t clean",
    "idf.py build": "pio run",
    "idf.py reconfigure": "pio run",
}
"""What people of PlatformIO type for what people of ESP-IDF type; the longer ones first."""

_COMPONENT = "__pio_env"
"""The component that PlatformIO adds to every project, and without which it does not build one."""
_BOOTLOADER, _TABLE, _APP = "bootloader", "partitions", "firmware"
_OTA_DATA = "ota_data_initial.bin"
_FILE_SYSTEMS = ("spiffs.bin", "littlefs.bin", "fatfs.bin")
_FILE_SYSTEM_SUBTYPES = (0x81, 0x82, 0x83)
_FIRST_TEST_SUBTYPE = 0x20


def is_platformio(description: Mapping[str, object]) -> bool:
    """Whether ``project_description.json`` is that of a project which PlatformIO has configured."""
    components = description.get("build_components")
    return isinstance(components, list) and _COMPONENT in components


def made_by_platformio(build_dir: Path) -> bool:
    """The same of a folder, whatever is in it."""
    try:
        return is_platformio(read_json(build_dir / "project_description.json", build_dir))
    except (InputError, OSError):
        return False


def platformio_entries(build_dir: Path, config: SdkConfig, bootloader: int, table: int) -> tuple[FlashEntry, ...]:
    """What PlatformIO's upload and uploadfs write, by address; where there is no table yet, without what it places.

    Args:
        build_dir: the folder of an environment.
        config: what it was built with.
        bootloader: flash address of the bootloader.
        table: that of the partition table.

    Raises:
        InputError: SE108, SE109, SE155; SE120 to SE127 for the partition table.
    """
    signs = config.enabled("SECURE_BOOT_BUILD_SIGNED_BINARIES")
    entries = [
        FlashEntry("bootloader", bootloader, _image(build_dir, _BOOTLOADER, signs=signs)),
        FlashEntry("partition-table", table, f"{_TABLE}.bin"),
    ]
    path = build_dir / f"{_TABLE}.bin"
    if path.is_file():
        rows = parse_partition_table(read_bytes(path), place=str(path)).partitions
        entries += _placed(build_dir, rows, _image(build_dir, _program(build_dir), signs=signs))
    return tuple(sorted(entries, key=lambda entry: entry.offset))


def _placed(build_dir: Path, rows: tuple[Partition, ...], app: str) -> Iterator[FlashEntry]:
    """The app, in the partition that the bootloader starts when otadata is blank; blank otadata; a file system."""
    apps = [row for row in rows if row.type == TYPE_APP and row.subtype < _FIRST_TEST_SUBTYPE]
    if apps:
        yield FlashEntry("app", min(apps, key=lambda row: row.subtype).offset, app)
    ota_data = [row for row in rows if (row.type, row.subtype) == (TYPE_DATA, DATA_OTA)]
    if ota_data and (build_dir / _OTA_DATA).is_file():
        yield FlashEntry("otadata", ota_data[0].offset, _OTA_DATA)
    file_systems = [row for row in rows if row.type == TYPE_DATA and row.subtype in _FILE_SYSTEM_SUBTYPES]
    images = [name for name in _FILE_SYSTEMS if (build_dir / name).is_file()]
    if file_systems and images:
        yield _file_system(build_dir, file_systems[-1], images)


def _file_system(build_dir: Path, row: Partition, images: list[str]) -> FlashEntry:
    """The image that ``pio run -t buildfs`` made, whatever kind the last partition for one is called.

    PlatformIO leaves the first sector of the partition free before an image of FAT; pioarduino's image fills it.
    """
    if len(images) > 1:
        raise InputError(
            "SE109",
            f"{build_dir} has {len(images)} images for the partition {row.label}: {' and '.join(images)}",
            cure="delete those that are not of this build; `pio run -t buildfs` makes the image again",
            place=str(build_dir),
        )
    behind = images[0] == "fatfs.bin" and (build_dir / images[0]).stat().st_size == row.size - SECTOR_SIZE
    return FlashEntry(row.label, row.offset + SECTOR_SIZE * behind, images[0])


def _program(build_dir: Path) -> str:
    """The name of the app. An extra script may have changed ``PROGNAME``; the app of the name before stays there."""
    names = sorted({path.stem for path in build_dir.glob("*.elf")} - {_BOOTLOADER})
    if len(names) > 1:
        raise InputError(
            "SE155",
            f"{build_dir} holds more than one program, and nothing says which is the app: {', '.join(names)}",
            cure="remove what is old: `pio run -t clean`, then `pio run`",
            place=str(build_dir),
        )
    return names[0] if names else _APP


def _image(build_dir: Path, name: str, *, signs: bool) -> str:
    """The file of an image: the signed one of a build that signs. pioarduino never signs."""
    signed = f"{name}-signed.bin"
    return signed if signs and (build_dir / signed).is_file() else f"{name}.bin"


def refuse_project(folder: Path) -> None:
    """Says where the builds are to somebody who gave a place in a PlatformIO project that is none. Raises SE154."""
    for project in (folder.parent, folder, folder.parent.parent):
        if (project / "platformio.ini").is_file():
            builds = sorted(path for path in (project / ".pio" / "build").glob("*") if path.is_dir())
            named = " or ".join(f"`-B {path.as_posix()}`" for path in builds)
            first = "" if builds else "build it with `pio run`, then "
            raise InputError(
                "SE154",
                f"{folder} is not a build: this is a project of PlatformIO, which builds in .pio/build",
                cure=f"{first}give the folder of an environment: {named or '`-B .pio/build/ENV`'}",
                place=str(folder),
            )
