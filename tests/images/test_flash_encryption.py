# SPDX-License-Identifier: Apache-2.0
"""Flash encryption gives espsecure's bytes for every key, address, length and way of computing them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flash_encryption_reference import ESP32, RAW_KEY, XTS, by_espsecure, counted
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ext.errors import InputError
from secure_ext.formats import xts
from secure_ext.formats.flash_encryption import (
    FlashEncryptionKey,
    FlashEncryptionScheme,
    decrypt,
    encrypt,
    flash_encryption_key,
    pad_to_unit,
)


def raw_keys(*lengths: int) -> st.SearchStrategy[bytes]:
    return st.sampled_from(lengths).flatmap(lambda n: st.binary(min_size=n, max_size=n)).filter(is_acceptable)


def is_acceptable(raw: bytes) -> bool:
    return len(set(raw)) > 1 and raw[: len(raw) // 2] != raw[len(raw) // 2 :]


def units(size: int, most: int) -> st.SearchStrategy[bytes]:
    """Data of one to ``most`` units; long data is one drawn unit, counted up, which shrinks well."""
    short = st.integers(1, 20).flatmap(lambda n: st.binary(min_size=n * size, max_size=n * size))
    long = st.builds(lambda n, salt: counted(n * size, salt), st.integers(1, most), st.integers(0, 255))
    return st.one_of(short, long)


XTS_OFFSETS = st.one_of(
    st.integers(0, 0x100000).map(lambda n: n * 16), st.integers(1, 64).map(lambda n: 2**32 - 0x8000 - n * 16)
)
ESP32_OFFSETS = st.integers(0, (2**24 - 0x8000) // 32).map(lambda n: n * 32)


@settings(max_examples=200, deadline=None)
@given(raw=raw_keys(16, 32, 64), data=units(16, 512), offset=XTS_OFFSETS)
def test_xts_equals_espsecure(raw: bytes, data: bytes, offset: int) -> None:
    key = flash_encryption_key(XTS, raw)
    ciphertext = encrypt(data, key=key, flash_offset=offset)
    assert ciphertext == by_espsecure(data, raw, XTS, offset)
    assert decrypt(ciphertext, key=key, flash_offset=offset) == data
    assert decrypt(data, key=key, flash_offset=offset) == by_espsecure(data, raw, XTS, offset, decrypting=True)


@settings(max_examples=200, deadline=None)
@given(
    raw=raw_keys(24, 32), data=units(32, 256), offset=ESP32_OFFSETS, config=st.one_of(st.just(15), st.integers(0, 15))
)
def test_esp32_equals_espsecure(raw: bytes, data: bytes, offset: int, config: int) -> None:
    key = flash_encryption_key(ESP32, raw)
    ciphertext = encrypt(data, key=key, flash_offset=offset, flash_crypt_config=config)
    assert ciphertext == by_espsecure(data, raw, ESP32, offset, config=config)
    assert decrypt(ciphertext, key=key, flash_offset=offset, flash_crypt_config=config) == data


@settings(max_examples=200, deadline=None)
@given(raw=raw_keys(32, 64), data=units(16, 256), offset=XTS_OFFSETS, decrypting=st.booleans())
def test_integers_and_numpy_give_the_same(raw: bytes, data: bytes, offset: int, decrypting: bool) -> None:
    pytest.importorskip("numpy")
    by_integers, by_numpy = (
        b"".join(xts.crypt(memoryview(data), key=raw, flash_offset=offset, decrypting=decrypting, lanes=lanes))
        for lanes in (xts.integer_lanes, xts.numpy_lanes)
    )
    assert by_integers == by_numpy


@settings(max_examples=200, deadline=None)
@given(data=st.data(), scheme=st.sampled_from(FlashEncryptionScheme))
def test_a_slice_is_encrypted_like_the_whole(data: st.DataObject, scheme: FlashEncryptionScheme) -> None:
    key = flash_encryption_key(scheme, RAW_KEY)
    whole = counted(data.draw(st.integers(1, 64)) * scheme.unit)
    base = data.draw(st.integers(0, 4096)) * scheme.unit
    first = data.draw(st.integers(0, len(whole) // scheme.unit)) * scheme.unit
    last = data.draw(st.integers(first // scheme.unit, len(whole) // scheme.unit)) * scheme.unit
    part = encrypt(memoryview(whole)[first:last], key=key, flash_offset=base + first)
    assert part == encrypt(whole, key=key, flash_offset=base)[first:last]


@pytest.mark.parametrize("lanes", [xts.integer_lanes, xts.numpy_lanes])
@pytest.mark.parametrize("length", [xts.CHUNK - 16, xts.CHUNK, xts.CHUNK + 16, 3 * xts.CHUNK + 48])
@pytest.mark.parametrize("offset", [0x10000, 0x10070])
def test_chunks_join_without_a_seam(lanes: xts.Lanes, length: int, offset: int) -> None:
    if lanes is xts.numpy_lanes:
        pytest.importorskip("numpy")
    data = os.urandom(length)
    pieces = list(xts.crypt(memoryview(data), key=RAW_KEY, flash_offset=offset, decrypting=False, lanes=lanes))
    assert max(map(len, pieces)) <= xts.CHUNK
    assert b"".join(pieces) == by_espsecure(data, RAW_KEY, XTS, offset)


# Made with espsecure 5.6.0 from the key 01 02 03... and the plaintext 40 41 ... 7f.
KNOWN_ANSWERS = [
    (XTS, 32, 0x8060, 0xF, "f2280d4bd8b6817c342f1b8dbb9a7d6fcb444615a59ed1d48e8e3cfb560799bf"
     "707a23e569178834a65a2e6626e185541fb1da9968db2debee8fb413ab8a280c"),
    (XTS, 64, 0xFFFFFFC0, 0xF, "e3a07e5520d844371ea72b297e7e8e59385ab3126221ca2d308702a565afce9a"
     "7927c940e35de0ad19fe7c1da96eabf1a0b37a2b67ffad895eef47d49cf18c1c"),
    (XTS, 16, 0x10010, 0xF, "372260c867235372b811315b74b1f276740d0733adcdb10ddde01b7169c522ed"
     "5626d533820a15647d15902a78243ddb88a7f447477d0b1ef58548378127b8cc"),
    (ESP32, 32, 0x8060, 0xF, "093685019175b3b89f67fbb594d2bd631141b3d28c0c3cd6f365d79d4b733ec2"
     "0e67d2b9f1d50c132eb30997ce979cd648e0cc7438fe8d18bdfd96122ec91bae"),
    (ESP32, 24, 0xFFFFC0, 0xF, "baf015f5b1605ab7e3c988ea85d3d3ee2c32f8ff9416ea0283ceaf39e3164553"
     "a67b09c76cbe84805400da39baf2854717a1f571c4c2d95e16de7305b535e7a1"),
    (ESP32, 32, 0x123460, 0x5, "d736bd6e8b86d5d739a74e52d218af1ed0d62812b9743fa0773522f43320a389"
     "5e8f5b66975867842ee1cea7f843d94a0e12fd94db913ad2ae4cc8a89073b6e3"),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "key_length", "offset", "config", "expected"), KNOWN_ANSWERS)
def test_known_answers(scheme: FlashEncryptionScheme, key_length: int, offset: int, config: int, expected: str) -> None:
    key = flash_encryption_key(scheme, bytes(range(1, key_length + 1)))
    ciphertext = encrypt(bytes(range(0x40, 0x80)), key=key, flash_offset=offset, flash_crypt_config=config)
    assert ciphertext.hex() == expected


VECTORS = os.environ.get("SECURE_EXT_ESPTOOL_VECTORS")
ESPTOOL_VECTORS = [
    (ESP32, "bootloader", "bootloader-encrypted", "256bit_key", 0x1000, 0xF),
    (ESP32, "bootloader", "bootloader-encrypted-conf0", "256bit_key", 0x1000, 0x0),
    (ESP32, "bootloader", "bootloader-encrypted-conf3", "256bit_key", 0x1000, 0x3),
    (ESP32, "bootloader", "bootloader-encrypted-conf9", "256bit_key", 0x1000, 0x9),
    (ESP32, "bootloader", "bootloader-encrypted-confc", "256bit_key", 0x1000, 0xC),
    (ESP32, "hello-world-signed", "hello-world-signed-encrypted", "ef-flashencryption-key", 0x20000, 0xF),
    (XTS, "bootloader", "bootloader-encrypted-aes-xts", "256bit_key", 0x1000, 0xF),
    (XTS, "hello-world-signed", "hello-world-signed-encrypted-aes-xts", "ef-flashencryption-key", 0x20000, 0xF),
    (XTS, "hello-world-signed", "hello-world-signed-encrypted-aes-xts-256", "512bit_key", 0x10000, 0xF),
]


@pytest.mark.skipif(
    VECTORS is None, reason="SECURE_EXT_ESPTOOL_VECTORS does not name a copy of esptool's test/secure_images"
)
@pytest.mark.parametrize(("scheme", "plain", "cipher", "key", "offset", "config"), ESPTOOL_VECTORS)
def test_esptools_own_vectors(
    *, scheme: FlashEncryptionScheme, plain: str, cipher: str, key: str, offset: int, config: int
) -> None:
    plaintext, ciphertext, raw = (Path(VECTORS or "", f"{name}.bin").read_bytes() for name in (plain, cipher, key))
    flash_key = flash_encryption_key(scheme, raw)
    assert encrypt(plaintext, key=flash_key, flash_offset=offset, flash_crypt_config=config) == ciphertext
    assert decrypt(ciphertext, key=flash_key, flash_offset=offset, flash_crypt_config=config) == plaintext


def test_padding_is_erased_flash_up_to_the_unit() -> None:
    assert pad_to_unit(b"", XTS) == b""
    assert pad_to_unit(bytes(16), XTS) == bytes(16)
    assert pad_to_unit(bytes(17), XTS) == bytes(17) + b"\xff" * 15
    assert pad_to_unit(bytes(16), ESP32) == bytes(16) + b"\xff" * 16
    assert encrypt(b"", key=flash_encryption_key(XTS, RAW_KEY), flash_offset=0x1000) == b""
    assert encrypt(b"", key=flash_encryption_key(ESP32, RAW_KEY), flash_offset=0x1000) == b""


@pytest.mark.parametrize(
    ("scheme", "raw"),
    [
        (ESP32, b""),
        (ESP32, RAW_KEY[:16]),
        (ESP32, RAW_KEY + RAW_KEY[::-1]),
        (XTS, RAW_KEY[:24]),
        (XTS, RAW_KEY[:31]),
    ],
)
def test_a_key_of_another_length_is_refused_without_showing_it(scheme: FlashEncryptionScheme, raw: bytes) -> None:
    with pytest.raises(ValueError, match=f"takes no key of {len(raw)} bytes") as caught:
        flash_encryption_key(scheme, raw)
    shown = f"{caught.value} {caught.value!r}"
    assert not raw or not any(form in shown for form in (raw.hex(), repr(raw)[2:-1]))


def test_key_is_not_in_its_repr() -> None:
    key = flash_encryption_key(ESP32, b"0123456789abcdef" * 2)
    assert key == FlashEncryptionKey(ESP32, b"0123456789abcdef" * 2)
    for shown in (repr(key), str(key), f"{key}"):
        assert "0123" not in shown
        assert key.key.hex() not in shown


BAD_RANGES = [
    ("SE514", XTS, 15, 0, "pad_to_unit"),
    ("SE514", ESP32, 16, 0, "pad_to_unit"),
    ("SE515", XTS, 16, 8, "partition table"),
    ("SE515", XTS, 16, -16, "partition table"),
    ("SE515", XTS, 32, 2**32 - 16, "partition table"),
    ("SE515", ESP32, 32, 16, "partition table"),
    ("SE515", ESP32, 64, 2**24 - 32, "partition table"),
]


@pytest.mark.parametrize(("code", "scheme", "length", "offset", "cure"), BAD_RANGES)
@pytest.mark.parametrize("operation", [encrypt, decrypt])
def test_data_and_offset_must_fit_the_cipher(
    *, operation: Callable[..., bytes], code: str, scheme: FlashEncryptionScheme, length: int, offset: int, cure: str
) -> None:
    with pytest.raises(InputError) as caught:
        operation(bytes(length), key=flash_encryption_key(scheme, RAW_KEY), flash_offset=offset)
    assert caught.value.code == code
    assert cure in caught.value.cure


@pytest.mark.parametrize("config", [-1, 16])
def test_flash_crypt_config_has_four_bits(config: int) -> None:
    with pytest.raises(InputError, match="SE516"):
        encrypt(bytes(32), key=flash_encryption_key(ESP32, RAW_KEY), flash_offset=0, flash_crypt_config=config)
