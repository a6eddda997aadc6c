# SPDX-License-Identifier: Apache-2.0
"""Which key goes into which key block, and with which purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from secure_ext.chips.chip import Chip, KeyBlock
from secure_ext.errors import UsageError
from secure_ext.plan.steps import EXTRA_ROLES, BlockPart, BurnKey, KeyRole
from secure_ext.policy.extra_key import PURPOSES
from secure_ext.policy.policy import ExtraKeyPolicy, NvsScheme, Policy
from secure_ext.station.block_solver import solve
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import KeyPlace

_DIGESTS = (KeyRole.DIGEST_0, KeyRole.DIGEST_1, KeyRole.DIGEST_2)
_HIGH_HALF = "ECDSA_KEY_P384_H"
_SETTING_NAMES = {
    KeyRole.FLASH_ENCRYPTION: "flash_encryption",
    KeyRole.FLASH_ENCRYPTION_1: "flash_encryption_1",
    KeyRole.FLASH_ENCRYPTION_2: "flash_encryption_2",
    KeyRole.DIGEST_0: "secure_boot_digest_0",
    KeyRole.DIGEST_1: "secure_boot_digest_1",
    KeyRole.DIGEST_2: "secure_boot_digest_2",
}
"""What ``key_blocks`` of a profile calls the keys; the block of NVS's is ``nvs.key_id``, for the firmware knows it."""


@frozen
class _Place:
    block: KeyBlock
    part: BlockPart = BlockPart.WHOLE


@frozen
class _Demand:
    """A key that wants a place: those that the chip has for it, the preferred one first."""

    role: KeyRole
    purpose: str
    places: tuple[_Place, ...]
    name: str = ""

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name or self.role.value.replace("_", " ")


def assign_key_blocks(chip: Chip, policy: Policy) -> tuple[BurnKey, ...]:
    """Every key of the policy with its block: flash encryption, digests, the NVS HMAC key, those of ``extra_keys``.

    The HMAC key keeps the block that the firmware was built for; a key that ``key_blocks`` names has that block; the
    others take the first one that the chip allows, that is not reserved, and that leaves room for those behind them.

    Raises UsageError SE402 when the keys do not fit, SE406 when ``key_blocks`` names a key that the plan does not have.
    """
    demands = tuple(_demands(chip, policy))
    _refuse_unknown_keys(demands, policy)
    places = _placed(demands, policy)
    if places is None:
        raise _no_room(chip, demands, policy)
    return tuple(
        BurnKey(demand.role, place.block, demand.purpose, place.part)
        for demand, place in zip(demands, places, strict=True)
    )


def can_hold(chip: Chip, block: KeyBlock, purpose: str) -> bool:
    """Whether a block can have a purpose: the last one of some chips has none of flash encryption, none of ECDSA.

    Source: ESP-IDF, ``SOC_EFUSE_BLOCK9_KEY_PURPOSE_QUIRK`` in ``esp_efuse_api_key.c``.
    """
    is_quirky = block.name == "BLOCK_KEY5" and not chip.facts.xts_key_in_block_key5
    return not (is_quirky and purpose.startswith(("XTS_", "ECDSA_")))


def key_places(chip: Chip, reserved: frozenset[str] = frozenset()) -> tuple[KeyPlace, ...]:
    """The blocks from which a station chooses; none on a chip whose blocks have fixed purposes."""
    return tuple(
        KeyPlace(
            block.name,
            block.number,
            block.purpose_field,
            (block.wr_dis_bit, block.purpose_wr_dis_bit),
            block.rd_dis_bits,
            can_hold(chip, block, "XTS_AES_128_KEY"),
        )
        for block in chip.key_blocks
        if block.purpose_field and block.purpose_wr_dis_bit is not None and _short(block) not in reserved
    )


def _demands(chip: Chip, policy: Policy) -> Iterator[_Demand]:
    if chip.has_fixed_key_blocks:
        yield from _demands_of_fixed_blocks(chip, policy)
    elif chip.has_one_key_block:
        yield from _demands_of_halves(chip.key_blocks[0], policy)
    else:
        yield from _demands_of_any_block(chip, policy)


