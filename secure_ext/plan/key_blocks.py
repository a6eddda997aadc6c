# SPDX-License-Identifier: Apache-2.0
"""Which key goes into which key block, and with which purpose."""

from __future__ import annotations

from secure_ext.chips.chip import Chip, KeyBlock
from secure_ext.errors import UsageError
from secure_ext.plan.steps import BlockPart, BurnKey, KeyRole
from secure_ext.policy.policy import NvsScheme, Policy
from secure_ext.station.chip_facts import KeySize

_DIGESTS = (KeyRole.DIGEST_0, KeyRole.DIGEST_1, KeyRole.DIGEST_2)


def assign_key_blocks(chip: Chip, policy: Policy) -> tuple[BurnKey, ...]:
    """Every key of the policy with its block: flash encryption, then digests, then the NVS HMAC key.

    The HMAC key keeps the block the firmware was built for; the others take the first free block that the chip allows.

    Raises UsageError SE402 when the keys do not fit.
    """
    if chip.has_fixed_key_blocks:
        return _fixed(chip, policy)
    if chip.has_one_key_block:
        return _halves(chip.key_blocks[0], policy)
    taken: dict[str, BurnKey] = {}
    wants_hmac = policy.nvs.scheme is NvsScheme.HMAC
    hmac_id = policy.nvs.key_id
    if wants_hmac and hmac_id is not None:
        block = _block(chip, f"BLOCK_KEY{hmac_id}")
        taken[block.name] = BurnKey(KeyRole.NVS_HMAC, block, "HMAC_UP")
    keys: list[BurnKey] = []
    for role, purpose in _wanted(policy):
        block = _first_free(chip, taken, purpose)
        taken[block.name] = BurnKey(role, block, purpose)
        keys.append(taken[block.name])
    if wants_hmac and hmac_id is None:
        keys.append(BurnKey(KeyRole.NVS_HMAC, _first_free(chip, taken, "HMAC_UP"), "HMAC_UP"))
    elif wants_hmac:
        keys.append(taken[f"BLOCK_KEY{hmac_id}"])
    return tuple(keys)


def can_hold_xts_key(chip: Chip, block: KeyBlock) -> bool:
    """False for the last block of some chips (espefuse refuses it there, too)."""
    return block.name != "BLOCK_KEY5" or chip.facts.xts_key_in_block_key5


def _wanted(policy: Policy) -> list[tuple[KeyRole, str]]:
    wanted: list[tuple[KeyRole, str]] = []
    if policy.flash_encryption.enabled:
        if policy.flash_encryption.key_size is KeySize.XTS_256:
            wanted += [
                (KeyRole.FLASH_ENCRYPTION_1, "XTS_AES_256_KEY_1"),
                (KeyRole.FLASH_ENCRYPTION_2, "XTS_AES_256_KEY_2"),
            ]
        else:
            wanted.append((KeyRole.FLASH_ENCRYPTION, "XTS_AES_128_KEY"))
    wanted += [(_DIGESTS[i], f"SECURE_BOOT_DIGEST{i}") for i in range(len(policy.secure_boot.keys))]
    return wanted


def _first_free(chip: Chip, taken: dict[str, BurnKey], purpose: str) -> KeyBlock:
    for block in chip.key_blocks:
        fits = not purpose.startswith("XTS_") or can_hold_xts_key(chip, block)
        if block.name not in taken and fits:
            return block
    raise UsageError(
        "SE402",
        f"no key block is left on {chip.name} for the key {purpose}",
        cure="use fewer signing keys, or a 128-bit flash encryption key",
        place=purpose,
    )


def _block(chip: Chip, name: str) -> KeyBlock:
    for block in chip.key_blocks:
        if block.name == name:
            return block
    raise UsageError("SE402", f"{chip.name} has no {name}", cure="choose another nvs.key_id", place="nvs.key_id")


def _fixed(chip: Chip, policy: Policy) -> tuple[BurnKey, ...]:
    flash_encryption, secure_boot = chip.key_blocks
    keys = []
    if policy.flash_encryption.enabled:
        keys.append(BurnKey(KeyRole.FLASH_ENCRYPTION, flash_encryption, ""))
    if policy.secure_boot.enabled:
        keys.append(BurnKey(KeyRole.DIGEST_0, secure_boot, ""))
    return tuple(keys)


def _halves(block: KeyBlock, policy: Policy) -> tuple[BurnKey, ...]:
    keys = []
    if policy.flash_encryption.enabled:
        if policy.flash_encryption.key_size is KeySize.XTS_128:
            keys.append(BurnKey(KeyRole.FLASH_ENCRYPTION, block, "XTS_AES_128_KEY"))
        else:
            purpose = "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS"
            keys.append(BurnKey(KeyRole.FLASH_ENCRYPTION, block, purpose, BlockPart.LOW))
    if policy.secure_boot.enabled:
        keys.append(BurnKey(KeyRole.DIGEST_0, block, "SECURE_BOOT_DIGEST", BlockPart.HIGH))
    return tuple(keys)
