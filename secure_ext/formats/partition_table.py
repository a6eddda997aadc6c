# SPDX-License-Identifier: Apache-2.0
"""The partition table in its binary form, and which of its partitions flash encryption covers.

The format is the one of ESP-IDF's ``components/partition_table/gen_esp32part.py`` and
``components/bootloader_support/include/esp_flash_partitions.h``: rows of 32 bytes, little endian, then (normally) a
row with the MD5 of all rows before it, then a row of 0xFF. The data area is 0xC00 bytes long.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from secure_ext.errors import InputError
from secure_ext.formats.content import Content, recognize
from secure_ext.station.frozen import frozen

TABLE_SIZE = 0xC00
DEFAULT_TABLE_OFFSET = 0x8000
"""Bytes of the table's data area; what follows in the 4 KB sector is no part of the table."""

TYPE_APP, TYPE_DATA, TYPE_BOOTLOADER, TYPE_PARTITION_TABLE = 0x00, 0x01, 0x02, 0x03
DATA_OTA, DATA_NVS, DATA_NVS_KEYS, DATA_UNDEFINED, DATA_TEE_OTA = 0x00, 0x02, 0x04, 0x06, 0x90

FLAG_ENCRYPTED = 1 << 0
FLAG_READONLY = 1 << 1

_ROW = struct.Struct("<2sBBII16sI")
_ROW_MAGIC = b"\xaa\x50"
_MD5_MAGIC = b"\xeb\xeb"
_MD5_HEAD = _MD5_MAGIC + b"\xff" * 14
_END = b"\xff" * _ROW.size

_TYPE_NAMES = {
    TYPE_APP: "app",
    TYPE_DATA: "data",
    TYPE_BOOTLOADER: "bootloader",
    TYPE_PARTITION_TABLE: "partition_table",
}
_SUBTYPE_NAMES: dict[int, dict[int, str]] = {
    TYPE_APP: {
        0x00: "factory",
        **{0x10 + slot: f"ota_{slot}" for slot in range(16)},
        0x20: "test",
        **{0x30 + slot: f"tee_{slot}" for slot in range(2)},
    },
    TYPE_DATA: {
        DATA_OTA: "ota",
        0x01: "phy",
        DATA_NVS: "nvs",
        0x03: "coredump",
        DATA_NVS_KEYS: "nvs_keys",
        0x05: "efuse",
        DATA_UNDEFINED: "undefined",
        0x80: "esphttpd",
        0x81: "fat",
        0x82: "spiffs",
        0x83: "littlefs",
        DATA_TEE_OTA: "tee_ota",
    },
    TYPE_BOOTLOADER: {0x00: "primary", 0x01: "ota", 0x02: "recovery"},
    TYPE_PARTITION_TABLE: {0x00: "primary", 0x01: "ota"},
}


@frozen
class Partition:
    """One row of the table; ``offset`` and ``size`` in bytes of flash."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int
    flags: int = 0

    @property
    def end(self) -> int:
        """The first flash address behind the partition."""
        return self.offset + self.size

    @property
    def encrypted_flag(self) -> bool:
        """Whether the row carries the flag ``encrypted``; for the whole rule see `covered_by_flash_encryption`."""
        return bool(self.flags & FLAG_ENCRYPTED)

    @property
    def readonly_flag(self) -> bool:
        """Whether the row carries the flag ``readonly``."""
        return bool(self.flags & FLAG_READONLY)

    @property
    def type_name(self) -> str:
        """ESP-IDF's name of the type, or its number in hexadecimal."""
        return _TYPE_NAMES.get(self.type, f"0x{self.type:02x}")

    @property
    def subtype_name(self) -> str:
        """ESP-IDF's name of the subtype, or its number in hexadecimal (projects may define their own)."""
        return _SUBTYPE_NAMES.get(self.type, {}).get(self.subtype, f"0x{self.subtype:02x}")


@frozen
class PartitionTable:
    """The rows in the order in which they stand in the table."""

    partitions: tuple[Partition, ...]
    has_md5: bool

    def containing(self, offset: int) -> Partition | None:
        """The partition that holds the flash address ``offset``, or None."""
        return next((row for row in self.partitions if row.offset <= offset < row.end), None)

    def labelled(self, label: str) -> Partition | None:
        """The partition with this label, or None."""
        return next((row for row in self.partitions if row.label == label), None)


def covered_by_flash_encryption(partition: Partition) -> bool:
    """Whether the content of ``partition`` must be ciphertext on a device with flash encryption.

    This is what the running firmware assumes (``components/esp_partition/partition.c``), with one exception: an NVS
    partition is never flash-encrypted, even if flagged, because NVS encrypts its own content and refuses to open a
    flagged partition (``components/nvs_flash/src/nvs_partition_lookup.cpp``).
    """
    if partition.type in (TYPE_APP, TYPE_BOOTLOADER, TYPE_PARTITION_TABLE):
        return True
    if partition.type == TYPE_DATA:
        if partition.subtype in (DATA_OTA, DATA_TEE_OTA, DATA_NVS_KEYS):
            return True
        if partition.subtype == DATA_NVS:
            return False
    return partition.encrypted_flag


