# SPDX-License-Identifier: Apache-2.0
"""Symmetric secrets: which are refused, what is generated, and what is shown of them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from secure_ext.errors import InputError
from secure_ext.keys.symmetric import SecretKey, generate_secret, load_secret
from secure_ext.station.fingerprint import fingerprint

GOOD = bytes.fromhex("8f1c33a95be0672d04d19af7c85e7b126a90f3415d2ec7880b64d9ae1f7352bc")

BAD: dict[str, tuple[bytes, Collection[int], str, str]] = {
    "empty": (b"", (32,), "SE621", "0 bytes"),
    "short": (GOOD[:31], (32,), "SE621", "31 bytes, and it must have 32"),
    "long": (GOOD + b"\x01", (64, 32), "SE621", "32 or 64"),
    "zero": (bytes(32), (32,), "SE622", "zero"),
    "zero, 16 bytes": (bytes(16), (16,), "SE622", "zero"),
    "erased flash": (b"\xff" * 32, (32,), "SE623", "one byte"),
    "halves": (GOOD[:16] * 2, (32,), "SE624", "repeated"),
    "equal XTS halves": (GOOD * 2, (64,), "SE624", "repeated"),
    "two bytes": (b"\xaa\x55" * 8, (16,), "SE624", "repeated"),
    "hex of the key": (GOOD.hex().encode(), (32, 64), "SE625", "64 characters of text"),
    "hex with line end": (GOOD.hex().encode() + b"\r\n", (32, 64), "SE625", "66 characters of text"),
    "passphrase": (b"correct horse battery staple 123", (32,), "SE625", "text"),
    "one letter": (b"A" * 32, (32,), "SE625", "text"),
    "counting up": (bytes(range(200, 232)), (32,), "SE626", "count"),
    "counting down": (bytes(range(31, -1, -1)), (32,), "SE626", "count"),
    "counting by threes": (bytes(range(0, 96, 3)), (32,), "SE626", "count"),
    "counting from 0": (bytes(range(16)), (16,), "SE626", "count"),
    "counting in its first half": (bytes(range(128, 160)) + GOOD, (64,), "SE626", "count"),
    "one": (b"\x01" + bytes(31), (32,), "SE626", "the same"),
    "one at the end": (bytes(15) + b"\x01", (16,), "SE626", "the same"),
    "half zeros": (GOOD[:16] + bytes(16), (32,), "SE626", "the same"),
    "every other byte zero": (bytes(n for b in GOOD[:16] for n in (b, 0)), (32,), "SE626", "the same"),
    "few values": (bytes(b & 7 for b in GOOD), (32,), "SE626", "the same"),
}


@pytest.mark.parametrize(("data", "lengths", "code", "says"), BAD.values(), ids=BAD)
def test_secret_that_nobody_meant_is_refused(
    tmp_path: Path, data: bytes, lengths: Collection[int], code: str, says: str
) -> None:
    path = tmp_path / "key.bin"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        load_secret(path, "flash_encryption", lengths)
    assert caught.value.code == code
    assert says in caught.value.cause
    assert caught.value.cure
    assert caught.value.place == str(path)
    if len(set(data)) > 1:
        for text in (str(caught.value), repr(caught.value), str(caught.value.as_dict())):
            assert data.hex() not in text
            assert repr(data)[2:-1] not in text


@pytest.mark.parametrize("name", ["none.bin", "."])
def test_unreadable_secret_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_secret(tmp_path / name, "nvs_hmac", (32,))
    assert caught.value.code == "SE620"


def test_good_secret_is_read(tmp_path: Path) -> None:
    path = tmp_path / "key.bin"
    path.write_bytes(GOOD)
    assert load_secret(path, "nvs_hmac", (32,)) == SecretKey("nvs_hmac", GOOD)


@pytest.mark.parametrize("length", [16, 24, 32, 64])
def test_generated_secret_can_be_read_back(tmp_path: Path, length: int) -> None:
    key = generate_secret("flash_encryption", length)
    path = tmp_path / "key.bin"
    path.write_bytes(key.data)
    assert load_secret(path, "flash_encryption", (length,)) == key
    assert generate_secret("flash_encryption", length) != key


def test_weak_draw_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([bytes(32), GOOD[:16] * 2, b"x" * 32, GOOD])
    monkeypatch.setattr(secrets, "token_bytes", lambda _: next(draws))
    assert generate_secret("nvs_hmac", 32).data == GOOD


def test_short_secret_is_not_made() -> None:
    with pytest.raises(ValueError, match="too short"):
        generate_secret("nvs_hmac", 8)


def test_secret_never_shows() -> None:
    key = SecretKey("flash_encryption", GOOD)
    for text in (repr(key), str(key), f"{key}"):
        assert GOOD.hex() not in text
        assert repr(GOOD)[2:-1] not in text
        assert "flash_encryption" in text


def test_fingerprint_has_a_fixed_value() -> None:
    assert (
        fingerprint(bytes(16))
        == hashlib.sha256(b"idf-secure-provision key fingerprint v1\0" + bytes(16)).hexdigest()[:32]
    )
    assert fingerprint(GOOD) == SecretKey("any", GOOD).fingerprint


@given(data=st.binary(min_size=16, max_size=64))
def test_fingerprint_is_not_a_part_of_the_plain_hash(data: bytes) -> None:
    mark = fingerprint(data)
    assert len(mark) == 32
    assert mark == mark.lower()
    assert mark not in hashlib.sha256(data).hexdigest()


@given(one=st.binary(max_size=64), other=st.binary(max_size=64))
def test_different_keys_have_different_fingerprints(one: bytes, other: bytes) -> None:
    assume(one != other)
    assert fingerprint(one) != fingerprint(other)
