# SPDX-License-Identifier: Apache-2.0
"""Which keys the chip would use: the flash encryption key, and the digests of the signing keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from secure_ext.prove.boot_check.chip_facts import CHIPS
from secure_ext.prove.boot_check.efuses import Efuses
from secure_ext.prove.boot_check.findings import Findings, Refused

_PURPOSE_128 = "XTS_AES_128_KEY"
_PURPOSES_256 = ("XTS_AES_256_KEY_1", "XTS_AES_256_KEY_2")
_ONE_BLOCK = 3
"""BLOCK_KEY0 of the ESP32-C2: half of it, or all, for the flash encryption key; the other half for the digest."""


@dataclass(frozen=True)
class Digest:
    """A digest of a signing key in eFuse; `value` is what the ROM compares: 32 bytes, on the ESP32-C2 16."""

    number: int
    block: str
    value: bytes


@dataclass(frozen=True)
class FlashKey:
    """A flash encryption key as the AES of the flash controller gets it, and the name of its blocks."""

    key: bytes = field(repr=False)
    blocks: str


def is_encrypting(efuses: Efuses) -> bool:
    """Whether flash encryption is on: an odd number of bits (ESP-IDF ``docs/en/security/flash-encryption.rst``)."""
    return efuses.value(CHIPS[efuses.chip].crypt_count).bit_count() % 2 == 1


def has_secure_boot(efuses: Efuses) -> bool:
    """Whether Secure Boot V2 is on; the ESP32 has it from revision 3.0 on (``docs/en/security/secure-boot-v2.rst``)."""
    return bool(efuses.value(CHIPS[efuses.chip].secure_boot)) and (efuses.chip != "esp32" or efuses.revision() >= 300)


def flash_key(efuses: Efuses, findings: Findings) -> FlashKey:
    """The key of a chip that encrypts. Raises Refused if it has none, or part of one.

    The controller reads a key from its last byte to its first (TRM, chapter "External Memory Encryption and
    Decryption"). A half block of the ESP32-C2 is hashed: ``docs/en/security/flash-encryption.rst``.
    """
    if efuses.chip == "esp32":
        _must_be_hidden(efuses, 1, 0, findings)
        return FlashKey(_burned(efuses.block(1)[::-1], "BLOCK1"), "BLOCK1")
    if efuses.chip == "esp32c2":
        _must_be_hidden(efuses, _ONE_BLOCK, 0, findings)
        if efuses.value("XTS_KEY_LENGTH_256"):
            _must_be_hidden(efuses, _ONE_BLOCK, 1, findings)
            return FlashKey(_burned(efuses.block(_ONE_BLOCK)[::-1], "BLOCK_KEY0"), "BLOCK_KEY0")
        low = _burned(efuses.block(_ONE_BLOCK)[:16][::-1], "the low half of BLOCK_KEY0")
        return FlashKey(hashlib.sha256(low).digest(), "the low half of BLOCK_KEY0")
    found = {purpose: efuses.with_purpose(purpose) for purpose in (_PURPOSE_128, *_PURPOSES_256)}
    used = tuple(purpose for purpose, blocks in found.items() if blocks)
    if used not in ((_PURPOSE_128,), _PURPOSES_256) or any(len(blocks) > 1 for blocks in found.values()):
        raise Refused(
            "BC03", f"flash encryption is on, and the key blocks with its purposes are: {', '.join(used) or 'none'}"
        )
    blocks = [found[purpose][0] for purpose in used]
    for block in blocks:
        _must_be_hidden(efuses, block.number, 0, findings)
    key = b"".join(_burned(efuses.block(block.number)[::-1], block.name) for block in blocks)
    return FlashKey(key, " and ".join(block.name for block in blocks))


def digests(efuses: Efuses, findings: Findings) -> list[Digest]:
    """The digests that the ROM trusts: burned, readable and not revoked (ESP-IDF ``rom/secure_boot.h``)."""
    if efuses.chip in ("esp32", "esp32c2"):
        number, half = (2, 0) if efuses.chip == "esp32" else (_ONE_BLOCK, 1)
        if efuses.is_hidden(number, half):
            findings.fault("BC06", f"the digest in {efuses.key_blocks[number].name} is read-protected: the ROM reads 0")
            return []
        value = efuses.block(number)[16:] if efuses.chip == "esp32c2" else efuses.block(number)
        return [Digest(0, efuses.key_blocks[number].name, value)]
    trusted = []
    for slot in range(3):
        blocks = efuses.with_purpose(f"SECURE_BOOT_DIGEST{slot}")
        if len(blocks) > 1:
            findings.fault("BC05", f"{' and '.join(block.name for block in blocks)} all hold digest {slot}")
        for block in blocks:
            if efuses.value(f"SECURE_BOOT_KEY_REVOKE{slot}"):
                findings.fault("BC06", f"digest {slot} in {block.name} is revoked")
            elif efuses.is_hidden(block.number):
                findings.fault("BC06", f"digest {slot} in {block.name} is read-protected: the ROM reads 0")
            else:
                trusted.append(Digest(slot, block.name, efuses.block(block.number)))
    return trusted


def _must_be_hidden(efuses: Efuses, number: int, half: int, findings: Findings) -> None:
    if not efuses.is_hidden(number, half):
        findings.fault("BC04", f"the flash encryption key in {efuses.key_blocks[number].name} can be read")


def _burned(key: bytes, where: str) -> bytes:
    if not any(key):
        raise Refused("BC03", f"flash encryption is on, and {where} is empty")
    return key
