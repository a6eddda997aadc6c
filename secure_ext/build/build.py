# SPDX-License-Identifier: Apache-2.0
"""A finished ESP-IDF build: everything the later steps need to know of it, read once and checked."""

from __future__ import annotations

import enum
import errno
import os
import re
from pathlib import Path

from secure_ext.build.files import BUILD_AGAIN, read_bytes, read_json, unreadable
from secure_ext.build.flash_size import FlashSize, bootloader_flash_size
from secure_ext.build.flasher_args import FLASHER_ARGS, FlashEntry, read_flasher_args
from secure_ext.build.foreign import refuse_foreign
from secure_ext.build.idf_version import parse_idf_version
from secure_ext.build.platformio import is_platformio, platformio_entries
from secure_ext.build.recorded_paths import find_recorded
from secure_ext.build.sdkconfig import ConfigDifference, SdkConfig, differences, read_built_config, read_sdkconfig
from secure_ext.errors import InputError
from secure_ext.formats.bootloader_description import read_bootloader_description
from secure_ext.formats.content import Content, recognize
from secure_ext.formats.partition_table import (
    DEFAULT_TABLE_OFFSET,
    TYPE_APP,
    TYPE_BOOTLOADER,
    TYPE_PARTITION_TABLE,
    PartitionTable,
    parse_partition_table,
)
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.frozen import frozen
from secure_ext.station.one_line import printable

PROJECT_DESCRIPTION = "project_description.json"
_BOOTLOADER = "bootloader/bootloader.bin"
_OLD_VERSION = re.compile(r"v?[0-4]\.")


class Role(str, enum.Enum):
    """What a file is for; the value is what the manifest calls it."""

    BOOTLOADER = "bootloader"
    PARTITION_TABLE = "partition_table"
    APP = "app"
    DATA = "data"


@frozen
class BuildFile:
    """One file of the build that goes into flash.

    Attributes:
        role: what it is for, by the place it goes to.
        name: ESP-IDF's name for it (``bootloader``, ``partition-table``, ``app``, ``otadata``, a partition's label).
        partition: label of the partition that holds the address, or None.
        offset: its flash address.
        path: the file on this machine.
        source: the same, relative to the build directory, with forward slashes.
    """

    role: Role
    name: str
    partition: str | None
    offset: int
    path: Path
    source: str


@frozen
class Build:
    """A finished build.

    Attributes:
        build_dir: the directory it was read from.
        project_dir: the project's directory, if it is on this machine.
        sdkconfig: the file with the project's own settings, if it is on this machine.
        project_name: the name in its ``project()`` line.
        chip: ESP-IDF's name of the chip, as ``esp32c6``.
        idf_version: ESP-IDF's version as the build recorded it: ``v5.5.1-dirty``, or a bare commit; None if unknown.
        config: the Kconfig values that the build used.
        config_differences: what the sdkconfig now has otherwise; empty also when no sdkconfig was found.
        bootloader_flash: how much flash its bootloader believes in; None if that file is not an image.
        flash_size_setting: as in flasher_args.json: ``4MB``, ``detect`` or ``keep``.
        flash_mode: likewise, ``dio``.
        flash_freq: likewise, ``80m``.
        bootloader_offset: flash address of the bootloader.
        table_offset: flash address of the partition table.
        partitions: the built partition table.
        files: what goes into flash, by address; there is always a bootloader, a partition table and an app.
        min_revision: least chip revision, as major * 100 + minor.
        max_revision: greatest chip revision, likewise, or None if the build does not say.
    """

    build_dir: Path
    project_dir: Path | None
    sdkconfig: Path | None
    project_name: str
    chip: str
    idf_version: str | None
    config: SdkConfig
    config_differences: tuple[ConfigDifference, ...]
    bootloader_flash: FlashSize | None
    flash_size_setting: str
    flash_mode: str
    flash_freq: str
    bootloader_offset: int
    table_offset: int
    partitions: PartitionTable
    files: tuple[BuildFile, ...]
    min_revision: int
    max_revision: int | None

    @property
    def flash_size(self) -> int | None:
        """Bytes of flash that the bootloader surely believes in: the one truth for all that must fit in."""
        return None if self.bootloader_flash is None else self.bootloader_flash.least

    def file(self, role: Role) -> BuildFile | None:
        """The first file with this role, or None."""
        return next((file for file in self.files if file.role is role), None)

    @property
    def apps(self) -> tuple[BuildFile, ...]:
        """All applications: the project's own, and a TEE beside it."""
        return tuple(file for file in self.files if file.role is Role.APP)

    @property
    def bootloader(self) -> BuildFile:
        """The bootloader that the chip's ROM starts."""
        return next(file for file in self.files if file.offset == self.bootloader_offset)

    @property
    def partition_table_file(self) -> BuildFile:
        """The partition table that bootloader and app use."""
        return next(file for file in self.files if file.offset == self.table_offset)


