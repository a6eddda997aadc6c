# SPDX-License-Identifier: Apache-2.0
"""Whether a chip's flash has power in download mode: an ESP32-P4 of two revisions leaves it off until it is told."""

from __future__ import annotations

from collections.abc import Mapping

from secure_ext.prove.virtual_chip.efuse_controller import EfuseController
from secure_ext.station.chip_facts import FACTS

_PMU_DATE, _FLASH_ON = 0x501153FC, 3
"""The register and its bits that keep the flash on; esptool writes them in the middle of its sequence."""


def has_flash_power(chip: str, efuses: EfuseController, registers: Mapping[int, int]) -> bool:
    """Whether the flash answers, by what was written to the chip's registers since its reset."""
    major = efuses.field("WAFER_VERSION_MAJOR_LO") + (efuses.field("WAFER_VERSION_MAJOR_HI") << 2)
    if major * 100 + efuses.field("WAFER_VERSION_MINOR") not in (revision for revision, *_ in FACTS[chip].flash_power):
        return True
    is_on = registers.get(_PMU_DATE, 0) & _FLASH_ON == _FLASH_ON
    return is_on or bool(efuses.field("DOWNLOAD_MODE_XPD_ON"))
