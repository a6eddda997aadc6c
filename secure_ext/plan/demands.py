# SPDX-License-Identifier: Apache-2.0
"""What a chip demands of every plan beyond the order of its steps, decided from chip and steps alone.

Which fields a plan may burn, with which values and from which revision on; which chips it is good for; what must not be
burned on a board before. The maker of plans and the reader of their documents share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from secure_ext.chips.chip import Chip
from secure_ext.chips.user_block import user_block
from secure_ext.plan.block_data import data_demand_fault, data_must_be_clear
from secure_ext.plan.bootloader_efuses import bootloader_fault, clear_for_bootloaders, is_bootloader_efuse
from secure_ext.plan.erased import erased_around
from secure_ext.plan.further_efuses import is_further_value, version_fault
from secure_ext.plan.steps import (
    BlockPart,
    BurnField,
    BurnKey,
    EraseFlash,
    KeyRole,
    Plan,
    Step,
    WriteProtect,
)
from secure_ext.station.efuse_features import DOWNLOAD_FIELDS, JTAG_FIELDS
from secure_ext.station.plan_document import MustBeClear
from secure_ext.station.revision import revision_text

SHA384 = "SECURE_BOOT_SHA384_EN"
_ONE = frozenset(
    {
        *("DISABLE_DL_ENCRYPT", "DIS_DOWNLOAD_MANUAL_ENCRYPT", "DISABLE_DL_DECRYPT", "DISABLE_DL_CACHE"),
        *("DIS_DOWNLOAD_ICACHE", "DIS_DOWNLOAD_DCACHE", "SPI_DOWNLOAD_MSPI_DIS", "XTS_KEY_LENGTH_256"),
        *JTAG_FIELDS,
        *("CONSOLE_DEBUG_DISABLE", "DIS_DIRECT_BOOT", "DIS_LEGACY_SPI_BOOT", "DIS_BOOT_REMAP", "DOWNLOAD_MODE_XPD_ON"),
        "CUSTOM_MAC_USED",
        *("SECURE_BOOT_AGGRESSIVE_REVOKE", SHA384, "ECC_FORCE_CONST_TIME"),
        *(f"SECURE_BOOT_KEY_REVOKE{slot}" for slot in range(3)),
        *DOWNLOAD_FIELDS,
    }
)
"""Fields that a plan burns as 1, or leaves."""
_WRITE_PROTECTED = frozenset({"DIS_CACHE", "DIS_ICACHE", "ECDSA_CURVE_MODE", SHA384, "RD_DIS"})
_NEVER_BURNED = (
    ("ABS_DONE_0", "the chip runs Secure Boot V1"),
    ("CODING_SCHEME", "the chip's key blocks use a coding scheme that leaves no room for 256-bit keys"),
    ("DIS_CACHE", "the cache is turned off: the chip cannot run ESP-IDF firmware"),
    ("DIS_ICACHE", "the cache is turned off: the chip cannot run ESP-IDF firmware"),
    ("DIS_DCACHE", "the cache is turned off: the chip cannot run ESP-IDF firmware"),
    ("FORCE_USE_KEY_MANAGER_KEY", "the chip takes its keys from the Key Manager, not from eFuse"),
    ("DIS_DOWNLOAD_MODE", "the download mode is closed already"),
)
_SLOTS = {KeyRole.DIGEST_0: 0, KeyRole.DIGEST_1: 1, KeyRole.DIGEST_2: 2}


def erase_start(chip: Chip) -> int:
    """Flash address from which on the flash is erased; what lies before the bootloader may be the Key Manager's."""
    return chip.facts.bootloader_offset if chip.facts.key_manager else 0


def step_revision(chip: Chip, field: str) -> int:
    """Least chip revision on which a plan burns, or protects, a field (major * 100 + minor); 0 for all."""
    facts = chip.facts
    return {
        "XTS_DPA_PSEUDO_LEVEL": facts.pseudo_round_revision,
        "DOWNLOAD_MODE_XPD_ON": facts.flash_power_revision,
        "ECC_FORCE_CONST_TIME": facts.ecdsa_curve_mode_revision,
        "ECDSA_CURVE_MODE": facts.ecdsa_curve_mode_revision,
        "UART_DOWNLOAD_DIS": facts.uart_download_disable_revision,
    }.get(field, 0)


def least_revision(chip: Chip, steps: Iterable[Step]) -> int:
    """Least chip revision on which these steps do what they are for (major * 100 + minor)."""
    steps = tuple(steps)
    facts, burned = chip.facts, _burned(steps)
    needed = facts.least_revision
    if chip.secure_boot_enable.name in burned:
        needed = max(needed, facts.secure_boot_revision)
        if SHA384 in burned:
            needed = max(needed, facts.sha384_revision)
    if any(isinstance(step.action, BurnKey) and step.action.is_ecdsa for step in steps):
        needed = max(needed, facts.ecdsa_key_revision)
    return needed


