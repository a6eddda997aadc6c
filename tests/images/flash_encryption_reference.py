# SPDX-License-Identifier: Apache-2.0
"""Flash encryption as espsecure does it, and data to encrypt."""

from __future__ import annotations

import io

import espsecure

from secure_ext.formats.flash_encryption import (
    FlashEncryptionScheme,
)

ESP32, XTS = FlashEncryptionScheme.ESP32, FlashEncryptionScheme.XTS
RAW_KEY = bytes(range(1, 33))


def by_espsecure(
    data: bytes,
    raw_key: bytes,
    scheme: FlashEncryptionScheme,
    offset: int,
    *,
    config: int = 0xF,
    decrypting: bool = False,
) -> bytes:
    """The reference; these two functions have the same parameters in esptool 4.8 and 5."""
    source, key, output = io.BytesIO(data), io.BytesIO(raw_key), io.BytesIO()
    if scheme is XTS:
        espsecure._flash_encryption_operation_aes_xts(output, source, offset, key, decrypting)
    else:
        espsecure._flash_encryption_operation_esp32(output, source, offset, key, config, decrypting)
    return output.getvalue()


def counted(length: int, salt: int = 0) -> bytes:
    return bytes((index * 7 + (index >> 8) + salt) & 0xFF for index in range(length))
