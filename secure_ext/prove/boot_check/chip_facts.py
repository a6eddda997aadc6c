# SPDX-License-Identifier: Apache-2.0
"""What the boot check knows of each chip: facts of its ROM that are not in its eFuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RSA, P256, P384 = "RSA-3072", "ECDSA P-256", "ECDSA P-384"


@dataclass(frozen=True)
class ChipFacts:
    """One chip.

    Attributes:
        image_id: chip ID in the header of images (ESP-IDF ``esp_app_format.h``).
        bootloader_offset: where the ROM looks (``CONFIG_ESP_ROM_BOOTLOADER_OFFSET_FLASH`` of ESP-IDF's ``esp_rom``).
        schemes: signatures that its ROM verifies (``SOC_SECURE_BOOT_V2_*``, ``SOC_ECDSA_SUPPORT_CURVE_P384``).
        signature_blocks: how many of them the ROM's verification looks at, which the bootloader calls too (``block`` in
            ``ets_secure_boot_signature_t`` of ``esp_rom/<chip>/rom/secure_boot.h``; an esp32 of revision 3 was seen to
            start a bootloader by its second one, though it has one digest).
        crypt_count: eFuse field that turns flash encryption on.
        secure_boot: eFuse field that turns Secure Boot V2 on.
        fixed_blocks: key blocks of a chip whose keys have fixed places.
        verifies: bytes of a bootloader, in whole sectors and without its signature, that the ROM can verify (ESP-IDF
            manual, Secure Boot V2, bootloader size).
        download_off: eFuse field that ends the download mode.
        locks: bits of WR_DIS over fields that an app may burn at its start (``efuse/<chip>/esp_efuse_table.csv``).
        maps_all: whether its cache can be built to read flash behind 16 MB
            (``SOC_SPI_MEM_SUPPORT_CACHE_32BIT_ADDR_MAP``).
        one_core: eFuse field that turns the second core off; empty on a chip with one core.
    """

    image_id: int
    bootloader_offset: int
    schemes: tuple[str, ...] = (RSA,)
    signature_blocks: int = 3
    crypt_count: str = "SPI_BOOT_CRYPT_CNT"
    secure_boot: str = "SECURE_BOOT_EN"
    fixed_blocks: tuple[int, ...] = ()
    verifies: int = 0x10000
    download_off: str = "DIS_DOWNLOAD_MODE"
    locks: Mapping[str, int] = field(default_factory=lambda: _locks(18))
    one_core: str = ""
    maps_all: bool = False


def _locks(download: int, **others: int) -> Mapping[str, int]:
    fields = ("DIS_DOWNLOAD_MODE", "ENABLE_SECURITY_DOWNLOAD", "UART_PRINT_CONTROL")
    return {**dict.fromkeys(fields, download), **others}


_ECC = _locks(18, ECC_FORCE_CONST_TIME=14)
_CURVES = _locks(18, ECC_FORCE_CONST_TIME=17, ECDSA_CURVE_MODE=17)

CHIPS = {
    "esp32": ChipFacts(
        0,
        0x1000,
        crypt_count="FLASH_CRYPT_CNT",
        secure_boot="ABS_DONE_1",
        fixed_blocks=(1, 2),
        verifies=0xC000,
        download_off="UART_DOWNLOAD_DIS",
        locks={"UART_DOWNLOAD_DIS": 2},
        one_core="DISABLE_APP_CPU",
    ),
    "esp32s2": ChipFacts(2, 0x1000),
    "esp32s3": ChipFacts(9, 0x0, one_core="DIS_APP_CPU", maps_all=True),
    "esp32c2": ChipFacts(12, 0x0, (P256,), signature_blocks=1, fixed_blocks=(3,), locks=_locks(3)),
    "esp32c3": ChipFacts(5, 0x0),
    "esp32c5": ChipFacts(23, 0x2000, (RSA, P256, P384), locks=_ECC, maps_all=True),
    "esp32c6": ChipFacts(13, 0x0, (RSA, P256)),
    "esp32c61": ChipFacts(20, 0x0, (P256,), locks=_ECC, maps_all=True),
    "esp32h2": ChipFacts(16, 0x0, (RSA, P256), locks=_CURVES),
    "esp32p4": ChipFacts(18, 0x2000, (RSA, P256, P384), locks=_ECC, maps_all=True),
    "esp32h21": ChipFacts(25, 0x0, locks=_CURVES),
    "esp32h4": ChipFacts(28, 0x2000, (), locks=_ECC, maps_all=True),
    "esp32s31": ChipFacts(32, 0x2000, locks=_ECC, maps_all=True),
}
