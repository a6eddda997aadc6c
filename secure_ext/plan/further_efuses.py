# SPDX-License-Identifier: Apache-2.0
"""Which eFuses beyond those of the security features a profile may have burned, and which never.

Sources: ``components/efuse/<chip>/esp_efuse_table.csv`` and the technical reference manuals, chapter eFuse Controller.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.chips.chip import Chip
from secure_ext.errors import UsageError
from secure_ext.plan.bootloader_efuses import ROLLBACK_ENABLE, SECTOR
from secure_ext.plan.steps import BurnData, BurnField, Plan
from secure_ext.policy.policy import Policy

_VERSION = "SECURE_VERSION"
SAFE = frozenset(
    {
        *("UART_PRINT_CONTROL", "UART_PRINT_CHANNEL", "DIS_USB_SERIAL_JTAG_ROM_PRINT"),
        *(_VERSION, "SECURE_BOOT_DISABLE_FAST_WAKE", "DIS_RTC_RAM_BOOT"),
        *("DIS_TWAI", "DIS_SWD", "WDT_DELAY_SEL"),
        *("CRYPT_DPA_ENABLE", "SEC_DPA_LEVEL", "XTS_DPA_CLK_ENABLE", "ECDSA_DISABLE_P192"),
    }
)
"""What costs no more than the thing that it turns off."""
_FLASH_VOLTAGE = "with a voltage that is not the flash chip's the board never starts again, and may be damaged"
_PINS = "the pins of flash, voltage or JTAG mean something else from then on: the board's wiring has to be made for it"
RISKY = {
    **dict.fromkeys(("VDD_SPI_FORCE", "VDD_SPI_XPD", "VDD_SPI_TIEH"), _FLASH_VOLTAGE),
    **dict.fromkeys(("XPD_SDIO_FORCE", "XPD_SDIO_REG", "XPD_SDIO_TIEH"), _FLASH_VOLTAGE),
    **dict.fromkeys(("VDD_SPI_AS_GPIO", "PIN_POWER_SELECTION", "JTAG_SEL_ENABLE", "STRAP_JTAG_SEL"), _PINS),
    "DIS_FORCE_DOWNLOAD": "no software can start the download mode any more, only the strapping pins",
}
"""What can cost the board, and how."""
_ELSEWHERE = {
    "lockdown.download_mode": ("ENABLE_SECURITY_DOWNLOAD", "DIS_DOWNLOAD_MODE", "UART_DOWNLOAD_DIS"),
    "lockdown.jtag": ("JTAG_DISABLE", "HARD_DIS_JTAG", "DIS_PAD_JTAG", "DIS_USB_JTAG", "SOFT_DIS_JTAG"),
    "lockdown.rom_basic": ("CONSOLE_DEBUG_DISABLE",),
    "flash_encryption.mode": ("SPI_BOOT_CRYPT_CNT", "FLASH_CRYPT_CNT", "FLASH_CRYPT_CONFIG"),
    "flash_encryption.pseudo_round": ("XTS_DPA_PSEUDO_LEVEL",),
    "secure_boot.enabled": ("SECURE_BOOT_EN", "ABS_DONE_1"),
    "CONFIG_BOOTLOADER_RECOVERY_OFFSET": tuple(f"{SECTOR}{part}" for part in ("", "_LO", "_HI")),
    "CONFIG_BOOTLOADER_ANTI_ROLLBACK_ENABLE": (ROLLBACK_ENABLE,),
    "secure_boot.aggressive_revoke": ("SECURE_BOOT_AGGRESSIVE_REVOKE",),
    "secure_boot.revoke_unused": ("SECURE_BOOT_KEY_REVOKE0", "SECURE_BOOT_KEY_REVOKE1", "SECURE_BOOT_KEY_REVOKE2"),
}
"""The settings of a profile, or of the build, that burn an eFuse together with what belongs to it."""


def further_efuses(chip: Chip, policy: Policy, secure_version: int | None) -> Iterator[tuple[str, int]]:
    """The eFuses of the profile's ``efuses``, with their values.

    Args:
        chip: the target.
        policy: what is wanted.
        secure_version: the app's, which the board's must not exceed; None if nobody compares them.

    Raises UsageError SE408 for one that the chip does not have, that is not for a profile, or whose value is none.
    """
    for name, value in policy.efuses.items():
        field = chip.efuses.fields.get(name)
        if field is None:
            raise _refused(name, f"{chip.name} has no such eFuse", "espefuse's summary of a board names them")
        if name not in SAFE and name not in RISKY:
            setting = next((key for key, names in _ELSEWHERE.items() if name in names), None)
            cure = f"use {setting}" if setting else "a profile may set: " + ", ".join(sorted(_settable(chip)))
            raise _refused(name, "it is not set by itself", cure)
        if not 0 < value < 1 << field.bits:
            raise _refused(name, f"{value} is no value for its {field.bits} bits", "give what it is to become")
        if name == _VERSION:
            _check_secure_version(value, secure_version)
        yield name, value


def is_further_value(chip: Chip, name: str, value: int) -> bool:
    """Whether a profile may have it burned."""
    field = chip.efuses.require(name)
    return name in SAFE | RISKY.keys() and 0 < value < 1 << field.bits


def version_fault(chip: Chip, plan: Plan) -> tuple[str, str] | None:
    """The step that gives boards a secure version above that of their app, and why that is the end; None if none does.

    An esp32 has the field in its block of user data.
    """
    field, asked = chip.efuses.find(_VERSION), plan.requirements
    if field is None or asked is None or asked.secure_version is None:
        return None
    for step in plan.steps:
        burned = 0
        if isinstance(step.action, BurnField) and step.action.field == field.name:
            burned = step.action.value
        elif isinstance(step.action, BurnData) and step.action.block.number == field.block:
            burned = int.from_bytes(step.action.data, "little") >> field.start
        if (burned & ((1 << field.bits) - 1)).bit_count() > asked.secure_version:
            return step.id, f"{_VERSION} would be above that of the app, {asked.secure_version}: it would never start"
    return None


def _check_secure_version(value: int, limit: int | None) -> None:
    """ESP-IDF counts its bits, from the lowest on (``esp_efuse_api.c``, `esp_efuse_update_secure_version`)."""
    if value & (value + 1):
        cure = "burn as many of its lowest bits as the version has: 0x1 for 1, 0x3 for 2, 0x7 for 3"
        raise _refused("SECURE_VERSION", f"0x{value:x} is no version", cure)
    if limit is not None and value.bit_count() > limit:
        raise _refused(
            "SECURE_VERSION",
            f"it would be {value.bit_count()}, and the app is of version {limit}: it would never start",
            "raise CONFIG_BOOTLOADER_APP_SECURE_VERSION and build again, or burn fewer bits",
        )


def _settable(chip: Chip) -> set[str]:
    return {name for name in (*SAFE, *RISKY) if name in chip.efuses.fields}


def _refused(name: str, why: str, cure: str) -> UsageError:
    return UsageError("SE408", f"efuses: {name} cannot be burned so: {why}", cure=cure, place=f"profile: efuses.{name}")
