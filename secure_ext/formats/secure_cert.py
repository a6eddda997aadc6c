# SPDX-License-Identifier: Apache-2.0
"""The content of the partition ``esp_secure_cert``: entries with a check value each, and a hash over all of them.

Source: espressif/esp_secure_cert_mgr, ``docs/format.md``, ``private_include/esp_secure_cert_tlv_private.h``,
``srcs/esp_secure_cert_tlv_read.c``: a header (magic, flags, three zeros, type, subtype, length), the data, zeros up to
16 bytes, a CRC32 of all that; the hash is over everything before its own entry.
"""

from __future__ import annotations

import enum
import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import field

from secure_ext.station.frozen import frozen

_MAGIC = 0xBA5EBA11
_HEADER = struct.Struct("<IB3xBBH")
_CHECK = struct.Struct("<I")
_UNIT = 16
_SEED = 0xFFFFFFFF
KEY_IN_EFUSE = 1 << 3
"""Flag of the entry of the private key: it is in a key block, for the ECDSA peripheral."""


class SecureCertType(enum.IntEnum):
    """What an entry holds."""

    CA_CERTIFICATE = 0
    CERTIFICATE = 1
    PRIVATE_KEY = 2
    DS_DATA = 3
    DS_CONTEXT = 4
    SECURITY = 6
    INTEGRITY = 9


@frozen
class SecureCertEntry:
    """An entry. `kind` is a `SecureCertType`, or another number."""

    kind: int
    data: bytes = field(repr=False)
    flags: int = 0


def write_secure_cert(entries: Iterable[SecureCertEntry]) -> bytes:
    """The entries as they lie in the partition, and behind them the hash over all. What follows is erased flash."""
    content = b"".join(map(_written, entries))
    return content + _written(SecureCertEntry(SecureCertType.INTEGRITY, hashlib.sha256(content).digest()))


def read_secure_cert(content: bytes) -> tuple[SecureCertEntry, ...]:
    """The entries without the one of the hash. Raises ValueError if anything is damaged, or the hash is missing."""
    whole = list(_read(content))
    if not whole or whole[-1][1].kind != SecureCertType.INTEGRITY:
        raise ValueError("it does not end in a hash over all entries")
    start, last = whole.pop()
    if last.data != hashlib.sha256(content[:start]).digest():
        raise ValueError("the hash over all entries does not fit")
    return tuple(entry for _, entry in whole)


def shows_a_key(content: bytes) -> bool:
    """Whether the content of the partition may hold a private key that can be read; of what is damaged, it may."""
    try:
        entries = read_secure_cert(content)
    except ValueError:
        return True
    kinds = tuple(SecureCertType)
    hidden = all(entry.kind in kinds for entry in entries)
    return not hidden or any(entry.kind == SecureCertType.PRIVATE_KEY and entry.data for entry in entries)


def _written(entry: SecureCertEntry) -> bytes:
    head = _HEADER.pack(_MAGIC, entry.flags, entry.kind, 0, len(entry.data)) + entry.data
    head += bytes(-len(entry.data) % _UNIT)
    return head + _CHECK.pack(zlib.crc32(head, _SEED))


def _read(content: bytes) -> Iterator[tuple[int, SecureCertEntry]]:
    """Each entry with where it begins."""
    at = 0
    while content[at : at + _HEADER.size].strip(b"\xff"):
        try:
            magic, flags, kind, _, length = _HEADER.unpack_from(content, at)
            end = at + _HEADER.size + length + -length % _UNIT
            (check,) = _CHECK.unpack_from(content, end)
        except struct.error:
            raise ValueError("an entry is cut off") from None
        if magic != _MAGIC or check != zlib.crc32(content[at:end], _SEED):
            raise ValueError(f"the entry at 0x{at:x} is damaged")
        yield at, SecureCertEntry(kind, content[at + _HEADER.size : at + _HEADER.size + length], flags)
        at = end + _CHECK.size
