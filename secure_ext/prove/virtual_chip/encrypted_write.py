# SPDX-License-Identifier: Apache-2.0
"""What the chip makes of plaintext that it is asked to write encrypted, in download mode.

Sources: ESP-IDF manual, Flash Encryption (Manual Encryption, Manually Encrypting Files); the technical reference
manuals, External Memory Encryption and Decryption, "Manual Encryption".
"""

from __future__ import annotations

from secure_ext.formats.flash_encryption import FlashEncryptionScheme, encrypt, flash_encryption_key
from secure_ext.prove.virtual_chip.efuse_controller import EfuseController
from secure_ext.prove.virtual_chip.packets import FAILED, Refused
from secure_ext.station.chip_facts import FACTS

_XTS_128, _XTS_256 = (4,), (2, 3)
"""Numbers of key purposes."""
_ALL_OF_THE_KEY = 0xF


def as_the_chip_encrypts(efuses: EfuseController, offset: int, content: bytes) -> bytes:
    """Ciphertext of `content` for a flash offset, with the key in the eFuses, hidden or not.

    Raises Refused where the chip has no key, or its manual encryption was turned off.
    """
    if efuses.field("DIS_DOWNLOAD_MANUAL_ENCRYPT") or efuses.field("DISABLE_DL_ENCRYPT"):
        raise Refused(FAILED)
    raw = _key(efuses)
    scheme = FlashEncryptionScheme.XTS if FACTS[efuses.chip].has_xts else FlashEncryptionScheme.ESP32
    if not any(raw) or len(content) % scheme.unit or offset % scheme.unit:
        raise Refused(FAILED)
    if scheme is FlashEncryptionScheme.ESP32 and efuses.field("FLASH_CRYPT_CONFIG") != _ALL_OF_THE_KEY:
        raise Refused(FAILED)
    return encrypt(content, key=flash_encryption_key(scheme, raw), flash_offset=offset)


def _key(efuses: EfuseController) -> bytes:
    """As a key file holds it: the eFuses have its last byte first."""
    facts = FACTS[efuses.chip]
    if not facts.has_xts:
        return efuses.fuses.raw(1, 32)[::-1]
    if facts.own_key_blocks:
        block = efuses.fuses.decoded(facts.own_key_blocks[0][1]).data
        return (block if efuses.field("XTS_KEY_LENGTH_256") else block[:16])[::-1]
    for purposes in (_XTS_256, _XTS_128):
        blocks = [_block_with(efuses, purpose) for purpose in purposes]
        if all(blocks):
            return b"".join(block[::-1] for block in blocks)
    return b""


def _block_with(efuses: EfuseController, purpose: int) -> bytes:
    for number in range(6):
        if efuses.field(f"KEY_PURPOSE_{number}") == purpose:
            return efuses.fuses.decoded(4 + number).data
    return b""
