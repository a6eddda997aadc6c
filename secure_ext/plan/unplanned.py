# SPDX-License-Identifier: Apache-2.0
"""What a firmware needs besides its plan: security eFuses and images that nothing here burns or writes.

Source: ESP-IDF ``components/bootloader/Kconfig.bootloader_rollback`` (v5.5 to v6.1), ``components/efuse/src/
esp_efuse_fields.c`` (esp_efuse_set_recovery_bootloader_offset), ``components/efuse/<chip>/esp_efuse_table.csv``.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.station.frozen import frozen


@frozen
class UnplannedFeature:
    """A feature of the firmware that is not planned.

    Attributes:
        setting: the Kconfig symbol that asks for it, with ``CONFIG_``.
        left_open: the eFuses that are neither burned nor protected.
        needs: what would have to be done for it, in words.
    """

    setting: str
    left_open: str
    needs: str


def unplanned_features(config: SdkConfig) -> Iterator[UnplannedFeature]:
    """The features that leave eFuses of the boot chain to whoever runs code on the board, in a fixed order."""
    if config.enabled("BOOTLOADER_RECOVERY_ENABLE"):
        offset = config.integer("BOOTLOADER_RECOVERY_OFFSET")
        where = f" at 0x{offset:x}" if offset is not None else ""
        yield UnplannedFeature(
            "CONFIG_BOOTLOADER_RECOVERY_ENABLE",
            "RECOVERY_BOOTLOADER_FLASH_SECTOR",
            f"a recovery bootloader{where}, signed and encrypted for that place, and its sector in eFuse",
        )
    if config.enabled("BOOTLOADER_ANTI_ROLLBACK_ENABLE"):
        yield UnplannedFeature(
            "CONFIG_BOOTLOADER_ANTI_ROLLBACK_ENABLE",
            "BOOTLOADER_ANTI_ROLLBACK_EN and BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION",
            "the secure version of the bootloader in eFuse, and the bit that has the ROM compare it",
        )
