# SPDX-License-Identifier: Apache-2.0
"""What the partition table needs, and a CSV that has it; ESP-IDF's own generator says where each partition then is."""

from __future__ import annotations

from pathlib import Path

from secure_ext.build.configured import ConfiguredProject
from secure_ext.build.kconfig_tree import KconfigTree
from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.build.table_generator import generated_table, integer_of, table_source, table_text
from secure_ext.chips.facts import chip_facts
from secure_ext.configure.partition_csv import Row, rows_of, with_flags, with_row, without_offset
from secure_ext.configure.settings import Setting
from secure_ext.formats.partition_table import DEFAULT_TABLE_OFFSET, PartitionTable
from secure_ext.station.flash_sectors import SECTOR_SIZE, whole_sectors
from secure_ext.station.frozen import frozen

OWN_CSV = "partitions_secure.csv"
"""The project's copy of a table that ESP-IDF has built in."""
_BOOTLOADER = Path("bootloader", "bootloader.bin")
_GROWTH = 0x3000
"""More than secure boot and flash encryption add to a bootloader, in bytes."""
_QUIET_LEVEL = 3
"""INFO, ESP-IDF's default: up to it a bootloader has few texts."""
_USUAL, _ROOMY, _VERBOSE = 0xC000, 0xF000, 0x12000
"""Table offsets: ESP-IDF's own examples with secure boot; one with room to grow; one behind all texts there are. An app
begins at a multiple of 64 KB, so that none of them takes room from the usual first app."""


@frozen
class TableChange:
    """What becomes of the partition table.

    Attributes:
        csv: the file to write.
        before: its text before; of the table that is built in, where there was no file.
        after: its text.
        moved: partitions that are elsewhere now: label, offset before and after.
        settings: symbols that belong to it.
        partitions: all of them, where they will be.
    """

    csv: Path
    before: str
    after: str
    moved: tuple[tuple[str, int, int], ...]
    settings: tuple[Setting, ...]
    partitions: PartitionTable

    @property
    def rewrites(self) -> bool:
        """Whether the CSV changes."""
        return self.before != self.after


def change_table(project: ConfiguredProject, tree: KconfigTree, config: SdkConfig, *, move: bool) -> TableChange:
    """The table for what is set in `tree` by now; `config` is what was set before.

    A place that the CSV leaves to the build may change with the table's own; one that it says only if `move` is set.

    Raises InputError SE108 (no such CSV), SE116 (ESP-IDF's generator refuses what would be needed).
    """
    is_own = bool(tree.value("PARTITION_TABLE_CUSTOM"))
    source = table_source(project, tree)
    before = table_text(source)
    old_offset = integer_of(tree, "PARTITION_TABLE_OFFSET", DEFAULT_TABLE_OFFSET)
    offset = _table_offset(project, tree, config)
    after = _with_what_it_needs(before, tree)
    if move and offset != old_offset:
        for row in rows_of(after):
            after = without_offset(after, row)
    old = generated_table(project, tree, before, old_offset, source)
    partitions = generated_table(project, tree, after, offset, source)
    new = {partition.label: partition for partition in partitions.partitions}
    moved = tuple(
        (partition.label, partition.offset, new[partition.label].offset)
        for partition in old.partitions
        if partition.label in new and new[partition.label].offset != partition.offset
    )
    settings = []
    if offset != DEFAULT_TABLE_OFFSET:
        reason = "room for the bootloader with its signature and the code of the security features"
        settings.append(Setting("PARTITION_TABLE_OFFSET", offset, reason))
    csv = source
    if after != before and not is_own:
        csv = project.project_dir / OWN_CSV
    if csv == project.project_dir / OWN_CSV:
        settings.append(Setting("PARTITION_TABLE_CUSTOM", True, "the table has rows that the built-in one has not"))
        settings.append(Setting("PARTITION_TABLE_CUSTOM_FILENAME", OWN_CSV, "this is the table"))
    return TableChange(csv, before, after, moved, tuple(settings), partitions)


def _with_what_it_needs(text: str, tree: KconfigTree) -> str:
    """Source of what may not be encrypted: ``nvs_partition_lookup.cpp`` refuses NVS with the flag."""
    for row in rows_of(text) if tree.value("SECURE_FLASH_ENC_ENABLED") else ():
        if "encrypted" in row.flags and row.is_data("nvs"):
            text = with_flags(text, row, [flag for flag in row.flags if flag != "encrypted"])
    rows = rows_of(text)
    if any(row.is_ota_slot for row in rows) and not _has(rows, "ota"):
        text = with_row(text, "otadata", "data", "ota", "", "0x2000")
    if (
        tree.value("NVS_SEC_KEY_PROTECT_USING_FLASH_ENC")
        and tree.value("NVS_ENCRYPTION")
        and not _has(rows, "nvs_keys")
    ):
        text = with_row(text, "nvs_keys", "data", "nvs_keys", "", "0x1000", "encrypted")
    return text


def _has(rows: tuple[Row, ...], subtype: str) -> bool:
    return any(row.is_data(subtype) for row in rows)


def _table_offset(project: ConfiguredProject, tree: KconfigTree, before: SdkConfig) -> int:
    """The present offset where the bootloader will fit under it, else one that leaves it room to grow."""
    present = integer_of(tree, "PARTITION_TABLE_OFFSET", DEFAULT_TABLE_OFFSET)
    features = [name for name in ("SECURE_BOOT", "SECURE_FLASH_ENC_ENABLED") if tree.value(name)]
    if all(before.enabled(name) for name in features):  # it is made for them already, and boards may have it
        return present
    is_quiet = integer_of(tree, "BOOTLOADER_LOG_LEVEL", _QUIET_LEVEL) <= _QUIET_LEVEL
    usual, roomy = (_USUAL, _ROOMY) if is_quiet else (_VERBOSE, _VERBOSE)
    built = project.build_dir / _BOOTLOADER
    needed = usual
    if built.is_file():
        signature = SECTOR_SIZE if "SECURE_BOOT" in features else 0
        start = chip_facts(project.chip).bootloader_offset
        needed = start + whole_sectors(built.stat().st_size + _GROWTH) + signature
    return present if present >= needed else max(needed, roomy)
