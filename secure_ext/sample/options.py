# SPDX-License-Identifier: Apache-2.0
"""What a sample build can look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from secure_ext.formats.partition_table import (
    DATA_NVS,
    DATA_NVS_KEYS,
    DATA_OTA,
    FLAG_ENCRYPTED,
    TYPE_APP,
    TYPE_DATA,
    Partition,
)
from secure_ext.station.frozen import frozen

_SECTOR = 0x1000
_APP_ALIGNMENT = 0x10000
_LEAST_SLOT_SIZE = 0x100000
_ROOM_FOR_PADDING_AND_SIGNATURE = 0x20000


@frozen
class AppFacts:
    """What the app's image says of itself and asks of a chip; revisions are major * 100 + minor, None for no limit.

    Attributes:
        idf_version: the ESP-IDF that it names; the rest of the build keeps its own.
        secure_version: compared by anti-rollback.
        min_block_revision: least eFuse block revision.
        max_block_revision: greatest one.
        max_revision: greatest chip revision; None takes ESP-IDF's default.
    """

    idf_version: str = "v6.1"
    secure_version: int = 0
    min_block_revision: int = 0
    max_block_revision: int | None = None
    max_revision: int | None = None


@frozen
class SampleOptions:
    """The settings of a sample build; the defaults give a project without any security feature.

    Attributes:
        flash_encryption: the mode chosen in menuconfig.
        secure_boot: Secure Boot V2, with signing left to us (not "sign binaries during build").
        scheme: ``rsa3072``, ``ecdsa256`` or ``ecdsa384``; None takes the first one that ESP-IDF offers for the chip.
        min_revision: least chip revision as major * 100 + minor; None takes ESP-IDF's default (v3.0 on an ESP32 with
            secure boot).
        table_offset: flash address of the partition table; the default leaves room for a signed bootloader.
        app_size: bytes of code and data in the app, before headers and padding.
        flash_size: as in menuconfig, ``4MB``.
        partitions: the whole table, in place of the one with two OTA slots.
        layout: how the files are spelled: as ESP-IDF ``6.1`` or ``5.0`` writes them.
        config: more Kconfig symbols (without ``CONFIG_``), or other values for those that are there.
        app: what the app asks of a chip.
        bootloader_version: what the bootloader says of itself: its ESP-IDF and its secure version; None for nothing.
        data_images: content for data partitions, by label, as a project adds it with ``FLASH_IN_PROJECT``.
    """

    flash_encryption: Literal["off", "development", "release"] = "off"
    secure_boot: bool = False
    scheme: Literal["rsa3072", "ecdsa256", "ecdsa384"] | None = None
    min_revision: int | None = None
    table_offset: int = 0xC000
    app_size: int = 150_000
    flash_size: str = "4MB"
    partitions: tuple[Partition, ...] | None = None
    layout: Literal["6.1", "5.0"] = "6.1"
    config: Mapping[str, object] = field(default_factory=dict)
    app: AppFacts = field(default_factory=AppFacts)
    bootloader_version: tuple[str, int] | None = None
    data_images: Mapping[str, bytes] = field(default_factory=dict)


def partitions_of(options: SampleOptions) -> tuple[Partition, ...]:
    """The partitions of the sample: those given, or nvs, otadata, phy_init, nvs_keys, two slots and a storage."""
    if options.partitions is not None:
        return options.partitions
    slot = max(_LEAST_SLOT_SIZE, _align(options.app_size + _ROOM_FOR_PADDING_AND_SIGNATURE, _APP_ALIGNMENT))
    rows = (
        ("nvs", TYPE_DATA, DATA_NVS, 0x6000, 0),
        ("otadata", TYPE_DATA, DATA_OTA, 0x2000, 0),
        ("phy_init", TYPE_DATA, 0x01, 0x1000, 0),
        ("nvs_keys", TYPE_DATA, DATA_NVS_KEYS, 0x1000, FLAG_ENCRYPTED),
        ("ota_0", TYPE_APP, 0x10, slot, 0),
        ("ota_1", TYPE_APP, 0x11, slot, 0),
        ("storage", TYPE_DATA, 0x81, 0x100000, FLAG_ENCRYPTED),
    )
    partitions = []
    offset = options.table_offset + _SECTOR
    for label, type_, subtype, size, flags in rows:
        offset = _align(offset, _APP_ALIGNMENT if type_ == TYPE_APP else _SECTOR)
        partitions.append(Partition(label, type_, subtype, offset, size, flags))
        offset += size
    return tuple(partitions)


def _align(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
