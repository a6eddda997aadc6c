# SPDX-License-Identifier: Apache-2.0
"""Rules about updates: what is compiled into the new app, against what lies in the boards' flash."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from secure_ext.build.idf_version import parse_idf_version
from secure_ext.doctor.rule import NOT_RECORDED, Concern, Match, Rule, Severity, Subject, Unseen, of_update
from secure_ext.formats.partition_table import TYPE_APP, TYPE_DATA
from secure_ext.plan.fleet import Fleet
from secure_ext.plan.images import PlannedImage

_MENU = "build again with the fleet's setting"
_PHY = 0x01
_READS_THE_PAGE_SIZE = {(5, 4): 0}
_TEE_SIZES = ("IRAM_SIZE", "DRAM_SIZE", "STACK_SIZE", "INTR_STACK_SIZE", "IROM_SIZE", "DROM_SIZE")
_FILE_SYSTEMS = (
    "WL_SECTOR_SIZE",
    "SPIFFS_PAGE_SIZE",
    "SPIFFS_OBJ_NAME_LEN",
    "SPIFFS_META_LENGTH",
    "SPIFFS_USE_MAGIC",
    "SPIFFS_USE_MAGIC_LENGTH",
)
"""Kconfig symbols that a partition in flash was formatted with."""


def _table_offset(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    built = subject.build.config.integer("PARTITION_TABLE_OFFSET")
    if built is not None and built != fleet.table_offset:
        yield Match(
            "CONFIG_PARTITION_TABLE_OFFSET",
            f"the app looks for the partition table at 0x{built:x}, and the boards have it at 0x{fleet.table_offset:x}",
            f"set CONFIG_PARTITION_TABLE_OFFSET=0x{fleet.table_offset:x} and build again",
        )


def _layout(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    if fleet.table is None:
        return
    built = subject.build.partitions.partitions
    there = {row.label: row for row in fleet.table.partitions}
    missing = [row.label for row in built if row.label not in there and row.type != TYPE_APP]
    moved = [row.label for row in built if row.label in there and there[row.label] != row]
    for rows, what in ((missing, "which the boards do not have"), (moved, "which is another one on the boards")):
        for label in rows:
            yield Match(
                f"partition {label}", f"the build's partition table has {label}, {what}; an update changes no table"
            )


def _table_md5(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    symbol = "PARTITION_TABLE_MD5"
    if not subject.build.config.enabled(symbol):
        return
    has_md5 = fleet.setting(symbol) if fleet.table is None else fleet.table.has_md5
    if has_md5 is None:
        yield Unseen("MD5 of the partition table", "the fleet's partition table is encrypted, and its key is not given")
    elif not has_md5:
        yield Match(f"CONFIG_{symbol}", "the app wants a partition table with an MD5, and that of the boards has none")


def _phy_partition(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    symbol = "ESP_PHY_INIT_DATA_IN_PARTITION"
    if subject.build.config.enabled(symbol) and fleet.table is not None:
        if not any((row.type, row.subtype) == (TYPE_DATA, _PHY) for row in fleet.table.partitions):
            yield Match(
                f"CONFIG_{symbol}", "the app takes the radio's data from a partition that the boards do not have"
            )


def _tee(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    config, symbol = subject.build.config, "SECURE_ENABLE_TEE"
    built, there = config.enabled(symbol), fleet.setting(symbol)
    if fleet.settings is None or there is None:
        has_table = fleet.table is not None
        there = any(row.subtype_name.startswith("tee_") for row in fleet.table.partitions) if fleet.table else built
        if built:
            yield Unseen("memory of the TEE", NOT_RECORDED)
        if not has_table:
            return
    if built != there:
        yield Match(
            f"CONFIG_{symbol}",
            f"the app is built {'for' if built else 'without'} ESP-TEE, and the boards "
            f"{'have' if there else 'have not'} one",
        )
    elif built and fleet.settings is not None:
        for name in (f"SECURE_TEE_{size}" for size in _TEE_SIZES):
            ours, theirs = config.integer(name), fleet.settings.integer(name)
            if ours != theirs:
                yield Match(
                    f"CONFIG_{name}", f"the app leaves the TEE {ours} bytes, and that of the boards has {theirs}"
                )


def _flash_access(subject: Subject, fleet: Fleet, image: PlannedImage) -> Iterator[Match | Unseen]:
    yield from _octal_flash(subject, fleet)
    config, pages = subject.build.config, subject.build.config.integer("MMU_PAGE_SIZE")
    there = fleet.settings.integer("MMU_PAGE_SIZE") if fleet.settings else None
    version = parse_idf_version(fleet.idf_version)
    if None not in (pages, there) and pages != there and not (version and version.has(_READS_THE_PAGE_SIZE)):
        yield Match(
            "CONFIG_MMU_PAGE_SIZE",
            f"the app is linked for pages of {pages} bytes, and the fleet's bootloader maps pages of {there}",
        )
    size = image.header.flash_size if image.header else None
    if config.enabled("SPI_FLASH_SIZE_OVERRIDE") and size is not None:
        if fleet.flash_size is None:
            yield Unseen("flash size", NOT_RECORDED)
        elif size > fleet.flash_size:
            yield Match(
                "CONFIG_SPI_FLASH_SIZE_OVERRIDE",
                f"the app aborts on less than {size >> 20} MB of flash, and the fleet was made for "
                f"{fleet.flash_size >> 20}",
            )


def _octal_flash(subject: Subject, fleet: Fleet) -> Iterator[Match | Unseen]:
    def octal(enabled: Callable[[str], bool]) -> bool:
        return enabled("ESPTOOLPY_OCT_FLASH") and not enabled("ESPTOOLPY_FLASH_MODE_AUTO_DETECT")

    if octal(subject.build.config.enabled):
        if fleet.settings is None:
            yield Unseen("CONFIG_ESPTOOLPY_OCT_FLASH", NOT_RECORDED)
        elif not octal(fleet.settings.enabled):
            yield Match(
                "CONFIG_ESPTOOLPY_OCT_FLASH",
                "the app aborts unless an eFuse says that the flash has eight data lines, which the fleet's own app "
                "does not ask for",
            )


def _file_systems(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    for name in _FILE_SYSTEMS:
        ours = subject.build.config.values.get(name)
        theirs = fleet.settings.values.get(name) if fleet.settings else None
        if None not in (ours, theirs) and ours != theirs:
            yield Match(
                f"CONFIG_{name}", f"the app is built with {ours!r}, and what is in the flash was made with {theirs!r}"
            )


RULES = (
    Rule(
        "SP120",
        Severity.ERROR,
        "update looks for the partition table elsewhere",
        of_update(_table_offset),
        explanation="The address of the partition table is compiled into the app. An update that was built with "
        "another one finds no table on the boards: every look for a partition fails, and ESP-IDF asserts at the start.",
        source="ESP-IDF components/esp_partition/partition.c (load_partitions)",
        cure="set CONFIG_PARTITION_TABLE_OFFSET to the fleet's (menuconfig, Partition Table) and build again",
        acceptable=False,
        why="the app asserts at every start",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP130",
        Severity.WARNING,
        "update is built with another partition table",
        of_update(_layout),
        explanation="Boards keep the partition table that they were made with. An app that looks for a partition which "
        "is not there, or expects another size or kind, fails where it opens it.",
        source="ESP-IDF components/esp_partition/partition.c; manual, Over The Air Updates",
        cure="build with the fleet's partition table; or see that the app copes with what the boards have",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP131",
        Severity.ERROR,
        "update is built for another TEE",
        of_update(_tee),
        explanation="With ESP-TEE the app runs in a world of its own, and the memory in front of it belongs to the "
        "TEE. Where the TEE begins and ends is compiled into both. An app for a board without one, or with another, "
        "starts in the wrong mode or in memory that is taken.",
        source="ESP-IDF components/esp_tee/Kconfig.projbuild; components/esp_system/ld",
        cure=f"{_MENU} of CONFIG_SECURE_ENABLE_TEE and its memory sizes (menuconfig, ESP-TEE)",
        acceptable=False,
        why="the app does not start beside such a TEE, or without one",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP132",
        Severity.ERROR,
        "update expects another flash",
        of_update(_flash_access),
        explanation="The size of a flash page in the chip's memory map is compiled into app and bootloader; "
        "bootloaders before ESP-IDF 5.4 do not look into the app for it. An app that overrides the flash size, or "
        "wants flash with eight data lines, aborts where the boards have another one.",
        source="ESP-IDF components/bootloader_support/src/esp_image_format.c (mmu_page_size); "
        "components/esp_system/port/cpu_start.c (SPI_FLASH_SIZE_OVERRIDE, ESPTOOLPY_OCT_FLASH)",
        cure="build again with the fleet's flash size and kind (menuconfig, Serial flasher config) and its MMU page "
        "size",
        acceptable=False,
        why="the bootloader refuses the app, or it aborts at every start",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP133",
        Severity.ERROR,
        "update takes the radio's data from a missing partition",
        of_update(_phy_partition),
        explanation="With CONFIG_ESP_PHY_INIT_DATA_IN_PARTITION the app reads the radio's initial data from a "
        "partition of subtype phy. Without it the start of Wi-Fi or Bluetooth aborts.",
        source="ESP-IDF components/esp_phy/src/phy_init.c (esp_phy_load_cal_and_init)",
        cure="set CONFIG_ESP_PHY_INIT_DATA_IN_PARTITION=n (menuconfig, Component config, PHY) and build again",
        why="the app runs as long as it leaves the radio off",
        concerns=Concern.UPDATES,
        settings=(("ESP_PHY_INIT_DATA_IN_PARTITION", False),),
    ),
    Rule(
        "SP135",
        Severity.WARNING,
        "update formats its file systems otherwise",
        of_update(_file_systems),
        explanation="Sector and page sizes of file systems are compiled into the app, and what is in the flash was "
        "made with others. The app cannot mount it; most apps then format, and the data is gone.",
        source="ESP-IDF components/wear_levelling/Kconfig; components/spiffs/Kconfig",
        cure=_MENU,
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP136",
        Severity.ERROR,
        "update wants a partition table with an MD5",
        of_update(_table_md5),
        explanation="An app that was built with CONFIG_PARTITION_TABLE_MD5 takes no partition table without that row, "
        "and finds no partition at all.",
        source="ESP-IDF components/esp_partition/partition.c (load_partitions)",
        cure="set CONFIG_PARTITION_TABLE_MD5=n (menuconfig, Partition Table) and build again",
        acceptable=False,
        why="the app finds no partition, and asserts at every start",
        concerns=Concern.UPDATES,
        settings=(("PARTITION_TABLE_MD5", False),),
    ),
)
