# SPDX-License-Identifier: Apache-2.0
"""Encrypt and decrypt flash content the way the chip does: same bytes as ``espsecure``, many times faster.

Ciphertext depends on the key and on the flash address, so an image is encrypted for the one place it will be written
to, after it has been signed. Any part that starts and ends on a cipher unit may be encrypted on its own.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import field

from secure_ext.errors import InputError
from secure_ext.formats import esp32_flash, xts
from secure_ext.station.frozen import frozen

MIB = 1024 * 1024


class FlashEncryptionScheme(enum.Enum):
    """The two ciphers: that of the original ESP32, and XTS-AES of every later chip."""

    ESP32 = "esp32"
    XTS = "xts"

    @property
    def unit(self) -> int:
        """Bytes that data length and flash offset must be a multiple of."""
        return 32 if self is FlashEncryptionScheme.ESP32 else 16

    @property
    def address_space(self) -> int:
        """Bytes of flash that the cipher can tell apart."""
        return esp32_flash.ADDRESS_SPACE if self is FlashEncryptionScheme.ESP32 else 1 << 32


KEY_LENGTHS = {FlashEncryptionScheme.ESP32: (32, 24), FlashEncryptionScheme.XTS: (32, 64, 16)}


@frozen
class FlashEncryptionKey:
    """A checked key as the cipher uses it; :func:`flash_encryption_key` makes one. Never shows the key itself."""

    scheme: FlashEncryptionScheme
    key: bytes = field(repr=False)


def flash_encryption_key(scheme: FlashEncryptionScheme, raw: bytes) -> FlashEncryptionKey:
    """The key that a key file's content stands for.

    Args:
        scheme: the chip's cipher.
        raw: ESP32: 32 bytes, or 24 with the 3/4 coding scheme. XTS: 32 bytes (XTS-AES-128), 64 bytes (XTS-AES-256),
            or the 16 bytes from which an ESP32-C2 derives its key.

    Raises ValueError for another length; what makes a key weak is decided by `secure_ext.keys.symmetric.refuse_weak`.
    """
    if len(raw) not in KEY_LENGTHS[scheme]:
        raise ValueError(f"the {scheme.value} cipher takes no key of {len(raw)} bytes")
    key = bytes(raw)
    if len(key) == 24:
        key += key[8:16]  # 3/4 coding leaves 192 bits; the hardware repeats the middle third (espsecure)
    elif len(key) == 16:
        key = hashlib.sha256(key).digest()  # ESP32-C2 with the "derived" key purpose (espsecure)
    return FlashEncryptionKey(scheme, key)


def encrypt(
    data: bytes | memoryview,
    *,
    key: FlashEncryptionKey,
    flash_offset: int,
    flash_crypt_config: int = 0xF,
    workers: int | None = None,
) -> bytes:
    """What must be written to flash so that the chip reads ``data``.

    Args:
        data: plaintext, a multiple of 16 bytes (XTS) or 32 bytes (ESP32) long; :func:`pad_to_unit` makes it so.
        key: key of the chip.
        flash_offset: flash address in bytes of the first byte, a multiple of the same.
        flash_crypt_config: ESP32 only: the eFuse FLASH_CRYPT_CONFIG, 0 to 15.
        workers: ESP32 only: number of processes; by default as many as the length and the machine make worthwhile.

    Raises:
        InputError: SE514 data length, SE515 flash offset, SE516 FLASH_CRYPT_CONFIG.
    """
    return _crypt(data, key, flash_offset, flash_crypt_config, workers, decrypting=False)


def decrypt(
    data: bytes | memoryview,
    *,
    key: FlashEncryptionKey,
    flash_offset: int,
    flash_crypt_config: int = 0xF,
    workers: int | None = None,
) -> bytes:
    """What the chip reads when its flash holds ``data``; arguments and errors are those of :func:`encrypt`."""
    return _crypt(data, key, flash_offset, flash_crypt_config, workers, decrypting=True)


def encrypt_and_undo(data: bytes, *, key: FlashEncryptionKey, flash_offset: int) -> bytes | None:
    """As :func:`encrypt`; None if what it made is not ciphertext that decrypts to ``data`` again."""
    made = encrypt(data, key=key, flash_offset=flash_offset)
    return made if made != data and decrypt(made, key=key, flash_offset=flash_offset) == data else None


def pad_to_unit(data: bytes, scheme: FlashEncryptionScheme) -> bytes:
    """``data`` followed by as many 0xFF bytes as make its length a multiple of 32 (ESP32) or 16 (XTS) bytes.

    0xFF is what erased flash reads, so the padding looks to firmware like flash that was never written.
    """
    return data + b"\xff" * (-len(data) % scheme.unit)


def _crypt(
    data: bytes | memoryview,
    key: FlashEncryptionKey,
    flash_offset: int,
    flash_crypt_config: int,
    workers: int | None,
    *,
    decrypting: bool,
) -> bytes:
    view = memoryview(data).cast("B")
    _check_range(len(view), flash_offset, key.scheme)
    if key.scheme is FlashEncryptionScheme.XTS:
        return b"".join(xts.crypt(view, key=key.key, flash_offset=flash_offset, decrypting=decrypting))
    if not 0 <= flash_crypt_config <= 0xF:
        raise InputError(
            "SE516",
            f"FLASH_CRYPT_CONFIG is {flash_crypt_config}; the eFuse has four bits",
            cure="use a value from 0 to 15; 15 (0xF) is what ESP-IDF burns",
        )
    return esp32_flash.crypt(
        view,
        key=key.key,
        flash_offset=flash_offset,
        flash_crypt_config=flash_crypt_config,
        decrypting=decrypting,
        workers=workers,
    )


def _check_range(length: int, flash_offset: int, scheme: FlashEncryptionScheme) -> None:
    if length % scheme.unit:
        raise InputError(
            "SE514",
            f"the data is {length} bytes long; {scheme.value} flash encryption works in units of {scheme.unit} bytes",
            cure="pad the data with pad_to_unit() before it is encrypted",
        )
    if flash_offset < 0 or flash_offset % scheme.unit:
        raise InputError(
            "SE515",
            f"the flash offset {flash_offset:#x} is not a multiple of {scheme.unit} bytes from 0 up",
            cure="use the offset from the partition table; partitions start on a multiple of 0x1000",
        )
    if flash_offset + length > scheme.address_space:
        raise InputError(
            "SE515",
            f"{length} bytes at flash offset {flash_offset:#x} reach beyond "
            f"{scheme.address_space // MIB} MiB, the end of what {scheme.value} flash encryption can address",
            cure="check the offset and the length of the image against the partition table",
        )