def read_build(build_dir: Path) -> Build:
    """Read a build directory, of ESP-IDF's own or of PlatformIO, and check that it is whole.

    Only the partition table's content is looked at; images are read with `secure_ext.formats.image.parse_image`.

    Raises:
        InputError: SE101 to SE112, SE120 to SE127 for the partition table, SE150 to SE155 for other build systems.
    """
    try:
        return _read_build(build_dir)
    except OSError as error:
        raise unreadable(Path(error.filename or build_dir), error) from error


def _read_build(build_dir: Path) -> Build:
    if not (build_dir / PROJECT_DESCRIPTION).is_file():
        refuse_foreign(build_dir)
    if not build_dir.is_dir():
        raise InputError(
            "SE101",
            f"the build directory {build_dir} does not exist",
            cure=f"{BUILD_AGAIN}; if its build directory is elsewhere, give it with -B",
            place=str(build_dir),
        )
    description = read_json(build_dir / PROJECT_DESCRIPTION, build_dir)
    chip = _supported_chip(description, build_dir)
    idf_version = _supported_version(description, build_dir)
    arguments = read_flasher_args(build_dir)
    config = read_built_config(build_dir)
    _refuse_partial_build(config, chip, build_dir)
    bootloader_offset = offset_of(config, "BOOTLOADER_OFFSET_IN_FLASH", FACTS[chip].bootloader_offset)
    table_offset = offset_of(config, "PARTITION_TABLE_OFFSET", DEFAULT_TABLE_OFFSET)
    entries = _complete(arguments.entries, bootloader_offset, table_offset, build_dir)
    if is_platformio(description):
        entries = platformio_entries(build_dir, config, bootloader_offset, table_offset)
    paths = _existing_files(entries, build_dir)
    table = parse_partition_table(read_bytes(paths[table_offset]), place=str(paths[table_offset]))
    files = tuple(_build_file(entry, paths, table, bootloader_offset, table_offset) for entry in entries)
    if not any(file.role is Role.APP for file in files):
        raise _partial(build_dir, "no file goes into an app partition")
    sdkconfig = _sdkconfig(build_dir, description)
    return Build(
        build_dir=build_dir,
        project_dir=find_recorded(build_dir, description.get("build_dir"), description.get("project_path")),
        sdkconfig=sdkconfig,
        project_name=printable(str(description.get("project_name", ""))),
        chip=chip,
        idf_version=idf_version,
        config=config,
        config_differences=differences(config, read_sdkconfig(sdkconfig)) if sdkconfig else (),
        bootloader_flash=_bootloader_flash(paths[bootloader_offset], chip, idf_version),
        flash_size_setting=arguments.flash_size,
        flash_mode=arguments.flash_mode,
        flash_freq=arguments.flash_freq,
        bootloader_offset=bootloader_offset,
        table_offset=table_offset,
        partitions=table,
        files=files,
        min_revision=revision_of(config, description, chip, "min") or 0,
        max_revision=revision_of(config, description, chip, "max"),
    )


def _supported_chip(description: dict[str, object], build_dir: Path) -> str:
    chip = description.get("target")
    if chip is None and "bootloader_elf" not in description:
        raise _too_old(build_dir, f"{PROJECT_DESCRIPTION} names no target")
    if not isinstance(chip, str) or chip not in FACTS:
        raise InputError(
            "SE105",
            f"{build_dir} is a build for {chip or 'no chip'}, which is not supported",
            cure=f"build for one of {', '.join(sorted(FACTS))}; an ESP8266 has no eFuses for secure boot",
            place=str(build_dir / PROJECT_DESCRIPTION),
        )
    return chip


def _supported_version(description: dict[str, object], build_dir: Path) -> str | None:
    """The recorded version; ``bootloader_elf`` is in the description since ESP-IDF 5.0."""
    revision = str(description.get("git_revision") or "")
    known = bool(revision) and not revision.endswith("-NOTFOUND")
    if "bootloader_elf" not in description or _OLD_VERSION.match(revision):
        raise _too_old(build_dir, f"it records {revision}" if known else f"{PROJECT_DESCRIPTION} has no bootloader_elf")
    return printable(revision) if known else None


def _too_old(build_dir: Path, reason: str) -> InputError:
    """ESP-IDF names the target in the description since 4.2, and ``bootloader_elf`` since 5.0."""
    return InputError(
        "SE104",
        f"{build_dir} was built with an ESP-IDF older than 5.0 ({reason})",
        cure="build the project with ESP-IDF 5.0 or later; 5.3 and later are supported in full",
        place=str(build_dir / PROJECT_DESCRIPTION),
    )


def _refuse_partial_build(config: SdkConfig, chip: str, build_dir: Path) -> None:
    target = config.text("IDF_TARGET")
    if target not in (None, chip):
        raise _contradiction(build_dir, f"{PROJECT_DESCRIPTION} is for {chip}, config/sdkconfig.json for {target}")
    for name in ("APP_BUILD_BOOTLOADER", "APP_BUILD_GENERATE_BINARIES"):
        if config.defines(name) and not config.enabled(name):
            raise _partial(build_dir, f"CONFIG_{name} is off")


