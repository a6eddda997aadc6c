# SPDX-License-Identifier: Apache-2.0
"""How the flash controller decrypts: one function for the ESP32, one for all chips after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Decrypt = Callable[[int, bytes], bytes]
"""Takes a flash offset, a multiple of `UNIT`, and ciphertext of a multiple of `UNIT` bytes."""

UNIT = 0x80
"""Bytes that XTS takes as one data unit: the largest piece that any of these chips encrypts with one tweak."""

_LAST_BITS = (67, 65, 63, 61)
"""How many bits of the ESP32's key each bit of FLASH_CRYPT_CONFIG lets be tweaked, from the first bit on."""


def xts(key: bytes) -> Decrypt:
    """AES-XTS with the offset of each 128 bytes as tweak, on bytes in reversed order.

    ESP32-C3 TRM, chapter "External Memory Encryption and Decryption"; the key is 32 or 64 bytes. Raises ValueError for
    one with two equal halves, where the installed cryptography refuses it.
    """
    Cipher(algorithms.AES(key), modes.XTS(bytes(16))).decryptor()

    def decrypt(offset: int, data: bytes) -> bytes:
        plain = []
        for start in range(0, len(data), UNIT):
            tweak = (offset + start).to_bytes(16, "little")
            cipher = Cipher(algorithms.AES(key), modes.XTS(tweak)).decryptor()
            plain.append(cipher.update(data[start : start + UNIT][::-1])[::-1])
        return b"".join(plain)

    return decrypt


def esp32(key: bytes, config: int) -> Decrypt:
    """The ESP32's own scheme: AES run backwards, with a key for each 32 bytes that the offset is mixed into.

    ESP-IDF ``docs/en/security/flash-encryption.rst``, "Flash Encryption Algorithm"; `config` is FLASH_CRYPT_CONFIG.
    """
    tweaked = list(_tweaked_bits(config))
    number = int.from_bytes(key, "big")

    def decrypt(offset: int, data: bytes) -> bytes:
        plain = []
        for start in range(0, len(data), 32):
            mask = 0
            for address_bit, key_bits in enumerate(tweaked):
                if (offset + start) >> address_bit & 1:
                    mask ^= key_bits
            block_key = (number ^ mask).to_bytes(32, "big")
            cipher = Cipher(algorithms.AES(block_key), modes.ECB()).encryptor()  # noqa: S305
            blocks = data[start : start + 32]
            plain.append(b"".join(cipher.update(blocks[at : at + 16][::-1])[::-1] for at in range(0, len(blocks), 16)))
        return b"".join(plain)

    return decrypt


def _tweaked_bits(config: int) -> Iterator[int]:
    """For each bit of the flash offset, the bits of the key that it flips.

    Bits 23 to 5 of the offset are laid along the key, over and over; each of the four ranges starts again with bit 23.
    """
    flipped = [0] * 24
    position = 0
    for part, length in enumerate(_LAST_BITS):
        for index in range(length):
            if config >> part & 1:
                flipped[_address_bit(index, length)] |= 1 << (255 - position)
            position += 1
    yield from flipped


def _address_bit(index: int, length: int) -> int:
    """Three times 23 down to 5, and then the last bits, which end with 5 again."""
    return 23 - index % 19 if index < 57 else 4 + length - index
