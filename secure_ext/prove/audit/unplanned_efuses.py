# SPDX-License-Identifier: Apache-2.0
"""What is burned on a board although the plan does not ask for it: what it means, and what is only worth a note."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secure_ext.prove.audit.board import Board
from secure_ext.station.chip_state import ChipState
from secure_ext.station.efuse_owner import makers_efuses, other_efuses, planned_fields
from secure_ext.station.plan_document import PlanDocument

MEANING: Mapping[str, str] = {
    "FLASH_CRYPT_CNT": "flash encryption is on, or was",
    "SPI_BOOT_CRYPT_CNT": "flash encryption is on, or was",
    "FLASH_CRYPT_CONFIG": "it decides how the flash encryption key is used",
    "XTS_KEY_LENGTH_256": "the chip takes the whole key block for the flash encryption key",
    "XTS_DPA_PSEUDO_LEVEL": "flash encryption works with dummy rounds, and slower",
    "ABS_DONE_0": "the chip runs Secure Boot V1",
    "ABS_DONE_1": "only signed firmware boots",
    "SECURE_BOOT_EN": "only signed firmware boots",
    "SECURE_BOOT_SHA384_EN": "the chip verifies ECDSA-384 signatures only",
    "SECURE_BOOT_AGGRESSIVE_REVOKE": "a signing key is lost the first time that a signature fails",
    "SECURE_BOOT_KEY_REVOKE0": "slot 1 for a signing key is lost",
    "SECURE_BOOT_KEY_REVOKE1": "slot 2 for a signing key is lost",
    "SECURE_BOOT_KEY_REVOKE2": "slot 3 for a signing key is lost",
    "DISABLE_DL_ENCRYPT": "the download mode does not encrypt",
    "DISABLE_DL_DECRYPT": "the download mode does not decrypt",
    "DISABLE_DL_CACHE": "the download mode does not reach the flash through the cache",
    "DIS_DOWNLOAD_MANUAL_ENCRYPT": "the download mode does not encrypt",
    "DIS_DOWNLOAD_ICACHE": "the download mode does not reach the flash through the cache",
    "DIS_DOWNLOAD_DCACHE": "the download mode does not reach the flash through the cache",
    "SPI_DOWNLOAD_MSPI_DIS": "the download mode does not reach the flash through the cache",
    "DOWNLOAD_MODE_XPD_ON": "the download mode powers the flash",
    "JTAG_DISABLE": "no debugger can be used",
    "HARD_DIS_JTAG": "no debugger can be used",
    "DIS_PAD_JTAG": "no debugger can be used on the pins",
    "DIS_USB_JTAG": "no debugger can be used by USB",
    "SOFT_DIS_JTAG": "no debugger can be used until the firmware allows it",
    "CONSOLE_DEBUG_DISABLE": "the ROM does not fall back to BASIC",
    "DIS_DIRECT_BOOT": "the chip does not boot in direct boot mode",
    "DIS_LEGACY_SPI_BOOT": "the chip does not boot in legacy SPI boot mode",
    "DIS_BOOT_REMAP": "ROM cannot be remapped to RAM",
    "ENABLE_SECURITY_DOWNLOAD": "espefuse can do nothing on the board any more",
    "DIS_DOWNLOAD_MODE": "the board does not answer on its port any more",
    "UART_DOWNLOAD_DIS": "the board does not answer on its port any more",
    "DIS_FORCE_DOWNLOAD": "software cannot start the download mode",
    "FORCE_USE_KEY_MANAGER_KEY": "the chip takes its keys from the Key Manager, not from eFuse",
}
"""The fields that a plan may burn, and their like; burned against the plan they are a deviation.

Left out is what a firmware burns by itself, such as SECURE_VERSION and ECC_FORCE_CONST_TIME.
"""


def unplanned_fields(plan: PlanDocument, board: Board) -> Iterator[str]:
    """Fields of `MEANING` that are seen to be burned and that the plan does not name."""
    planned = planned_fields(plan)
    for field in MEANING:
        if board.value(field) and field not in planned:
            yield field


def notes_on(plan: PlanDocument, state: ChipState) -> tuple[str, ...]:
    """What else is burned, and whose it is: the chip maker's in BLOCK0, and what is neither its nor the plan's."""
    makers, other = makers_efuses(plan, state), other_efuses(plan, state)
    return (
        *([f"also burned, and neither the plan's nor the chip maker's: {'; '.join(other)}"] if other else []),
        *([f"burned by the maker of the chip or the module: {', '.join(makers)}"] if makers else []),
    )
