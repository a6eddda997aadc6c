# SPDX-License-Identifier: Apache-2.0
"""MAC addresses: read from text, refused where no interface can have them, and the check byte that an esp32 wants.

Source: ESP-IDF ``components/esp_hw_support/mac_addr.c``; espefuse, ``base_fields.py`` (check_format of a MAC).
"""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"[0-9A-Fa-f]{2}([:-]?)(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")


def parse_mac(text: str) -> bytes:
    """The six bytes of an address, written with colons, hyphens, or without. Raises ValueError, which says why not."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError("it is not written as an address, such as 02:00:00:12:34:56")
    mac = bytes.fromhex(re.sub("[:-]", "", text))
    fault = mac_fault(mac)
    if fault:
        raise ValueError(fault)
    return mac


def mac_fault(mac: bytes) -> str:
    """Why no interface can have this address; empty if one can."""
    if mac == b"\xff" * 6:
        return "it is the broadcast address"
    if not any(mac):
        return "it is all zeros, which stands for no address"
    if mac[0] & 1:
        return "it is a multicast address: the lowest bit of its first byte is set"
    return ""


def mac_text(mac: bytes) -> str:
    """An address as people write it."""
    return mac.hex(":")


def mac_crc8(mac: bytes) -> int:
    """The check byte of an address in the eFuses of an esp32 (``esp_rom_efuse_mac_address_crc8``)."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