def parse_partition_table(data: bytes, *, place: str) -> PartitionTable:
    """Read a binary partition table.

    Args:
        data: the file; bytes behind the table's data area (0xC00) are ignored.
        place: the file's name, for messages.

    Raises:
        InputError: SE120 to SE127.
    """
    _refuse_other_files(data, place)
    partitions: list[Partition] = []
    position = 0
    has_md5 = False
    while True:
        row = data[position : min(position + _ROW.size, TABLE_SIZE)]
        if row == _END:
            break
        if len(row) < _ROW.size and position < TABLE_SIZE:
            raise _truncated(place, len(data))
        if has_md5 or position >= TABLE_SIZE:
            raise _no_end_marker(place, position)
        if row.startswith(_MD5_MAGIC):
            _verify_md5(data[:position], row[16:], place)
            has_md5 = True
        elif row.startswith(_ROW_MAGIC):
            partitions.append(_parse_row(row, position, place))
        else:
            raise _bad_row(f"the row at 0x{position:x} begins with 0x{row[0]:02x}{row[1]:02x}, not with 0xaa50", place)
        position += _ROW.size
    if not partitions:
        raise InputError(
            "SE127",
            f"{place} has no partition in it",
            cure="check the partition CSV of the project, then build again with `idf.py build`",
            place=place,
        )
    _refuse_duplicate_labels(partitions, place)
    return PartitionTable(tuple(partitions), has_md5)


def build_partition_table(partitions: Iterable[Partition], *, md5: bool = True) -> bytes:
    """Write a binary partition table of 0xC00 bytes.

    Raises:
        InputError: SE128, when a label is not text of 1 to 16 bytes, a number does not fit, or there are too many rows
            (94 with the MD5 row, 95 without).
    """
    rows = b"".join(_build_row(partition) for partition in partitions)
    if md5:
        rows += _MD5_HEAD + _md5(rows)
    if len(rows) > TABLE_SIZE - _ROW.size:
        raise _unfit(f"{len(rows) // _ROW.size} rows do not fit into {TABLE_SIZE} bytes.")
    return rows.ljust(TABLE_SIZE, b"\xff")


def _parse_row(row: bytes, position: int, place: str) -> Partition:
    _, type_, subtype, offset, size, label, flags = _ROW.unpack(row)
    try:
        text = label.split(b"\0", 1)[0].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad_row(f"the row at 0x{position:x} has a label that is not text", place) from error
    return Partition(text, type_, subtype, offset, size, flags)


def _build_row(partition: Partition) -> bytes:
    label = partition.label.encode()
    if not 1 <= len(label) <= 16 or b"\0" in label:
        raise _unfit(f"The label {partition.label!r} is not 1 to 16 bytes long.")
    try:
        return _ROW.pack(
            _ROW_MAGIC,
            partition.type,
            partition.subtype,
            partition.offset,
            partition.size,
            label,
            partition.flags,
        )
    except struct.error as error:
        raise _unfit(f"A number of the partition {partition.label!r} does not fit its field.") from error


def _md5(rows: bytes) -> bytes:
    return hashlib.md5(rows, usedforsecurity=False).digest()


def _verify_md5(rows: bytes, digest: bytes, place: str) -> None:
    if _md5(rows) != digest:
        raise InputError(
            "SE123",
            f"the MD5 in {place} does not match its rows: the table was changed after it was made",
            cure="build the project again with `idf.py build`; never edit the binary table",
            place=place,
        )


def _refuse_duplicate_labels(partitions: list[Partition], place: str) -> None:
    labels = [partition.label for partition in partitions]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise InputError(
            "SE126",
            f"{place} has several partitions with the label {', '.join(map(repr, twice))}",
            cure="give every partition a label of its own in the partition CSV, then build again",
            place=place,
        )


def _refuse_other_files(data: bytes, place: str) -> None:
    """Name the two mix-ups that happen: the table's CSV source, and a table that is encrypted already."""
    content = recognize(data)
    if content is Content.TEXT:
        raise InputError(
            "SE125",
            f"{place} is a text file, not a binary partition table",
            cure="give the built table, build/partition_table/partition-table.bin, not the CSV it is made from",
            place=place,
        )
    if content is Content.CIPHERTEXT:
        raise InputError(
            "SE122",
            f"{place} looks encrypted: its bytes are as random as ciphertext",
            cure="give the plaintext table of the build; encrypting is done here, and only once",
            place=place,
        )


def _bad_row(what: str, place: str) -> InputError:
    return InputError(
        "SE121",
        f"{place} is not a partition table or a damaged one: {what}",
        cure="give the built table, build/partition_table/partition-table.bin, or build again with `idf.py build`",
        place=place,
    )


def _truncated(place: str, length: int) -> InputError:
    return InputError(
        "SE120",
        f"{place} is cut off after {length} bytes, before the end of the table",
        cure="build the project again with `idf.py build`",
        place=place,
    )


def _no_end_marker(place: str, position: int) -> InputError:
    return InputError(
        "SE124",
        f"{place} has no end marker at 0x{position:x}, where its table must end",
        cure="build the project again with `idf.py build`",
        place=place,
    )


def _unfit(cause: str) -> InputError:
    return InputError("SE128", cause, cure="change the partition so that it fits the format of the table")
