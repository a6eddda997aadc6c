# SPDX-License-Identifier: Apache-2.0
"""What a chip in secure download mode still tells of itself: the output of ``esptool get-security-info``.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

from secure_ext.station.frozen import frozen

# The ROM's flags, the same on every chip (esptool, loader.py, SECURITY_INFO_FLAG_MAP), with the eFuses they show.
# Flag 8 is left out: which of the USB eFuses it shows is not said for each chip.
_FLAGS = (
    (0, ("SECURE_BOOT_EN",)),
    (1, ("SECURE_BOOT_AGGRESSIVE_REVOKE",)),
    (2, ("ENABLE_SECURITY_DOWNLOAD",)),
    (3, ("SECURE_BOOT_KEY_REVOKE0",)),
    (4, ("SECURE_BOOT_KEY_REVOKE1",)),
    (5, ("SECURE_BOOT_KEY_REVOKE2",)),
    (7, ("HARD_DIS_JTAG", "DIS_PAD_JTAG")),
    (9, ("DIS_DOWNLOAD_DCACHE",)),
    (10, ("DIS_DOWNLOAD_ICACHE",)),
)
_SOFT_JTAG_FLAG = 6
"""One bit for a field of up to three: that it is clear says all, that it is set does not."""


@frozen
class SecurityInfo:
    """What is known of a sealed chip.

    Attributes:
        values: number of each field that is shown.
        purposes: name of the purpose of each key block, by purpose field; empty where the chip tells none.
        text: what esptool printed; it holds no key.
    """

    values: Mapping[str, int]
    purposes: Mapping[str, str]
    text: str


def parse_security_info(text: str, fields: Container[str]) -> SecurityInfo:
    """From what ``esptool get-security-info`` of 4.8 to 5.x prints about a chip that has `fields`.

    What is not in it is left out.
    """
    values: dict[str, int] = {}
    flags = re.search(r"^Flags: 0x([0-9a-fA-F]{8})\b", text, re.MULTILINE)
    if flags:
        number = int(flags.group(1), 16)
        for bit, names in _FLAGS:
            values.update({name: number >> bit & 1 for name in names if name in fields})
        if "SOFT_DIS_JTAG" in fields and not number >> _SOFT_JTAG_FLAG & 1:
            values["SOFT_DIS_JTAG"] = 0
    count = re.search(r"^SPI Boot Crypt Count[^:]*: 0x([0-9a-fA-F]+)", text, re.MULTILINE)
    if count:
        values["SPI_BOOT_CRYPT_CNT"] = int(count.group(1), 16)
    purposes = {
        f"KEY_PURPOSE_{number}": "USER" if name.startswith("USER") else name.replace("ECDSA_KEY_P256", "ECDSA_KEY")
        for number, name in re.findall(r"^\s*BLOCK_KEY(\d) - (\S+)$", text, re.MULTILINE)
        if name != "UNKNOWN"
    }
    return SecurityInfo(values, purposes, text)