def _demands_of_any_block(chip: Chip, policy: Policy) -> Iterator[_Demand]:
    blocks = tuple(_Place(block) for block in chip.key_blocks)
    if policy.flash_encryption.enabled:
        for_xts = tuple(place for place in blocks if can_hold(chip, place.block, "XTS_AES_128_KEY"))
        if policy.flash_encryption.key_size is KeySize.XTS_256:
            yield _Demand(KeyRole.FLASH_ENCRYPTION_1, "XTS_AES_256_KEY_1", for_xts)
            yield _Demand(KeyRole.FLASH_ENCRYPTION_2, "XTS_AES_256_KEY_2", for_xts)
        else:
            yield _Demand(KeyRole.FLASH_ENCRYPTION, "XTS_AES_128_KEY", for_xts)
    for slot in range(len(policy.secure_boot.keys)):
        yield _Demand(_DIGESTS[slot], f"SECURE_BOOT_DIGEST{slot}", blocks)
    if policy.nvs.scheme is NvsScheme.HMAC:
        built = tuple(place for place in blocks if place.block.name == f"BLOCK_KEY{policy.nvs.key_id}")
        yield _Demand(KeyRole.NVS_HMAC, "HMAC_UP", blocks if policy.nvs.key_id is None else built)
    roles = iter(EXTRA_ROLES)
    for extra in policy.extra_keys:
        for purpose in burned_purposes(extra.purpose):
            wanted = extra.block if purpose != _HIGH_HALF else ""
            places = tuple(place for place in blocks if can_hold(chip, place.block, purpose))
            named = tuple(place for place in places if wanted in ("", _short(place.block)))
            yield _Demand(next(roles, KeyRole.EXTRA_5), purpose, named, f"extra key {extra.name}")


def extra_key_roles(extra_keys: Sequence[ExtraKeyPolicy]) -> Iterator[tuple[KeyRole, ExtraKeyPolicy]]:
    """The role of each block that the keys take, in their order; a key of 384 bits has two."""
    taking = (extra for extra in extra_keys for _ in burned_purposes(extra.purpose))
    yield from zip(EXTRA_ROLES, taking, strict=False)


def burned_purposes(purpose: str) -> tuple[str, ...]:
    """The key purposes of the blocks that a key takes: one of 384 bits takes two, the low half first."""
    return ("ECDSA_KEY_P384_L", _HIGH_HALF) if purpose == "ECDSA_KEY_P384" else (purpose,)


EXTRA_PURPOSES = tuple(burned for purpose in PURPOSES for burned in burned_purposes(purpose))
"""All key purposes that the blocks of the firmware's own keys can have, on some chip."""


def _demands_of_fixed_blocks(chip: Chip, policy: Policy) -> Iterator[_Demand]:
    flash_encryption, secure_boot = chip.key_blocks
    if policy.flash_encryption.enabled:
        yield _Demand(KeyRole.FLASH_ENCRYPTION, "", (_Place(flash_encryption),))
    if policy.secure_boot.enabled:
        yield _Demand(KeyRole.DIGEST_0, "", (_Place(secure_boot),))


def _demands_of_halves(block: KeyBlock, policy: Policy) -> Iterator[_Demand]:
    if policy.flash_encryption.enabled:
        if policy.flash_encryption.key_size is KeySize.XTS_128:
            yield _Demand(KeyRole.FLASH_ENCRYPTION, "XTS_AES_128_KEY", (_Place(block),))
        else:
            purpose = "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS"
            yield _Demand(KeyRole.FLASH_ENCRYPTION, purpose, (_Place(block, BlockPart.LOW),))
    if policy.secure_boot.enabled:
        yield _Demand(KeyRole.DIGEST_0, "SECURE_BOOT_DIGEST", (_Place(block, BlockPart.HIGH),))


