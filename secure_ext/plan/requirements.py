# SPDX-License-Identifier: Apache-2.0
"""What this firmware asks of a board: facts of its flash and its eFuses that no provisioning can change.

The least and the greatest chip revision stand beside it in the plan. Sources (ESP-IDF): ``components/
bootloader_support/src/bootloader_common_loader.c`` (revisions), ``esp_image_format.c`` (eFuse block revision, secure
version), ``flash_partitions.c`` and ``components/spi_flash/esp_flash_spi_init.c`` (flash size), ``components/
esp_system/port/cpu_start.c`` (cores, octal flash), ``components/efuse/src/esp_efuse_startup.c`` (secure version).
"""

from __future__ import annotations

from typing import Literal

from secure_ext.build.build import Build, Role
from secure_ext.chips.chip import Chip
from secure_ext.formats.app_description import AppDescription, read_app_description
from secure_ext.formats.bootloader_description import read_bootloader_description
from secure_ext.plan.demands import exclusive_purposes
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.steps import KeepFlash
from secure_ext.policy.policy import Policy
from secure_ext.station.plan_document import BoardRequirements


def board_requirements(
    build: Build, chip: Chip, policy: Policy, images: tuple[PlannedImage, ...], kept: tuple[KeepFlash, ...] = ()
) -> BoardRequirements:
    """What the firmware in `images`, from `build`, asks of a board that gets `policy`, and has what is `kept`."""
    apps = [description for image in images if (description := _app(image)) is not None]
    bootloader = next((image for image in images if image.offset == build.bootloader_offset), None)
    described = read_bootloader_description(bootloader.content) if bootloader else None
    most = [app.max_block_revision for app in apps if app.max_block_revision is not None]
    field = chip.efuses.find("SECURE_VERSION")
    anti_rollback = build.config.enabled("BOOTLOADER_APP_ANTI_ROLLBACK") and field is not None
    configured = build.config.integer("BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD")
    return BoardRequirements(
        flash_size=None if build.bootloader_flash is None else build.bootloader_flash.most,
        flash_end=max([_last_partition(build), *(image.end for image in images), *(keep.end for keep in kept)]),
        min_block_revision=max([0, *(app.min_block_revision for app in apps)]) if _has_block_revision(chip) else 0,
        max_block_revision=min(most, default=None) if _has_block_revision(chip) else None,
        cores=_cores(build, chip),
        octal_flash=build.config.enabled("ESPTOOLPY_OCT_FLASH")
        and not build.config.enabled("ESPTOOLPY_FLASH_MODE_AUTO_DETECT"),
        secure_version=min((app.secure_version for app in apps), default=None) if anti_rollback else None,
        secure_version_bits=min(configured or field.bits, field.bits) if anti_rollback and field else 0,
        bootloader_secure_version=described.secure_version if described else 0,
        exclusive_purposes=exclusive_purposes(
            encrypts=policy.flash_encryption.enabled, signs=policy.secure_boot.enabled
        ),
    )


def _app(image: PlannedImage) -> AppDescription | None:
    return read_app_description(image.content) if image.role is Role.APP else None


def _last_partition(build: Build) -> int:
    return max((partition.end for partition in build.partitions.partitions), default=0)


def _has_block_revision(chip: Chip) -> bool:
    """The esp32 has none, and its bootloader compares none."""
    return chip.efuses.find("BLK_VERSION_MINOR") is not None


def _cores(build: Build, chip: Chip) -> Literal[1, 2]:
    single = build.config.enabled("FREERTOS_UNICORE") or build.config.enabled("ESP_SYSTEM_SINGLE_CORE_MODE")
    return 1 if single or chip.facts.cores == 1 else 2
