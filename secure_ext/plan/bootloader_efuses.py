# SPDX-License-Identifier: Apache-2.0
"""The eFuses by which the ROM chooses among bootloaders: where a second one lies, and how old one may be.

Source: ESP-IDF manual, Bootloader, Recovery Bootloader; ``components/hal/include/hal/efuse_hal.h`` (a sector of 0 or
with all bits set is none); ``components/bootloader/Kconfig.bootloader_rollback``.

None of them can be write-protected: firmware may burn more of their bits, for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from secure_ext.chips.chip import Chip
from secure_ext.chips.cut_fields import cut, joined, width_of
from secure_ext.plan.steps import BurnField, Plan, Step
from secure_ext.station.flash_sectors import SECTOR_SIZE
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import MustBeClear, PlanDocument

SECTOR = "RECOVERY_BOOTLOADER_FLASH_SECTOR"
ROLLBACK_ENABLE = "BOOTLOADER_ANTI_ROLLBACK_EN"
VERSION = "BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION"
_ELSEWHERE = "the ROM looks for the recovery bootloader elsewhere than where this bundle has it"


@frozen
class BootloaderEfuses:
    """What the ROM is told.

    Attributes:
        recovery_offset: flash address in bytes of the recovery bootloader; None for none.
        secure_version: the least secure version of a bootloader that the ROM starts; None if it compares none.
    """

    recovery_offset: int | None = None
    secure_version: int | None = None


def can_have_recovery(chip: Chip) -> bool:
    """Whether the ROM can be told of a second bootloader, on this revision and with this espefuse."""
    return width_of(chip, SECTOR) > 0


def can_compare_versions(chip: Chip) -> bool:
    """Whether the ROM compares the secure version of bootloaders."""
    return ROLLBACK_ENABLE in chip.efuses.fields and width_of(chip, VERSION) > 0


def no_sector(chip: Chip) -> int:
    """The sector number that turns the recovery bootloader off for ever: all bits."""
    return (1 << width_of(chip, SECTOR)) - 1


def is_bootloader_efuse(field: str) -> bool:
    """Whether a field is one of these, or a part of one."""
    return field == ROLLBACK_ENABLE or field.startswith((SECTOR, VERSION))


def version_bits(version: int, width: int) -> int:
    """A secure version as its eFuse holds it: as many of the lowest bits."""
    return (1 << min(version, width)) - 1


def burned_for_bootloaders(chip: Chip, wanted: BootloaderEfuses) -> Iterator[tuple[str, int, str, str]]:
    """The fields to burn: name, value, why, and where the wish comes from. A part that stays 0 is none."""
    parts: dict[str, int] = {}
    if wanted.recovery_offset is not None:
        parts = cut(chip, SECTOR, wanted.recovery_offset // SECTOR_SIZE)
    for name, value in parts.items():
        if value:
            why = f"where the bootloader fails, the ROM starts the one at 0x{wanted.recovery_offset:x}"
            yield name, value, why, "CONFIG_BOOTLOADER_RECOVERY_OFFSET"
    if wanted.secure_version is None:
        return
    for name, value in cut(chip, VERSION, version_bits(wanted.secure_version, width_of(chip, VERSION))).items():
        if value:
            why = f"bootloaders older than secure version {wanted.secure_version} are not started"
            yield name, value, why, "CONFIG_BOOTLOADER_SECURE_VERSION"
    why = "the ROM compares the secure version of a bootloader before it starts it"
    yield ROLLBACK_ENABLE, 1, why, "CONFIG_BOOTLOADER_ANTI_ROLLBACK_ENABLE"


def told_by(chip: Chip, steps: Iterable[Step]) -> BootloaderEfuses:
    """What the ROM knows when these steps are done."""
    burned = {step.action.field: step.action.value for step in steps if isinstance(step.action, BurnField)}
    sector = joined(chip, SECTOR, burned)
    compares = ROLLBACK_ENABLE in burned
    return BootloaderEfuses(
        sector * SECTOR_SIZE if sector else None,
        joined(chip, VERSION, burned).bit_count() if compares else None,
    )


def recovery_offset_of(document: PlanDocument) -> int | None:
    """Flash address of the recovery bootloader of a plan document, by its own layout; None if it burns none."""
    burned = {step.field: step.value for step in document.fields}
    rows = [row for row in document.layout if row.field.startswith(SECTOR)]
    sector = position = 0
    for row in sorted(rows, key=lambda row: _number_of_part(row.field)):
        sector |= burned.get(row.field, 0) << position
        position += row.bits
    return sector * SECTOR_SIZE if sector else None


def _number_of_part(field: str) -> int:
    """What a part comes after: its first bit, or 1 for a high one."""
    digits = re.search(r"_(\d+)_\d+$", field)
    return int(digits[1]) if digits else int(field.endswith("_HI"))


def clear_for_bootloaders(chip: Chip, steps: Iterable[Step]) -> Iterator[MustBeClear]:
    """The parts of a burned sector that stay 0: with more bits it would be another one."""
    offset = told_by(chip, steps).recovery_offset
    if offset is not None:
        for name, value in cut(chip, SECTOR, offset // SECTOR_SIZE).items():
            if not value:
                yield MustBeClear(name, _ELSEWHERE)


def bootloader_fault(chip: Chip, plan: Plan) -> tuple[str, str] | None:
    """The first thing in a plan by which the ROM would start no bootloader, or never a second one; and its step."""
    burned = {step.action.field: step for step in plan.steps if isinstance(step.action, BurnField)}
    told = told_by(chip, plan.steps)
    if told.recovery_offset is not None and told.recovery_offset // SECTOR_SIZE == no_sector(chip):
        return next(step.id for name, step in burned.items() if name.startswith(SECTOR)), (
            f"{SECTOR} with all its bits turns the recovery bootloader off for ever"
        )
    values = {name: step.action.value for name, step in burned.items() if isinstance(step.action, BurnField)}
    version = joined(chip, VERSION, values)
    step = next((step.id for name, step in burned.items() if name.startswith(VERSION)), ROLLBACK_ENABLE)
    if version and ROLLBACK_ENABLE not in burned:
        return step, f"nobody compares it without {ROLLBACK_ENABLE}"
    if version & (version + 1):
        return step, f"0x{version:x} is no secure version: its bits are burned from the lowest on"
    if told.secure_version is None:
        return None
    if plan.requirements is None or told.secure_version > plan.requirements.bootloader_secure_version:
        return step, "the ROM would not start the bootloader, which is older"
    return None
