# SPDX-License-Identifier: Apache-2.0
"""The RSA key of the digital signature peripheral, encrypted with what the chip makes of an HMAC key in eFuse.

Source: ESP-IDF manual, Digital Signature (DS); technical reference manual of the ESP32-C3, Digital Signature;
``components/esp_security/include/esp_ds.h`` (esp_ds_data_t). Numbers are in little-endian order.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

IV_BYTES = 16
_WORD = 32
_END = b"\x08" * 8
_TAIL = struct.Struct("<II")
_HASH = 32


def encrypt_rsa_key(key: rsa.RSAPrivateKey, hmac_key: bytes, most_bits: int, iv: bytes) -> bytes:
    """The ciphertext of a key, for a chip whose peripheral takes `most_bits`."""
    private = key.private_numbers()
    modulus, bits = private.public_numbers.n, key.key_size
    numbers = b"".join(
        number.to_bytes(most_bits // 8, "little") for number in (private.d, modulus, (1 << 2 * bits) % modulus)
    )
    tail = _TAIL.pack(-pow(modulus, -1, 1 << _WORD) % (1 << _WORD), bits // _WORD - 1)
    digest = hashlib.sha256(numbers + tail + iv).digest()
    cipher = _cipher(hmac_key, iv).encryptor()
    return cipher.update(numbers + digest + tail + _END) + cipher.finalize()


def decrypt_rsa_key(ciphertext: bytes, hmac_key: bytes, most_bits: int, iv: bytes) -> tuple[int, int]:
    """The private exponent and the modulus. Raises ValueError if the chip would refuse to sign with it."""
    if len(ciphertext) != ciphertext_bytes(most_bits):
        raise ValueError("it has another length")
    cipher = _cipher(hmac_key, iv).decryptor()
    plain = cipher.update(ciphertext) + cipher.finalize()
    size = most_bits // 8
    numbers, digest, rest = plain[: 3 * size], plain[3 * size : 3 * size + _HASH], plain[3 * size + _HASH :]
    tail, end = rest[: _TAIL.size], rest[_TAIL.size :]
    if end != _END or digest != hashlib.sha256(numbers + tail + iv).digest():
        raise ValueError("its hash does not fit")
    exponent, modulus, factor = (int.from_bytes(numbers[at : at + size], "little") for at in (0, size, 2 * size))
    inverse, words = _TAIL.unpack(tail)
    if words != modulus.bit_length() // _WORD - 1 or factor != (1 << 2 * modulus.bit_length()) % modulus:
        raise ValueError("its parts do not fit each other")
    if inverse * modulus % (1 << _WORD) != (1 << _WORD) - 1:
        raise ValueError("its parts do not fit each other")
    return exponent, modulus


def ciphertext_bytes(most_bits: int) -> int:
    """The length of a ciphertext, whatever the length of the key."""
    return 3 * most_bits // 8 + _HASH + _TAIL.size + len(_END)


def _cipher(hmac_key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    """AES-256 with the key that the HMAC peripheral makes for this one."""
    return Cipher(algorithms.AES(hmac.new(hmac_key, b"\xff" * 32, hashlib.sha256).digest()), modes.CBC(iv))
