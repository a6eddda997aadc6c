# SPDX-License-Identifier: Apache-2.0
"""What a firmware needs besides its plan: security eFuses that its chip does not have, so that nothing burns them.

ESP-IDF offers them by chip (``SOC_RECOVERY_BOOTLOADER_SUPPORTED``), whatever its revision: an ESP32-P4 has the eFuse of
the recovery bootloader from v3.0 on, and none for versions. Source: ``components/bootloader/
Kconfig.bootloader_rollback``, ``components/efuse/src/esp_efuse_fields.c`` (esp_efuse_set_recovery_bootloader_offset),
``components/efuse/<chip>/esp_efuse_table.csv`` (v5.5 to v6.1).
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.chips.chip import Chip
from secure_ext.plan.bootloader_efuses import ROLLBACK_ENABLE, SECTOR, can_compare_versions, can_have_recovery
from secure_ext.station.frozen import frozen


@frozen
class UnplannedFeature:
    """A feature of the firmware that is not planned.

    Attributes:
        setting: the Kconfig symbol that asks for it, with ``CONFIG_``.
        missing: the eFuse that the chip would need for it.
        without: what is not done without it, in words.
    """

    setting: str
    missing: str
    without: str


def unplanned_features(config: SdkConfig, chip: Chip) -> Iterator[UnplannedFeature]:
    """The features that the chip has no eFuse for, on this revision and with this espefuse, in a fixed order."""
    if config.enabled("BOOTLOADER_RECOVERY_ENABLE") and not can_have_recovery(chip):
        yield UnplannedFeature(
            "CONFIG_BOOTLOADER_RECOVERY_ENABLE", SECTOR, "the ROM starts no recovery bootloader, and none is written"
        )
    if config.enabled("BOOTLOADER_ANTI_ROLLBACK_ENABLE") and not can_compare_versions(chip):
        yield UnplannedFeature(
            "CONFIG_BOOTLOADER_ANTI_ROLLBACK_ENABLE", ROLLBACK_ENABLE, "the ROM starts bootloaders however old they are"
        )
