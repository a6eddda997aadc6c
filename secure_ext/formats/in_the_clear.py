# SPDX-License-Identifier: Apache-2.0
"""What a file that goes into flash shows to whoever has it, seen in its bytes alone."""

from __future__ import annotations

import re

from secure_ext.errors import SecureProvisionError
from secure_ext.formats.image import parse_image
from secure_ext.formats.nvs_format import (
    ENTRIES,
    PAGE_SIZE,
    entry_of,
    has_intact_header,
    is_entry_intact,
    is_page_in_use,
    written_entries,
)
from secure_ext.formats.nvs_keys import KEYS_SIZE, parse_nvs_keys
from secure_ext.formats.partition_table import parse_partition_table

_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[\s\\rn]{1,4}[A-Za-z0-9+/]{16}"
    rb"|\x02\x01\x01\x04\x20.{32}[\xa0\xa1]|\x02\x01\x01\x04\x30.{48}[\xa0\xa1]"
    rb"|\x30\x82..\x02\x01\x00\x02\x82[\x01\x02][\x01\x81]\x00",
    re.DOTALL,
)
"""PEM with the beginning of a key (every firmware with Mbed TLS holds the bare words); DER of RFC 5915 (P-256, P-384,
also within PKCS #8) and of RFC 8017 (RSA from 2048 bits)."""
_LEAST_TO_JUDGE = 256
"""Bytes from which on the values of the bytes tell text and numbers from ciphertext."""
_PRINTED = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def is_erased(content: bytes) -> bool:
    """Whether it holds nothing but erased flash."""
    return content.count(0xFF) == len(content)


def is_plaintext(content: bytes) -> bool:
    """Whether it is no ciphertext: no ciphertext is by chance an image, a table, an NVS page, text or filled."""
    return is_erased(content) or is_program(content) or is_table(content) or is_nvs(content) or _is_filled(content)


def is_program(content: bytes) -> bool:
    """Whether it is a whole ESP image."""
    try:
        parse_image(content, place="")
    except SecureProvisionError:
        return False
    return True


def is_table(content: bytes) -> bool:
    """Whether it is a whole partition table."""
    try:
        parse_partition_table(content, place="")
    except SecureProvisionError:
        return False
    return True


def is_nvs(content: bytes) -> bool:
    """Whether a page of NVS is in it, encrypted or not: headers never are."""
    return any(has_intact_header(page) for page in _pages(content))


def shows_nvs_values(content: bytes) -> bool:
    """Whether an entry of a page of NVS can be read; also one that was deleted, whose bytes stay in flash."""
    pages = (page for page in _pages(content) if has_intact_header(page))
    return any(is_entry_intact(entry) for page in pages for entry in _entries(page))


def hides_nvs_values(content: bytes) -> bool:
    """Whether all that is in it is NVS, with entries, of which none can be read."""
    pages = [page for page in _pages(content) if not is_erased(page)]
    sound = all(has_intact_header(page) and is_page_in_use(page) for page in pages)
    return sound and any(True for page in pages for _ in written_entries(page)) and not shows_nvs_values(content)


def shows_nvs_keys(content: bytes) -> bool:
    """Whether it is the plaintext of a partition of NVS keys."""
    try:
        parse_nvs_keys(content[:KEYS_SIZE], place="")
    except SecureProvisionError:
        return False
    return True


def shows_private_key(content: bytes) -> bool:
    """Whether a private key without a passphrase is in it, as PEM or as DER."""
    return _PRIVATE_KEY.search(content) is not None


def _pages(content: bytes) -> list[bytes]:
    return [content[start : start + PAGE_SIZE] for start in range(0, len(content), PAGE_SIZE)]


def _entries(page: bytes) -> list[bytes]:
    return [entry for number in range(ENTRIES) if not is_erased(entry := entry_of(page, number)) and any(entry)]


def _is_filled(content: bytes) -> bool:
    if len(content) < _LEAST_TO_JUDGE:
        return False
    most = max(content.count(value) for value in (0x00, 0xFF))
    printed = len(content) - len(content.translate(None, _PRINTED))
    return most > len(content) // 4 or printed > len(content) * 3 // 4
