"""Which number in the header of a firmware image stands for which chip.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

CHIP_IDS = {
    "esp32": 0x00,
    "esp32s2": 0x02,
    "esp32c3": 0x05,
    "esp32s3": 0x09,
    "esp32c2": 0x0C,
    "esp32c6": 0x0D,
    "esp32h2": 0x10,
    "esp32p4": 0x12,
    "esp32c61": 0x14,
    "esp32c5": 0x17,
    "esp32h21": 0x19,
    "esp32h4": 0x1C,
    "esp32s31": 0x20,
}
"""The chip id in an image's header, by the chip's name in ESP-IDF (``IDF_TARGET``)."""
