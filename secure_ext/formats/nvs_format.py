# SPDX-License-Identifier: Apache-2.0
"""The form of NVS in flash: pages of 4 KB, each a header, two bits a entry, and entries of 32 bytes.

From ESP-IDF's ``components/nvs_flash/src`` (``nvs_page.hpp``, ``nvs_types.hpp``). With NVS encryption the entries are
ciphertext; headers and entry states never are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PAGE_SIZE = 0x1000
ENTRY_SIZE = 32
ENTRIES = 126
"""Entries of a page."""
FIRST_ENTRY = 64
"""Where on a page the entries begin."""
LEAST_WRITABLE = 3 * PAGE_SIZE
"""An NVS partition smaller than this can only be read (``gen_esp32part.py`` wants it flagged readonly)."""

_IN_USE = frozenset({0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF8})
"""States of a page that holds data: active, full, being freed."""
_WRITTEN = 0b10


def crc(data: bytes) -> int:
    """The CRC-32 of NVS: that of the ROM, started with ones."""
    return zlib.crc32(data, 0xFFFFFFFF) & 0xFFFFFFFF


def is_page_in_use(page: bytes) -> bool:
    """Whether the page holds data."""
    return int.from_bytes(page[:4], "little") in _IN_USE


def has_intact_header(page: bytes) -> bool:
    """Whether the CRC of a page's header is right."""
    return len(page) == PAGE_SIZE and crc(page[4:28]) == int.from_bytes(page[28:32], "little")


def written_entries(page: bytes) -> Iterator[int]:
    """The numbers of a page's entries that are written."""
    states = int.from_bytes(page[32:64], "little")
    return (number for number in range(ENTRIES) if states >> (2 * number) & 0b11 == _WRITTEN)


def entry_of(page: bytes, number: int) -> bytes:
    """The 32 bytes of an entry."""
    start = FIRST_ENTRY + number * ENTRY_SIZE
    return page[start : start + ENTRY_SIZE]


def is_entry_intact(entry: bytes) -> bool:
    """Whether the CRC over the head of an entry is right."""
    return crc(entry[:4] + entry[8:]) == int.from_bytes(entry[4:8], "little")


def first_written(image: bytes) -> bytes | None:
    """The first entry that is written in an NVS image, as it is stored; None if there is none, or this is no NVS."""
    for start in range(0, len(image), PAGE_SIZE):
        page = image[start : start + PAGE_SIZE]
        if has_intact_header(page) and is_page_in_use(page):
            for number in written_entries(page):
                return entry_of(page, number)
    return None
