# SPDX-License-Identifier: Apache-2.0
"""Where the recovery bootloader goes, which ESP-IDF's build does not make: a second copy of the bootloader.

The ROM starts it from a sector that an eFuse names, where the bootloader at the usual address does not load. Source:
ESP-IDF manual, Bootloader, Recovery Bootloader; ``components/bootloader/Kconfig.bootloader_rollback``;
``components/partition_table/gen_esp32part.py`` (its room is that of the bootloader); ``components/bootloader_support/
src/esp_image_format.c`` (is_bootloader).
"""

from __future__ import annotations

from secure_ext.build.build import Build
from secure_ext.chips.chip import Chip
from secure_ext.errors import InputError
from secure_ext.plan.bootloader_efuses import can_have_recovery, no_sector
from secure_ext.station.flash_sectors import SECTOR_SIZE

_SETTING = "CONFIG_BOOTLOADER_RECOVERY_OFFSET"


def bootloader_room(build: Build) -> int:
    """Bytes that a bootloader may have, here as at its usual address."""
    return build.table_offset - build.bootloader_offset


def recovery_offset(build: Build, chip: Chip) -> int | None:
    """Flash address of the recovery bootloader; None if the build has none, or the chip knows no such thing.

    Raises InputError SE440 for a place that the ROM cannot be told, or where the first bootloader is.
    """
    if not build.config.enabled("BOOTLOADER_RECOVERY_ENABLE") or not can_have_recovery(chip):
        return None
    offset = build.config.integer("BOOTLOADER_RECOVERY_OFFSET")
    if offset is None:
        raise _refused("the build has a recovery bootloader, and does not say where")
    if offset % SECTOR_SIZE:
        raise _refused(f"0x{offset:x} is no sector of the flash (of 0x{SECTOR_SIZE:x} bytes)")
    if offset == 0:
        raise _refused("sector 0 stands for no recovery bootloader")
    if offset // SECTOR_SIZE >= no_sector(chip):
        raise _refused(
            f"0x{offset:x} is sector 0x{offset // SECTOR_SIZE:x}; the last one that the eFuse can name is "
            f"0x{no_sector(chip) - 1:x}, and 0x{no_sector(chip):x} turns it off for ever"
        )
    end = build.table_offset + SECTOR_SIZE
    if offset < end and offset + bootloader_room(build) > build.bootloader_offset:
        raise _refused(
            f"from 0x{offset:x} on it would need 0x{bootloader_room(build):x} bytes, where bootloader and partition "
            f"table are (0x{build.bootloader_offset:x} to 0x{end:x})"
        )
    return offset


def _refused(why: str) -> InputError:
    return InputError(
        "SE440",
        f"the recovery bootloader cannot be there: {why}",
        cure=f"set {_SETTING} to a multiple of 0x{SECTOR_SIZE:x} that no partition has, such as its default 0x3F0000 "
        "(menuconfig, Bootloader config, Recovery Bootloader and Rollback), and build again",
        place=_SETTING,
    )