def _complete(
    entries: tuple[FlashEntry, ...], bootloader_offset: int, table_offset: int, build_dir: Path
) -> tuple[FlashEntry, ...]:
    """The entries with the bootloader, which ESP-IDF leaves out of flasher_args.json when secure boot is on."""
    for name, offset in (("bootloader", bootloader_offset), ("partition-table", table_offset)):
        for entry in entries:
            if entry.name == name and entry.offset != offset:
                raise _contradiction(
                    build_dir,
                    f"{FLASHER_ARGS} puts the {name} at {entry.offset:#x}, config/sdkconfig.json at {offset:#x}",
                )
    offsets = [entry.offset for entry in entries]
    if table_offset not in offsets:
        raise _partial(build_dir, f"{FLASHER_ARGS} has no partition table")
    if bootloader_offset in offsets:
        return entries
    bootloader = FlashEntry("bootloader", bootloader_offset, _BOOTLOADER)
    return tuple(sorted((bootloader, *entries), key=lambda entry: entry.offset))


def _existing_files(entries: tuple[FlashEntry, ...], build_dir: Path) -> dict[int, Path]:
    """The files by their flash addresses; all of them are there and readable."""
    paths = {entry.offset: build_dir / entry.source for entry in entries}
    missing = [entry.source for entry in entries if not paths[entry.offset].is_file()]
    if len(missing) == len(entries):
        raise InputError(
            "SE110",
            f"{build_dir} is configured but not built: none of the {len(entries)} files for the flash is there",
            cure=BUILD_AGAIN,
            place=str(build_dir),
        )
    if missing:
        raise InputError(
            "SE107",
            f"the build is not complete: {', '.join(missing)} should be in {build_dir}",
            cure=f"{BUILD_AGAIN}; a build that was copied must be copied with all its files",
            place=str(build_dir / missing[0]),
        )
    for path in paths.values():
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, "no permission", str(path))
    return paths


def _build_file(
    entry: FlashEntry, paths: dict[int, Path], table: PartitionTable, bootloader_offset: int, table_offset: int
) -> BuildFile:
    partition = table.containing(entry.offset)
    if entry.offset == bootloader_offset:
        role = Role.BOOTLOADER
    elif entry.offset == table_offset:
        role = Role.PARTITION_TABLE
    else:
        role = {TYPE_APP: Role.APP, TYPE_BOOTLOADER: Role.BOOTLOADER, TYPE_PARTITION_TABLE: Role.PARTITION_TABLE}.get(
            -1 if partition is None else partition.type, Role.DATA
        )
    label = None if partition is None else partition.label
    return BuildFile(role, entry.name, label, entry.offset, paths[entry.offset], entry.source)


def _sdkconfig(build_dir: Path, description: dict[str, object]) -> Path | None:
    """As recorded; else where ESP-IDF has it if nobody says otherwise."""
    recorded = find_recorded(build_dir, description.get("build_dir"), description.get("config_file"))
    path = recorded or build_dir.resolve().parent / "sdkconfig"
    return path if path.is_file() else None


def offset_of(config: SdkConfig, name: str, default: int) -> int:
    """A flash address that the configuration says, or the usual one."""
    value = config.integer(name)
    return default if value is None else value


def revision_of(config: SdkConfig, description: dict[str, object], chip: str, which: str) -> int | None:
    """A chip revision as major * 100 + minor, from the first place that has it."""
    for name in (f"{chip.upper()}_REV_{which.upper()}_FULL", f"ESP_REV_{which.upper()}_FULL"):
        value = config.integer(name)
        if value is not None:
            return value
    recorded = str(description.get(f"{which}_rev", ""))
    return int(recorded) if recorded.isdecimal() else None


def _bootloader_flash(path: Path, chip: str, idf_version: str | None) -> FlashSize | None:
    """What the header says, read as the ESP-IDF does that the bootloader itself names, or else the build."""
    content = read_bytes(path)
    if recognize(content) is not Content.IMAGE or len(content) < 4:
        return None
    description = read_bootloader_description(content)
    named = description.idf_version if description else None
    return bootloader_flash_size(chip, content[3] >> 4, named if parse_idf_version(named) else idf_version)


def _partial(build_dir: Path, reason: str) -> InputError:
    return InputError(
        "SE106",
        f"{build_dir} is not the build of a whole project, with bootloader, partition table and app: {reason}",
        cure="give the build directory of the project itself, built as a normal application with its bootloader",
        place=str(build_dir),
    )


def _contradiction(build_dir: Path, what: str) -> InputError:
    return InputError(
        "SE112",
        f"the files in {build_dir} are from different builds: {what}",
        cure="run `idf.py fullclean`, then `idf.py build`",
        place=str(build_dir),
    )