def must_be_clear(chip: Chip, steps: Iterable[Step]) -> Iterator[MustBeClear]:
    """What must not be burned on a board that gets these steps."""
    steps = tuple(steps)
    burned = _burned(steps)
    keys = [step.action for step in steps if isinstance(step.action, BurnKey)]
    encrypts, signs = chip.crypt_count.name in burned, chip.secure_boot_enable.name in burned
    for name, why in _NEVER_BURNED:
        if name not in burned and name in chip.efuses.fields:
            yield MustBeClear(name, why)
    if chip.has_one_key_block and any(key.part is BlockPart.LOW and key.role.is_secret for key in keys):
        yield MustBeClear("XTS_KEY_LENGTH_256", "the chip expects a 256-bit flash encryption key")
    if signs:
        for slot in (_SLOTS[key.role] for key in keys if key.role in _SLOTS):
            if f"SECURE_BOOT_KEY_REVOKE{slot}" in chip.efuses.fields:
                yield MustBeClear(f"SECURE_BOOT_KEY_REVOKE{slot}", "the slot of a signing key is revoked")
        if SHA384 not in burned and chip.efuses.find(SHA384):
            yield MustBeClear(SHA384, "the chip verifies ECDSA-384 signatures only")
    yield from clear_for_bootloaders(chip, steps)
    if not encrypts and signs:
        yield MustBeClear(chip.crypt_count.name, "flash encryption is on, but this bundle holds plaintext")
    if not signs:
        yield MustBeClear(
            chip.secure_boot_enable.name, "secure boot is on, but this bundle's images are not signed for it"
        )
    yield from data_must_be_clear(chip, steps)


def demand_fault(chip: Chip, plan: Plan) -> tuple[str, str] | None:
    """The first thing in a plan that the chip would not survive, or that no plan does: the step, and why."""
    for step in plan.steps:
        wrong = _step_fault(chip, step)
        if wrong:
            return step.id, wrong
    fault_of_data = data_demand_fault(chip, plan)
    if fault_of_data is not None:
        return fault_of_data
    erased = [step.action for step in plan.steps if isinstance(step.action, EraseFlash)]
    if erased != list(erased_around(sorted(plan.kept, key=lambda kept: kept.offset), erase_start(chip))):
        return "erase-flash", f"all flash from 0x{erase_start(chip):x} on is erased but for what is kept"
    length = "XTS_KEY_LENGTH_256"
    whole = any(key.part is BlockPart.WHOLE and key.role is KeyRole.FLASH_ENCRYPTION for key in plan.keys)
    if chip.has_one_key_block and whole != (length in _burned(plan.steps)):
        return length, "it says whether the key fills its whole block, and it is the other way round"
    fault = bootloader_fault(chip, plan) or version_fault(chip, plan)
    if fault:
        return fault
    needed = least_revision(chip, plan.steps)
    if plan.min_revision < needed:
        return "min_revision", f"it needs at least {revision_text(needed)} of the chip"
    asked = {item.field for item in plan.must_be_clear}
    for item in must_be_clear(chip, plan.steps):
        if item.field not in asked:
            return "must_be_clear", f"nobody looks whether {item.field} is burned already: {item.why}"
    if plan.requirements is not None:
        wanted = exclusive_purposes(
            encrypts=chip.crypt_count.name in _burned(plan.steps),
            signs=chip.secure_boot_enable.name in _burned(plan.steps),
        )
        if not set(wanted) <= set(plan.requirements.exclusive_purposes):
            return "requirements", f"a second key for the same use ({', '.join(wanted)}) is not looked for"
    return None


def exclusive_purposes(*, encrypts: bool, signs: bool) -> tuple[Literal["XTS_AES_", "SECURE_BOOT_DIGEST"], ...]:
    """A key for the same use elsewhere: the ROM and the bootloader take the first block that they find."""
    return (*(("XTS_AES_",) if encrypts else ()), *(("SECURE_BOOT_DIGEST",) if signs else ()))


def _burned(steps: Iterable[Step]) -> set[str]:
    return {step.action.field for step in steps if isinstance(step.action, BurnField)}


def _step_fault(chip: Chip, step: Step) -> str:
    action = step.action
    if isinstance(action, BurnField) and not _is_planned_value(chip, action):
        return f"no plan burns {action.field} = {action.value}"
    protected = _WRITE_PROTECTED | {chip.crypt_count.name, user_block(chip).protected_as}
    if isinstance(action, WriteProtect) and action.field not in protected:
        return f"no plan write-protects {action.field}"
    expected = step_revision(chip, action.field) if isinstance(action, (BurnField, WriteProtect)) else 0
    if step.min_revision != expected:
        return f"it is for chips from {revision_text(expected)} on, and would be left out on others"
    return ""


def _is_planned_value(chip: Chip, action: BurnField) -> bool:
    """The number of bits in the crypt counter has to be odd, and FLASH_CRYPT_CONFIG is what the images are made for."""
    field, value = chip.efuses.require(action.field), action.value
    if field.name == chip.crypt_count.name:
        return value in (1, (1 << field.bits) - 1)
    if field.name == chip.secure_boot_enable.name:
        return value == 1
    if not chip.uses(field.name):
        return False
    if field.name == "SOFT_DIS_JTAG":
        return value == (1 << field.bits) - 1
    if field.name == "FLASH_CRYPT_CONFIG":
        return value == 0xF
    if field.name == "XTS_DPA_PSEUDO_LEVEL":
        return value in (1, 2, 3)
    if is_bootloader_efuse(field.name):
        return True  # `bootloader_fault` looks at all parts of a value together
    return (field.name in _ONE and value == 1) or is_further_value(chip, field.name, value)
