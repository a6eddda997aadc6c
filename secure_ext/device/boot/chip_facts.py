"""What the boot check knows of each chip: facts of its ROM that are not in its eFuses."""

from __future__ import annotations

from dataclasses import dataclass

RSA, P256, P384 = "RSA-3072", "ECDSA P-256", "ECDSA P-384"


@dataclass(frozen=True)
class ChipFacts:
    """One chip.

    Attributes:
        image_id: chip ID in the header of images (ESP-IDF ``esp_app_format.h``).
        bootloader_offset: where the ROM looks (``CONFIG_ESP_ROM_BOOTLOADER_OFFSET_FLASH`` of ESP-IDF's ``esp_rom``).
        schemes: signatures that its ROM verifies (``SOC_SECURE_BOOT_V2_*``, ``SOC_ECDSA_SUPPORT_CURVE_P384``).
        signature_blocks: how many of them ESP-IDF and the ROM look at (``SECURE_BOOT_NUM_BLOCKS``).
        crypt_count: eFuse field that turns flash encryption on.
        secure_boot: eFuse field that turns Secure Boot V2 on.
        fixed_blocks: key blocks of a chip whose keys have fixed places.
    """

    image_id: int
    bootloader_offset: int
    schemes: tuple[str, ...] = (RSA,)
    signature_blocks: int = 3
    crypt_count: str = "SPI_BOOT_CRYPT_CNT"
    secure_boot: str = "SECURE_BOOT_EN"
    fixed_blocks: tuple[int, ...] = ()


CHIPS = {
    "esp32": ChipFacts(
        0, 0x1000, signature_blocks=1, crypt_count="FLASH_CRYPT_CNT", secure_boot="ABS_DONE_1", fixed_blocks=(1, 2)
    ),
    "esp32s2": ChipFacts(2, 0x1000),
    "esp32s3": ChipFacts(9, 0x0),
    "esp32c2": ChipFacts(12, 0x0, (P256,), signature_blocks=1, fixed_blocks=(3,)),
    "esp32c3": ChipFacts(5, 0x0),
    "esp32c5": ChipFacts(23, 0x2000, (RSA, P256, P384)),
    "esp32c6": ChipFacts(13, 0x0, (RSA, P256)),
    "esp32c61": ChipFacts(20, 0x0, (P256,)),
    "esp32h2": ChipFacts(16, 0x0, (RSA, P256)),
    "esp32p4": ChipFacts(18, 0x2000, (RSA, P256, P384)),
}
