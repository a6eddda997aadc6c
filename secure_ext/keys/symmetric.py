# SPDX-License-Identifier: Apache-2.0
"""The symmetric secrets that are burned into a chip: made from good randomness, or read and refused when weak."""

from __future__ import annotations

import secrets
import string
from collections import Counter
from collections.abc import Collection
from dataclasses import field
from itertools import pairwise
from pathlib import Path

from secure_ext.errors import InputError
from secure_ext.reading import KEY_FILE_LIMIT, read_file
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen

MIN_LENGTH = 16
_LONGEST_KEY = 64
"""Bytes of an XTS-AES-256 key."""
_TEXT = frozenset(string.printable.encode("ascii"))
_NEW_KEY = "Use 'generate' for the key, or make a file of random bytes: openssl rand -out KEYFILE LENGTH"


@frozen
class SecretKey:
    """A secret and what it is for (``flash_encryption``, ``nvs_hmac``, ...); the bytes never show in ``repr``."""

    role: str
    data: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The public name of this key, see `secure_ext.station.fingerprint`."""
        return fingerprint(self.data)


def generate_secret(role: str, length: int) -> SecretKey:
    """Make ``length`` bytes (at least 16) from the operating system's random numbers.

    A value that :func:`load_secret` would refuse is thrown away and made anew, so that every generated key can
    also be read back.
    """
    if length < MIN_LENGTH:
        raise ValueError(f"a secret of {length} bytes is too short, the least is {MIN_LENGTH}")
    while True:
        data = secrets.token_bytes(length)
        if not (_is_text(data) or _is_repetition(data) or _has_a_pattern(data)):
            return SecretKey(role, data)


def load_secret(path: Path, role: str, allowed_lengths: Collection[int]) -> SecretKey:
    """Read a binary secret, and refuse one that nobody can have meant.

    Args:
        path: file of raw bytes, as espsecure's generate-flash-encryption-key writes it.
        role: what the key is for.
        allowed_lengths: lengths in bytes that the chip and scheme take.

    Raises:
        InputError: SE620 unreadable, SE621 wrong length, SE622 all zero, SE623 one byte repeated,
            SE624 a longer pattern repeated, SE625 text instead of raw bytes, SE626 bytes that count, or hardly differ.
    """
    try:
        data = read_file(path, KEY_FILE_LIMIT)
    except OSError as error:
        raise InputError(
            "SE620",
            f"the key file cannot be read: {error.strerror}",
            cure="check the path (in a profile it is relative to the profile) and the permissions of the file",
            place=str(path),
        ) from error
    refuse_weak(data, allowed_lengths, str(path))
    return SecretKey(role, data)


def refuse_weak(data: bytes, allowed_lengths: Collection[int], place: str) -> None:
    """Raises InputError SE621 to SE626 for a secret that nobody can have meant; see `load_secret`."""
    if data and _is_text(data):
        raise InputError(
            "SE625",
            f"the key file holds {len(data)} characters of text, and a key is raw bytes",
            cure="if it is the key written as hex, turn it into bytes: xxd -r -p TEXTFILE KEYFILE. If not: " + _NEW_KEY,
            place=place,
        )
    if len(data) not in allowed_lengths:
        allowed = " or ".join(str(length) for length in sorted(allowed_lengths))
        raise InputError(
            "SE621",
            f"the key has {len(data)} bytes, and it must have {allowed}",
            cure="check that the file is meant for this chip and key size. " + _NEW_KEY,
            place=place,
        )
    if not any(data):
        raise InputError("SE622", "the key is all zero bytes, like an unburned eFuse", cure=_NEW_KEY, place=place)
    if len(set(data)) == 1:
        raise InputError("SE623", "the key is one byte value repeated", cure=_NEW_KEY, place=place)
    if _is_repetition(data):
        raise InputError("SE624", "the key is a shorter pattern repeated", cure=_NEW_KEY, place=place)
    if _has_a_pattern(data):
        raise InputError(
            "SE626",
            "the key's bytes count up or down, or are nearly all the same: nobody made it from random numbers",
            cure=_NEW_KEY,
            place=place,
        )


def _is_text(data: bytes) -> bool:
    return _TEXT.issuperset(data)


def _is_repetition(data: bytes) -> bool:
    length = len(data)
    return any(
        length % period == 0 and data == data[:period] * (length // period) for period in range(1, length // 2 + 1)
    )


def _has_a_pattern(data: bytes) -> bool:
    """True for bytes that count (00 01 02 ...), in part or in whole, that are few different ones, or one of them often.

    Of random keys of 16 bytes this takes one in ten million, of longer ones fewer; `generate_secret` makes another.
    A file that is more than a key (NVS keys, with erased flash behind them) is not meant.
    """
    if len(data) > _LONGEST_KEY:
        return False
    steps = Counter((after - before) % 256 for before, after in pairwise(data))
    return (
        len(set(data)) < len(data) // 2
        or max(Counter(data).values()) > len(data) // 3
        or max(steps.values()) > len(data) // 3
    )
