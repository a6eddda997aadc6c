# SPDX-License-Identifier: Apache-2.0
"""Which bootloader does the ROM start: does it take this one's version, and is there a second one where it looks?

Source: ESP-IDF manual, Bootloader, Recovery Bootloader; ``components/hal/include/hal/efuse_hal.h`` (the sector's two
values that are none); ``components/hal/<chip>/include/hal/efuse_ll.h`` (how its parts are put together).
"""

from __future__ import annotations

import re

from secure_ext.prove.boot_check.efuses import Efuses
from secure_ext.prove.boot_check.findings import Findings, Refused
from secure_ext.prove.boot_check.firmware import Firmware, Setting
from secure_ext.prove.boot_check.flash_view import SECTOR

_SECTOR_FIELD = "RECOVERY_BOOTLOADER_FLASH_SECTOR"
_VERSION_FIELD = "BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION"
_SECTOR_BITS = 12
_PART = re.compile(r"_(\d+)_\d+")


def recovery_offset(efuses: Efuses) -> int | None:
    """Flash address at which the ROM looks for a second bootloader; None if it does not."""
    sector = _whole(efuses, _SECTOR_FIELD)
    return None if sector in (0, (1 << _SECTOR_BITS) - 1) else sector * SECTOR


def check_recovery_wish(asked: Setting | None, place: Setting | None, efuses: Efuses, findings: Findings) -> None:
    """Whether the chip looks where the firmware was built to have its second bootloader."""
    found = recovery_offset(efuses)
    can_be_told = any(field.startswith(_SECTOR_FIELD) for field in efuses.places)
    if asked is not True or not can_be_told or place == found:
        return
    said = "for none" if found is None else f"at {found:#x}"
    findings.fault("BC42", f"the firmware has its recovery bootloader at {place!r}, and the ROM looks {said}")


def check_bootloader_version(name: str, bootloader: Firmware, efuses: Efuses) -> None:
    """Raises Refused if the ROM starts no bootloader as old as this one."""
    if not efuses.value("BOOTLOADER_ANTI_ROLLBACK_EN"):
        return
    least = _whole(efuses, _VERSION_FIELD).bit_count()
    if bootloader.secure_version < least:
        raise Refused(
            "BC41", f"{name} is of secure version {bootloader.secure_version}; the ROM starts none below {least}"
        )


def _whole(efuses: Efuses, name: str) -> int:
    """A value that the chip may have in parts: low and high, or by the number of each part's first bit."""
    if name in efuses.places:
        return efuses.value(name)
    low = efuses.places.get(f"{name}_LO")
    if low is not None:
        return efuses.value(f"{name}_HI") << low.bits | efuses.value(f"{name}_LO")
    whole = 0
    for field in efuses.places:
        part = _PART.fullmatch(field.removeprefix(name)) if field.startswith(name) else None
        if part is not None:
            whole |= efuses.value(field) << int(part[1])
    return whole
