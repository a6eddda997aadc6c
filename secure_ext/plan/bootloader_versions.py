# SPDX-License-Identifier: Apache-2.0
"""What the ROM is told of a bundle's bootloaders: where the second one is, and the secure version that both have."""

from __future__ import annotations

from secure_ext.build.build import Build
from secure_ext.chips.chip import Chip
from secure_ext.errors import CheckError
from secure_ext.formats.bootloader_description import read_bootloader_description
from secure_ext.plan.bootloader_efuses import BootloaderEfuses, can_compare_versions
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.recovery import recovery_offset


def bootloader_efuses(build: Build, chip: Chip, images: tuple[PlannedImage, ...]) -> BootloaderEfuses:
    """What is burned for the bootloaders among `images`.

    The least version is that of the bootloader itself: older ones never start again. Raises InputError SE440;
    CheckError SE441 for a recovery bootloader that the ROM would then refuse.
    """
    offset = recovery_offset(build, chip)
    if not build.config.enabled("BOOTLOADER_ANTI_ROLLBACK_ENABLE") or not can_compare_versions(chip):
        return BootloaderEfuses(offset)
    first = next((image for image in images if image.offset == build.bootloader_offset), None)
    second = next((image for image in images if image.offset == offset), None)
    version = 0 if first is None else _version(first)
    if second is not None and _version(second) < version:
        raise CheckError(
            "SE441",
            f"the recovery bootloader {second.source} has secure version {_version(second)}, and the bootloader "
            f"{version}: the ROM would never start it",
            cure="take a recovery bootloader of at least that version; without an image of its own it is a copy of the "
            "bootloader",
            place=second.source,
        )
    return BootloaderEfuses(offset, version)


def _version(image: PlannedImage) -> int:
    described = read_bootloader_description(image.content)
    return 0 if described is None else described.secure_version
