# SPDX-License-Identifier: Apache-2.0
"""Rules about the app's own start: what it compares with the chip before ``app_main``, and aborts over for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secure_ext.build.flash_size import MEGABYTE
from secure_ext.build.idf_version import parse_idf_version
from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject
from secure_ext.formats.partition_table import TYPE_APP, covered_by_flash_encryption
from secure_ext.plan.steps import BurnField
from secure_ext.station.chip_facts import FACTS

_Since = Mapping[tuple[int, int], int]
_CLOSED_IS_FINE: _Since = {(5, 2): 7, (5, 3): 5, (5, 4): 4, (5, 5): 2, (6, 0): 0}
"""Where ``esp_efuse_enable_rom_secure_download_mode`` accepts DIS_DOWNLOAD_MODE: be280d34314 and its backports."""
_CHECKS_32_BIT: _Since = {(5, 4): 0}
_MAPS_ALL = (
    "BOOTLOADER_CACHE_32BIT_ADDR_QUAD_FLASH",
    "BOOTLOADER_CACHE_32BIT_ADDR_OCTAL_FLASH",
    "ESPTOOLPY_OCT_FLASH",
)
"""The cache reads flash behind 16 MB only with one of these; other chips do not offer them."""


def _secure_download_mode_of_none(subject: Subject) -> Iterator[Match]:
    build = subject.build
    burned = {step.action.field for step in subject.plan.steps if isinstance(step.action, BurnField)}
    if not build.config.enabled("SECURE_ENABLE_SECURE_ROM_DL_MODE") or "DIS_DOWNLOAD_MODE" not in burned:
        return
    version = parse_idf_version(build.idf_version)
    if version is None or not version.has(_CLOSED_IS_FINE):
        yield Match(
            "CONFIG_SECURE_ENABLE_SECURE_ROM_DL_MODE",
            f"with ESP-IDF {build.idf_version or 'of an unknown version'} the app aborts at every start once the "
            "download mode is disabled, because it was built for the secure one",
        )


def _flash_above_16_mb(subject: Subject) -> Iterator[Match]:
    build = subject.build
    version = parse_idf_version(build.idf_version)
    believed = 0 if build.bootloader_flash is None else build.bootloader_flash.most
    if subject.fleet is not None:
        believed = subject.fleet.flash_size or 0
    checks = version is None or version.has(_CHECKS_32_BIT)
    if FACTS[subject.chip.name].refuses_32_bit_flash and believed > 16 * MEGABYTE and checks:
        yield Match(
            "CONFIG_ESPTOOLPY_FLASHSIZE",
            f"the build is for {believed // MEGABYTE} MB of flash, and the app of an {subject.chip.name} aborts at "
            "every start with more than 16 MB",
        )


def _out_of_reach(subject: Subject) -> Iterator[Match]:
    build, flash = subject.build, subject.build.bootloader_flash
    if flash is None or flash.most <= 16 * MEGABYTE or any(map(build.config.enabled, _MAPS_ALL)):
        return
    for partition in build.partitions.partitions:
        is_app = partition.type == TYPE_APP
        is_encrypted = subject.policy.flash_encryption.enabled and covered_by_flash_encryption(partition)
        if partition.end > 16 * MEGABYTE and (is_app or is_encrypted):
            what = "apps" if is_app else "what is encrypted"
            yield Match(
                f"partition {partition.label}",
                f"it ends at 0x{partition.end:x}, and this firmware reaches {what} only in the first 16 MB of flash",
            )


def _first_app_is_reached(subject: Subject) -> bool:
    """Whether the app that a new board starts ends in the first 16 MB: that in factory, else in the first slot."""
    apps = {row.label: row.subtype for row in subject.build.partitions.partitions if row.type == TYPE_APP}
    images = [image for image in subject.images if image.partition in apps]
    first = min(images, key=lambda image: apps[str(image.partition)], default=None)
    return first is None or first.offset + len(first.content) <= 16 * MEGABYTE


RULES = (
    Rule(
        "SP110",
        Severity.ERROR,
        "app aborts where the download mode is disabled",
        _secure_download_mode_of_none,
        explanation="An app that was built for the secure download mode turns it on at every start. Before 5.2.7, "
        "5.3.5, 5.4.4, 5.5.2 and 6.0 ESP-IDF takes it for an error if the download mode is disabled already, and the "
        "app aborts: a board that never starts, and that has no download mode any more to be flashed by. A version "
        "that cannot be told is taken for one of these.",
        source="ESP-IDF components/efuse/<chip>/esp_efuse_fields.c (esp_efuse_enable_rom_secure_download_mode), "
        "components/efuse/src/esp_efuse_startup.c (init_efuse_secure); commit be280d34314",
        cure="set CONFIG_SECURE_DISABLE_ROM_DL_MODE=y (menuconfig, Security features, UART ROM download mode) and "
        "build again, or plan lockdown.download_mode: secure, or build with a later ESP-IDF",
        acceptable=False,
        why="the app aborts at every start, and the download mode is closed",
        concerns=Concern.BOTH,
        settings=(("SECURE_DISABLE_ROM_DL_MODE", True),),
    ),
    Rule(
        "SP111",
        Severity.ERROR,
        "app refuses more than 16 MB of flash",
        _flash_above_16_mb,
        explanation="Flash above 16 MB needs addresses of 32 bits, which ESP-IDF holds for too risky on some chips: "
        "since 5.4 their app ends its start with an error, and aborts every time. The bootloader knows such sizes "
        "since 5.4.4 and 5.5.2 and lets it come to that; before, it takes the flash for 2 MB.",
        source="ESP-IDF components/spi_flash/flash_ops.c (esp_mspi_32bit_address_flash_feature_check), "
        "esp_flash_spi_init.c (esp_flash_init_default_chip)",
        cure="set CONFIG_ESPTOOLPY_FLASHSIZE_16MB=y (menuconfig, Serial flasher config) and build again",
        acceptable=False,
        why="the app aborts at every start",
        concerns=Concern.BOTH,
        needs_images=True,
        settings=(("ESPTOOLPY_FLASHSIZE_16MB", True),),
    ),
    Rule(
        "SP163",
        Severity.ERROR,
        "partition beyond the 16 MB that the chip can map",
        _out_of_reach,
        explanation="Apps run from flash through the cache, and encrypted content is read through it. The cache "
        "addresses flash with 24 bits, so it sees the first 16 MB only; what is asked for behind that is read from "
        "the wrong place. Some chips can be built to use 32 bits. Data that is not encrypted may lie anywhere.",
        source="ESP-IDF manual, Optional Features for Flash, 32-bit Address Support of QSPI Flash Chips; "
        "components/spi_flash/flash_mmap.c; SOC_SPI_MEM_SUPPORT_CACHE_32BIT_ADDR_MAP",
        cure="move apps and encrypted partitions to the front of the CSV, below 0x1000000, and plain data behind them; "
        "or, on a chip that offers it, set CONFIG_BOOTLOADER_CACHE_32BIT_ADDR_QUAD_FLASH=y",
        acceptable=_first_app_is_reached,
        why="where the first app lies behind 16 MB no board starts; where it does not the board runs, until its first "
        "update, or until it reads that partition",
        needs_images=True,
    ),
)
