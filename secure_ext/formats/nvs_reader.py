# SPDX-License-Identifier: Apache-2.0
"""Reads an NVS image back, encrypted or not: every page, entry and CRC, as the firmware would when it starts.

The form is in `secure_ext.formats.nvs_format`. An encrypted entry is XTS-AES-256 by itself, with its place in the
partition as the tweak (ESP-IDF's ``components/nvs_flash/src/nvs_encrypted_partition.cpp``).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from secure_ext.errors import CheckError
from secure_ext.formats.nvs_csv import INTEGERS, NvsValue
from secure_ext.formats.nvs_format import (
    ENTRIES,
    ENTRY_SIZE,
    FIRST_ENTRY,
    PAGE_SIZE,
    crc,
    entry_of,
    has_intact_header,
    is_entry_intact,
    is_page_in_use,
    written_entries,
)
from secure_ext.formats.nvs_keys import NvsKeys
from secure_ext.station.frozen import frozen

_INTEGER_TYPES = {(0x10 if signed else 0) | bits // 8: kind for kind, (signed, bits) in INTEGERS.items()}
_STRING, _BLOB, _BLOB_DATA, _BLOB_INDEX = 0x21, 0x41, 0x42, 0x48
_WITH_DATA = (_STRING, _BLOB, _BLOB_DATA)


Decrypt = Callable[[int, bytes], bytes]
"""Makes the plaintext of an entry of its place in the partition (bytes) and of what is stored there."""


@frozen
class NvsContent:
    """What NVS holds: its namespaces in the order of their numbers, and its values in the order of the pages."""

    namespaces: tuple[str, ...]
    values: tuple[NvsValue, ...]


@frozen
class _Item:
    """An entry with its data, which may be in the entries behind it."""

    namespace: int
    type: int
    chunk: int
    key: str
    payload: bytes = field(repr=False)
    data: bytes = field(repr=False)


def read_nvs(image: bytes, keys: NvsKeys | None, *, place: str) -> NvsContent:
    """The content of an NVS partition; `keys` decrypt it, None for plaintext.

    Raises CheckError SE543 for a header, an entry or data whose CRC is wrong, for a blob that lacks a part, for a key
    that is there twice: for everything that the firmware would throw away or misread.
    """
    decrypt = _plain if keys is None else _xts(keys)
    items: list[_Item] = []
    for number, start in sorted(_pages(image, place)):
        page = image[start : start + PAGE_SIZE]
        items += _items(page, start, decrypt, f"{place}: page {number}")
    names = {item.payload[0]: item.key for item in items if item.namespace == 0}
    if sorted(names) != list(range(1, len(names) + 1)) or len(set(names.values())) != len(names):
        raise _damaged("its namespaces are not numbered from 1 on, each once", place)
    values = tuple(_values(items, names, place))
    seen = {(value.namespace, value.key) for value in values}
    if len(seen) != len(values):
        raise _damaged("it holds a key twice", place)
    return NvsContent(tuple(names[number] for number in sorted(names)), values)


def _pages(image: bytes, place: str) -> Iterator[tuple[int, int]]:
    """Of every page in use: its number in the order of writing, and where it begins."""
    if not image or len(image) % PAGE_SIZE:
        raise _damaged(f"its length {len(image)} is not a multiple of {PAGE_SIZE}", place)
    for start in range(0, len(image), PAGE_SIZE):
        page = image[start : start + PAGE_SIZE]
        if page.count(0xFF) == PAGE_SIZE:
            continue
        if not has_intact_header(page) or not is_page_in_use(page):
            raise _damaged(f"the page at 0x{start:x} has no valid header", place)
        yield int.from_bytes(page[4:8], "little"), start


def _items(page: bytes, start: int, decrypt: Decrypt, place: str) -> Iterator[_Item]:
    written = set(written_entries(page))

    def entry(number: int) -> bytes:
        if number not in written:
            raise _damaged(f"entry {number} is missing", place)
        return decrypt(start + FIRST_ENTRY + number * ENTRY_SIZE, entry_of(page, number))

    number = 0
    while number < ENTRIES:
        if number not in written:
            number += 1
            continue
        head = entry(number)
        span = head[2]
        if not is_entry_intact(head):
            raise _damaged(f"the CRC of entry {number} is wrong", place)
        if not 1 <= span <= ENTRIES - number:
            raise _damaged(f"entry {number} reaches behind the page", place)
        data = b"".join(entry(number + offset) for offset in range(1, span))
        yield _item(head, data, f"{place}, entry {number}")
        number += span


def _item(head: bytes, rest: bytes, place: str) -> _Item:
    namespace, type_, _, chunk, _, name, payload = struct.unpack("<BBBBI16s8s", head)
    data = b""
    if type_ in _WITH_DATA:
        size, _, right = struct.unpack("<HHI", payload)
        data = rest[:size]
        if size > len(rest) or crc(data) != right:
            raise _damaged("the CRC of its data is wrong", place)
    elif rest:
        raise _damaged("it spans several entries and has a type that does not", place)
    try:
        key = name.split(b"\0", 1)[0].decode()
    except UnicodeDecodeError:
        raise _damaged("its key is not text", place) from None
    return _Item(namespace, type_, chunk, key, payload, data)


def _values(items: list[_Item], names: dict[int, str], place: str) -> Iterator[NvsValue]:
    chunks = {(item.namespace, item.key, item.chunk): item for item in items if item.type == _BLOB_DATA}
    for item in items:
        if item.namespace == 0 or item.type == _BLOB_DATA:
            continue
        if item.namespace not in names:
            raise _damaged(f"{item.key!r} is in a namespace without a name", place)
        kind, value = _value(item, chunks, place)
        yield NvsValue(names[item.namespace], item.key, kind, value)
    if chunks:
        raise _damaged("it holds parts of a blob that nothing refers to", place)


def _value(item: _Item, chunks: dict[tuple[int, str, int], _Item], place: str) -> tuple[str, int | str | bytes]:
    if item.type in _INTEGER_TYPES:
        kind = _INTEGER_TYPES[item.type]
        signed, bits = INTEGERS[kind]
        return kind, int.from_bytes(item.payload[: bits // 8], "little", signed=signed)
    if item.type == _STRING:
        if not item.data.endswith(b"\0"):
            raise _damaged(f"the string {item.key!r} does not end in a zero byte", place)
        try:
            return "string", item.data[:-1].decode()
        except UnicodeDecodeError:
            raise _damaged(f"the string {item.key!r} is not text", place) from None
    if item.type == _BLOB:
        return "blob", item.data
    if item.type != _BLOB_INDEX:
        raise _damaged(f"{item.key!r} is of the unknown type 0x{item.type:02x}", place)
    size, count, first = struct.unpack_from("<IBB", item.payload)
    parts = [chunks.pop((item.namespace, item.key, first + number), None) for number in range(count)]
    whole = b"".join(part.data for part in parts if part is not None)
    if None in parts or len(whole) != size:
        raise _damaged(f"the blob {item.key!r} lacks a part", place)
    return "blob", whole


def _plain(_: int, stored: bytes) -> bytes:
    return stored


def _xts(keys: NvsKeys) -> Decrypt:
    def decrypt(address: int, stored: bytes) -> bytes:
        cipher = Cipher(algorithms.AES(keys.data), modes.XTS(address.to_bytes(16, "little")))
        return cipher.decryptor().update(stored)

    return decrypt


def _damaged(reason: str, place: str) -> CheckError:
    return CheckError(
        "SE543",
        f"the NVS image cannot be read back: {reason}",
        cure="give the keys it was encrypted with; if it was made just now, install the latest "
        "esp-idf-nvs-partition-gen",
        place=place,
    )
