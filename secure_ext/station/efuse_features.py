# SPDX-License-Identifier: Apache-2.0
"""Which eFuses turn flash encryption and secure boot on, close the download mode, and close JTAG, on any chip.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import enum

from secure_ext.station.chip_facts import FACTS

CRYPT_COUNTS = frozenset(facts.crypt_count for facts in FACTS.values())
"""Counters whose odd number of set bits turns flash encryption on."""
SECURE_BOOT_SWITCHES = frozenset(facts.secure_boot_enable for facts in FACTS.values())
JTAG_FIELDS = ("JTAG_DISABLE", "HARD_DIS_JTAG", "DIS_PAD_JTAG", "DIS_USB_JTAG")
"""Fields of one bit that close JTAG for ever; SOFT_DIS_JTAG can be lifted by the firmware."""


class Download(enum.IntEnum):
    """How far the serial download mode is closed; more is further."""

    OPEN = 0
    SECURE = 1
    DISABLED = 2


DOWNLOAD_FIELDS = {
    "ENABLE_SECURITY_DOWNLOAD": Download.SECURE,
    **dict.fromkeys((facts.download_off for facts in FACTS.values()), Download.DISABLED),
}
"""What closes the download mode, and how far; all of it is burned last, as the seal."""