def _placed(demands: tuple[_Demand, ...], policy: Policy) -> tuple[_Place, ...] | None:
    return solve([tuple(_allowed(demand, policy)) for demand in demands])


def _allowed(demand: _Demand, policy: Policy) -> Iterator[_Place]:
    """Those of its places that the profile leaves it."""
    wanted = policy.key_blocks.get(_SETTING_NAMES.get(demand.role, ""))
    for place in demand.places:
        name = _short(place.block)
        if name not in policy.reserved_key_blocks and wanted in (None, name):
            yield place


def _refuse_unknown_keys(demands: tuple[_Demand, ...], policy: Policy) -> None:
    names = [_SETTING_NAMES[demand.role] for demand in demands if demand.role in _SETTING_NAMES]
    for name in policy.key_blocks:
        if name not in names:
            raise UsageError(
                "SE406",
                f"key_blocks names {name}, and this plan burns no such key",
                cure=f"its keys are: {', '.join(names) or 'none'}; the block of the NVS key is nvs.key_id",
                place=f"key_blocks.{name}",
            )


def _no_room(chip: Chip, demands: tuple[_Demand, ...], policy: Policy) -> UsageError:
    wishes = [f"the {demand.title} {_blocks(tuple(_allowed(demand, policy)))}" for demand in demands]
    reserved = sorted(policy.reserved_key_blocks)
    helping = [what for what, wish in _relaxed(policy) if _fits(chip, wish)]
    return UsageError(
        "SE402",
        f"the keys of this plan find no place in the key blocks of {chip.name}: {', '.join(wishes)}"
        + (f"; {', '.join(reserved)} reserved" if reserved else ""),
        cure=f"any of these would help: {'; '.join(helping)}"
        if helping
        else "free more than one block: no single change is enough",
        place="key_blocks" if policy.key_blocks else "reserved_key_blocks" if reserved else "nvs.key_id",
    )


def _blocks(places: tuple[_Place, ...]) -> str:
    names = list(dict.fromkeys(_short(place.block) for place in places))
    return f"can be in {', '.join(names)}" if names else "has none"


def _fits(chip: Chip, policy: Policy) -> bool:
    return _placed(tuple(_demands(chip, policy)), policy) is not None


def _relaxed(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """The policy with one wish less, and what that is."""
    for name in sorted(policy.reserved_key_blocks):
        yield f"reserve {name} no longer", replace(policy, reserved_key_blocks=policy.reserved_key_blocks - {name})
    for name in policy.key_blocks:
        others = {key: block for key, block in policy.key_blocks.items() if key != name}
        yield f"take {name} out of key_blocks", replace(policy, key_blocks=others)
    if len(policy.secure_boot.keys) > 1:
        fewer = replace(policy.secure_boot, keys=policy.secure_boot.keys[:-1])
        yield "use one signing key less", replace(policy, secure_boot=fewer)
    if policy.flash_encryption.key_size is KeySize.XTS_256:
        shorter = replace(policy.flash_encryption, key_size=KeySize.XTS_128)
        yield "use a 128-bit flash encryption key", replace(policy, flash_encryption=shorter)
    for number, extra in enumerate(policy.extra_keys):
        fewer_keys = policy.extra_keys[:number] + policy.extra_keys[number + 1 :]
        yield f"leave the extra key {extra.name} out", replace(policy, extra_keys=fewer_keys)
    if policy.nvs.scheme is NvsScheme.HMAC:
        if policy.nvs.key_id is not None:
            anywhere = replace(policy.nvs, key_id=None)
            yield "build the firmware for another block of its NVS key (nvs.key_id)", replace(policy, nvs=anywhere)
        without = replace(policy.nvs, scheme=NvsScheme.FLASH_ENCRYPTION)
        yield "protect NVS keys with flash encryption (nvs.scheme)", replace(policy, nvs=without)


def _short(block: KeyBlock) -> str:
    """The name of a block as a profile has it: ``KEY0``; on the esp32 ``BLOCK1``."""
    return block.name.removeprefix("BLOCK_")
