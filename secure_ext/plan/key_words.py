# SPDX-License-Identifier: Apache-2.0
"""How a plan speaks of the keys that it burns: what each is called, why it is burned, where the wish comes from."""

from __future__ import annotations

from secure_ext.plan.steps import EXTRA_ROLES, BurnKey, KeyRole
from secure_ext.policy.signing_entry import Signs

KEY_TITLES = {
    KeyRole.FLASH_ENCRYPTION: "flash encryption key",
    KeyRole.FLASH_ENCRYPTION_1: "flash encryption key, first half",
    KeyRole.FLASH_ENCRYPTION_2: "flash encryption key, second half",
    KeyRole.NVS_HMAC: "NVS encryption (HMAC) key",
    KeyRole.DIGEST_0: "digest of signing key 1",
    KeyRole.DIGEST_1: "digest of signing key 2",
    KeyRole.DIGEST_2: "digest of signing key 3",
    **{role: f"extra key {number}" for number, role in enumerate(EXTRA_ROLES, 1)},
}
_USES = {
    "HMAC_UP": "the firmware computes HMACs with it",
    "HMAC_DOWN_ALL": "the chip makes digital signatures with it, and opens JTAG with its token",
    "HMAC_DOWN_JTAG": "the chip opens JTAG to whoever has its token",
    "HMAC_DOWN_DIGITAL_SIGNATURE": "the chip decrypts its RSA key for digital signatures with it",
}


def key_reason(key: BurnKey) -> str:
    """Why it is burned."""
    if key.role is KeyRole.NVS_HMAC:
        return "the firmware derives its NVS encryption keys from it; it cannot be added once RD_DIS is write-protected"
    if key.role.is_extra:
        use = _USES.get(key.purpose, "the chip signs with it (ECDSA)")
        return f"{use}; it cannot be added once RD_DIS is write-protected"
    if key.role.is_secret:
        return "the chip decrypts its flash with it; nobody may read it"
    return {
        Signs.BOOTLOADER: "the ROM compares the bootloader's signing key with it; this key does not sign the app",
        Signs.NOTHING: "the board trusts a spare key by it, which signs nothing now: it can take over later",
    }.get(key.signs or Signs.ALL, "the ROM compares the bootloader's signing key with it")


def key_origin(key: BurnKey) -> str:
    """The setting that asks for it."""
    if key.role is KeyRole.NVS_HMAC:
        return "nvs.scheme"
    if key.role.is_extra:
        return "extra_keys"
    return "flash_encryption.mode" if key.role.is_secret else "secure_boot.keys"
