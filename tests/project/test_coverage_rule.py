# SPDX-License-Identifier: Apache-2.0
"""Which partitions flash encryption covers: the firmware's rule, row by row."""

from __future__ import annotations

import pytest

from secure_ext.formats.partition_table import Partition, covered_by_flash_encryption

ALWAYS = [
    *((0x00, subtype) for subtype in (0x00, 0x10, 0x11, 0x1F, 0x20, 0x30, 0x31, 0x77)),  # any app, a TEE too
    *((0x02, subtype) for subtype in (0, 1, 2)),  # bootloader: primary, ota, recovery
    *((0x03, subtype) for subtype in (0, 1)),  # partition table: primary, ota
    (0x01, 0x00),  # otadata
    (0x01, 0x04),  # nvs_keys
    (0x01, 0x90),  # tee_ota
]
BY_FLAG = [
    (0x01, 0x01),  # phy
    (0x01, 0x03),  # coredump
    (0x01, 0x05),  # efuse
    (0x01, 0x06),  # undefined
    (0x01, 0x80),  # esphttpd
    (0x01, 0x81),  # fat
    (0x01, 0x82),  # spiffs
    (0x01, 0x83),  # littlefs
    (0x01, 0x91),  # behind tee_ota
    (0x3F, 0x06),  # a secure certificate
    (0x40, 0x00),  # a type of the project's own, with the number of otadata's subtype
    (0x40, 0x04),  # likewise with that of nvs_keys
    (0xFE, 0xFE),
]


def covered(type_: int, subtype: int, flags: int) -> bool:
    return covered_by_flash_encryption(Partition("x", type_, subtype, 0x10000, 0x1000, flags))


@pytest.mark.parametrize(("type_", "subtype"), ALWAYS)
@pytest.mark.parametrize("flags", range(4))
def test_always(type_: int, subtype: int, flags: int) -> None:
    assert covered(type_, subtype, flags)


@pytest.mark.parametrize(("type_", "subtype"), BY_FLAG)
@pytest.mark.parametrize("flags", range(4))
def test_only_with_the_flag(type_: int, subtype: int, flags: int) -> None:
    assert covered(type_, subtype, flags) is bool(flags & 1)


@pytest.mark.parametrize("flags", range(4))
def test_nvs_never_not_even_with_the_flag(flags: int) -> None:
    assert not covered(0x01, 0x02, flags)
