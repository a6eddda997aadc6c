"""What this firmware asks of a board: facts of its flash and its eFuses that no provisioning can change.

The least and the greatest chip revision stand beside it in the plan. Sources (ESP-IDF): ``components/
bootloader_support/src/bootloader_common_loader.c`` (revisions), ``esp_image_format.c`` (eFuse block revision, secure
version), ``flash_partitions.c`` and ``components/spi_flash/esp_flash_spi_init.c`` (flash size), ``components/
esp_system/port/cpu_start.c`` (cores, octal flash), ``components/efuse/src/esp_efuse_startup.c`` (secure version).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from secure_ext.chips.chip import Chip
from secure_ext.plan.demands import exclusive_purposes
from secure_ext.plan.images import PlannedImage
from secure_ext.policy.policy import Policy
from secure_ext.project.app_description import AppDescription, read_app_description
from secure_ext.project.bootloader_description import read_bootloader_description
from secure_ext.project.build import Build, Role


@dataclass(frozen=True)
class BoardRequirements:
    """What a board must have, or no bootloader and no app of this bundle ever starts on it.

    Attributes:
        flash_size: bytes of flash that bootloader and app take it for; None if the bootloader could not be read.
        flash_end: first flash address in bytes behind the last partition and the last image.
        min_block_revision: least revision of the eFuse blocks, major * 100 + minor; 0 if any will do.
        max_block_revision: greatest one, None if there is no limit.
        cores: how many cores the app starts, 1 or 2.
        octal_flash: the app aborts unless the eFuse FLASH_TYPE says that the flash has eight data lines.
        secure_version: the app's, which the board's SECURE_VERSION must not exceed; None if it is not compared.
        secure_version_bits: how many bits of SECURE_VERSION count.
        bootloader_secure_version: the bootloader's, which the ROM compares where BOOTLOADER_ANTI_ROLLBACK_EN is burned.
        exclusive_purposes: beginnings of the key purposes that no block outside the plan may have.
    """

    flash_size: int | None
    flash_end: int
    min_block_revision: int = 0
    max_block_revision: int | None = None
    cores: int = 1
    octal_flash: bool = False
    secure_version: int | None = None
    secure_version_bits: int = 0
    bootloader_secure_version: int = 0
    exclusive_purposes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The member ``requirements`` of ``plan.json``."""
        return {**asdict(self), "exclusive_purposes": list(self.exclusive_purposes)}

    @staticmethod
    def from_json(value: object) -> BoardRequirements | None:
        """The same back; None if the plan was written by a version that knew no requirements.

        Raises ValueError for what `as_json` does not write.
        """
        if value is None:
            return None
        names = {field.name for field in fields(BoardRequirements)}
        if not isinstance(value, dict) or value.keys() != names:
            raise ValueError("requirements has other members than a plan's")
        for name in names - {"exclusive_purposes"}:
            expected = bool if name == "octal_flash" else int
            is_none = value[name] is None and name in _MAY_BE_NONE
            if not is_none and (type(value[name]) is not expected or value[name] < 0):
                raise ValueError(f"{name} in requirements is {value[name]!r}")
        purposes = value["exclusive_purposes"]
        if not isinstance(purposes, list) or not all(isinstance(purpose, str) for purpose in purposes):
            raise ValueError("exclusive_purposes in requirements is not a list of texts")
        return BoardRequirements(**{**value, "exclusive_purposes": tuple(purposes)})


_MAY_BE_NONE = ("flash_size", "max_block_revision", "secure_version")


def board_requirements(build: Build, chip: Chip, policy: Policy, images: tuple[PlannedImage, ...]) -> BoardRequirements:
    """What the firmware in `images`, from `build`, asks of a board that gets `policy`."""
    apps = [description for image in images if (description := _app(image)) is not None]
    bootloader = next((image for image in images if image.offset == build.bootloader_offset), None)
    described = read_bootloader_description(bootloader.content) if bootloader else None
    most = [app.max_block_revision for app in apps if app.max_block_revision is not None]
    field = chip.efuses.find("SECURE_VERSION")
    anti_rollback = build.config.enabled("BOOTLOADER_APP_ANTI_ROLLBACK") and field is not None
    configured = build.config.integer("BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD")
    return BoardRequirements(
        flash_size=None if build.bootloader_flash is None else build.bootloader_flash.most,
        flash_end=max([_last_partition(build), *(image.end for image in images)]),
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


def _cores(build: Build, chip: Chip) -> int:
    single = build.config.enabled("FREERTOS_UNICORE") or build.config.enabled("ESP_SYSTEM_SINGLE_CORE_MODE")
    return 1 if single else chip.facts.cores
