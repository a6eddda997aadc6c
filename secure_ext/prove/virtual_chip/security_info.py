# SPDX-License-Identifier: Apache-2.0
"""What the ROM loader tells of how its chip is secured (GET_SECURITY_INFO), also in secure download mode."""

from __future__ import annotations

import struct

from secure_ext.prove.virtual_chip.efuse_controller import EfuseController
from secure_ext.station.chip_facts import FACTS


def security_info(chip: str, chip_id: int, efuses: EfuseController) -> bytes:
    """The data of the answer; see esptool's ``loader.py``, `get_security_info`."""
    is_short = FACTS[chip].short_security_info
    names = (
        *("SECURE_BOOT_EN", "SECURE_BOOT_AGGRESSIVE_REVOKE", "ENABLE_SECURITY_DOWNLOAD"),
        *("SECURE_BOOT_KEY_REVOKE0", "SECURE_BOOT_KEY_REVOKE1", "SECURE_BOOT_KEY_REVOKE2"),
        *("SOFT_DIS_JTAG", "HARD_DIS_JTAG" if is_short else "DIS_PAD_JTAG", "DIS_USB_JTAG"),
        *("DIS_DOWNLOAD_DCACHE", "DIS_DOWNLOAD_ICACHE"),
    )
    flags = sum(1 << bit for bit, name in enumerate(names) if efuses.field(name))
    purposes = [efuses.field(f"KEY_PURPOSE_{number}") for number in range(7)]
    info = struct.pack("<IB7B", flags, efuses.field("SPI_BOOT_CRYPT_CNT"), *purposes)
    return info if is_short else info + struct.pack("<II", chip_id, 0)
