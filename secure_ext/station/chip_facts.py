# SPDX-License-Identifier: Apache-2.0
"""What neither espefuse's tables nor a build's ``CONFIG_SOC_*`` tell about a chip: one row a chip, with its source.

Sources, by column (ESP-IDF v6.1-beta1, esptool 5.6.0):

- image id: ``components/bootloader_support/include/esp_app_format.h`` (esp_chip_id_t)
- preview: ``tools/idf_py_actions/constants.py`` (PREVIEW_TARGETS)
- bootloader offset: ``components/bootloader/Kconfig.projbuild`` (BOOTLOADER_OFFSET_IN_FLASH)
- key sizes: ``SOC_EFUSE_XTS_AES_KEY_128/_256``, ``SOC_FLASH_ENCRYPTION_XTS_AES_128_DERIVED``; espefuse's key purposes
- schemes, gates: ``SOC_SECURE_BOOT_V2_RSA/_ECC``, ``SOC_ECDSA_SUPPORT_CURVE_P384``, ``SECURE_BOOT_V2_ECDSA_INSECURE``
- key block 5: ``SOC_EFUSE_BLOCK9_KEY_PURPOSE_QUIRK`` and the checks in ``espefuse/efuse/<chip>/fields.py``
- cores: ``SOC_CPU_CORES_NUM``; the eFuse that leaves one of them: ``components/esp_system/port/cpu_start.c``
- HMAC: ``SOC_HMAC_SUPPORTED``; RSA by the digital signature peripheral: ``SOC_DS_SIGNATURE_MAX_BIT_LEN``
- ECDSA curves, key revision: espefuse's key purposes and ``burn_key``; ``components/mbedtls/Kconfig``
- left alone: fields that exist, but that neither the workflow document nor ESP-IDF's code uses
- least esptool: the first release whose ``espefuse/efuse_defs`` has the chip's fields at their final places
- least revision: below it the eFuses lie elsewhere (``efuse/esp32c5/esp_efuse_table.csv`` of 5.4.3 against 5.5), and
  espefuse burns wrong bits
- other revisions: ``components/bootloader/Kconfig.projbuild``, ``esp_efuse_api.c``, ``spi_flash_encrypted_ll.h``
- maker's blocks and bits, user block, key blocks: ``components/efuse/<chip>/esp_efuse_table.csv``
- flash power: esptool, ``targets/esp32p4.py`` (power_on_flash)
- flash sizes: ``components/bootloader_support/bootloader_flash/src/bootloader_flash_config_<chip>.c``, each release
- bootloader in RAM: ESP-IDF manual, Secure Boot V2, bootloader size
- clock: ``components/esp_system/port/soc/esp32c5/Kconfig.cpu``
- crystal by baud: esptool, ``targets/<chip>.py`` (get_crystal_freq)

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field

from secure_ext.station.frozen import frozen

Since = Mapping[tuple[int, int], int]
"""The first patch release of each minor release of ESP-IDF, and of all later ones, that does something."""
_ALL_FLASH_SIZES: Since = {(5, 4): 4, (5, 5): 2, (6, 0): 0}


class KeySize(str, enum.Enum):
    """The kinds of flash encryption key; the value is what a profile says."""

    ESP32 = "esp32"
    XTS_128 = "128"
    XTS_256 = "256"
    XTS_128_DERIVED = "128-derived"

    @property
    def key_bytes(self) -> int:
        """Length of the key file in bytes."""
        return {"esp32": 32, "128": 32, "256": 64, "128-derived": 16}[self.value]


@frozen
class ChipFacts:
    """One row of the table. Revisions are major * 100 + minor.

    Attributes:
        crypt_count: the field whose odd number of set bits turns flash encryption on.
        secure_boot_enable: the field that turns Secure Boot V2 on.
        download_off: the field that ends the serial download mode.
        fixed_key_blocks: names of the key blocks that serve one purpose each, with espefuse's word for it.
        own_key_blocks: names and numbers of the key blocks, where they are not BLOCK_KEY0 to 5 from number 4 on.
        revision_flags: fields of one bit, each of which is a major revision more, where there is no number.
        has_block_revision: its eFuse blocks have a revision of their own.
        one_core_field: the eFuse by which a chip with two cores has one; empty where there is none.
        makers_blocks: numbers of the blocks that the chip's maker burns.
        makers_wr_dis: bits of WR_DIS that protect nothing but what is the maker's; where empty, 19 more than the block.
        user_block: number of the block for user data and a custom MAC address.
        efuse_tables: the names of espefuse's tables for chips from a revision on, where there are several.
        flash_power: revisions that leave the flash without power in download mode, each with the first esptool 4 and
            the first esptool 5 that turn it on.
        legacy_revision_is_minor: images from before ESP-IDF 5.0 tell the minor revision, elsewhere the major.
        rom_bootloader_limit: bytes of a signed bootloader, in whole sectors, that the ROM can verify.
        encrypted_write_clock: MHz above which the chip can corrupt what it writes encrypted; 0 for no limit.
        all_flash_sizes: since when a bootloader takes every flash size in its header for what it is.
        flash_of_32_mb: since when it does so with 32 MB.
        always_all_flash_sizes: every supported ESP-IDF does.
        refuses_32_bit_flash: its cache reads no flash behind 16 MB, and newer bootloaders stop there.
        crystal_by_baud: esptool reckons its crystal from the baud rate of the ROM loader, and espefuse from that how
            long a burn takes: at another baud rate than the first it reads wrong.
        reed_solomon: its key blocks have check bytes.
        short_security_info: what it tells of itself in secure download mode has no chip id, and shows another eFuse of
            JTAG.
        ecdsa_curves: the purposes that keys of its ECDSA peripheral have in eFuse, each with the curves that it is for.
        ds_bits: the longest RSA key of its digital signature peripheral; 0 for no such peripheral.
        ecdsa_key_revision: below it espefuse burns another eFuse with such a key, and its signing tells of the key.
    """

    name: str
    image_id: int
    bootloader_offset: int
    key_sizes: tuple[KeySize, ...]
    schemes: tuple[str, ...]
    preview: bool = False
    schemes_with_errata: tuple[str, ...] = ()
    digest_slots: int = 3
    xts_key_in_block_key5: bool = True
    hmac: bool = True
    secure_download_mode: bool = True
    key_manager: bool = False
    left_alone: tuple[str, ...] = ()
    least_revision: int = 0
    secure_boot_revision: int = 0
    pseudo_round_revision: int = 0
    ecdsa_curve_mode_revision: int = 0
    uart_download_disable_revision: int = 0
    sha384_revision: int = 0
    flash_power_revision: int = 0
    mmu_page_size: int = 0x10000
    cores: int = 1
    least_esptool: tuple[int, int] = (4, 8)
    crypt_count: str = "SPI_BOOT_CRYPT_CNT"
    secure_boot_enable: str = "SECURE_BOOT_EN"
    download_off: str = "DIS_DOWNLOAD_MODE"
    fixed_key_blocks: tuple[tuple[str, str], ...] = ()
    own_key_blocks: tuple[tuple[str, int], ...] = ()
    revision_flags: tuple[str, ...] = ()
    has_block_revision: bool = True
    one_core_field: str = ""
    makers_blocks: tuple[int, ...] = (1, 2)
    makers_wr_dis: tuple[int, ...] = ()
    user_block: int = 3
    efuse_tables: tuple[tuple[int, str], ...] = ()
    flash_power: tuple[tuple[int, tuple[int, int], tuple[int, int]], ...] = ()
    legacy_revision_is_minor: bool = False
    rom_bootloader_limit: int = 0x10000
    encrypted_write_clock: int = 0
    all_flash_sizes: Since = field(default_factory=lambda: _ALL_FLASH_SIZES, hash=False)
    flash_of_32_mb: Since = field(default_factory=dict, hash=False)
    always_all_flash_sizes: bool = False
    refuses_32_bit_flash: bool = False
    crystal_by_baud: bool = False
    reed_solomon: bool = True
    short_security_info: bool = False
    ecdsa_curves: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    ds_bits: int = 0
    ecdsa_key_revision: int = 0

    @property
    def has_xts(self) -> bool:
        """Whether flash encryption is XTS-AES; the esp32 has a cipher of its own."""
        return KeySize.ESP32 not in self.key_sizes


_XTS = (KeySize.XTS_128,)
_XTS_BOTH = (KeySize.XTS_128, KeySize.XTS_256)
_RSA = ("rsa3072",)
_ECDSA = {"ECDSA_KEY": ("P-256", "P-192")}
_ECDSA_TO_384 = {"ECDSA_KEY": ("P-256",), "ECDSA_KEY_P192": ("P-192",), "ECDSA_KEY_P384": ("P-384",)}
_ECDSA_OF_4_BITS = {"ECDSA_KEY": ("P-256",)}
"""The other purposes have five bits, which chips before v3.0 have not, and later ones have in two fields."""

_FACTS = (
    ChipFacts(
        "esp32",
        0x00,
        0x1000,
        (KeySize.ESP32,),
        _RSA,
        digest_slots=1,
        hmac=False,
        secure_download_mode=False,
        secure_boot_revision=300,
        uart_download_disable_revision=300,
        cores=2,
        crypt_count="FLASH_CRYPT_CNT",
        secure_boot_enable="ABS_DONE_1",
        download_off="UART_DOWNLOAD_DIS",
        fixed_key_blocks=(("BLOCK1", "flash_encryption"), ("BLOCK2", "secure_boot_v2")),
        own_key_blocks=(("BLOCK1", 1), ("BLOCK2", 2)),
        revision_flags=("CHIP_VER_REV1", "CHIP_VER_REV2"),
        has_block_revision=False,
        one_core_field="DISABLE_APP_CPU",
        makers_blocks=(),
        makers_wr_dis=(3, 4, 5, 6),
        rom_bootloader_limit=0xC000,
        reed_solomon=False,
        crystal_by_baud=True,
    ),
    ChipFacts(
        "esp32s2",
        0x02,
        0x1000,
        _XTS_BOTH,
        _RSA,
        ds_bits=4096,
        all_flash_sizes={(5, 0): 0},
        always_all_flash_sizes=True,
        short_security_info=True,
    ),
    ChipFacts(
        "esp32s3",
        0x09,
        0x0,
        _XTS_BOTH,
        _RSA,
        xts_key_in_block_key5=False,
        ds_bits=4096,
        cores=2,
        one_core_field="DIS_APP_CPU",
        all_flash_sizes={(5, 0): 0},
        always_all_flash_sizes=True,
    ),
    ChipFacts(
        "esp32c2",
        0x0C,
        0x0,
        (KeySize.XTS_128, KeySize.XTS_128_DERIVED),
        ("ecdsa256",),
        digest_slots=1,
        hmac=False,
        own_key_blocks=(("BLOCK_KEY0", 3),),
        makers_blocks=(2,),
        makers_wr_dis=(6,),
        user_block=1,
        crystal_by_baud=True,
    ),
    ChipFacts(
        "esp32c3",
        0x05,
        0x0,
        _XTS,
        _RSA,
        xts_key_in_block_key5=False,
        ds_bits=3072,
        secure_boot_revision=3,
        legacy_revision_is_minor=True,
    ),
    ChipFacts(
        "esp32c5",
        0x17,
        0x2000,
        _XTS,
        ("rsa3072", "ecdsa256", "ecdsa384"),
        ds_bits=3072,
        schemes_with_errata=("ecdsa256", "ecdsa384"),
        key_manager=True,
        ecdsa_curves=_ECDSA_TO_384,
        secure_boot_revision=1,
        least_revision=100,
        least_esptool=(4, 9),
        encrypted_write_clock=160,
        flash_of_32_mb={(5, 4): 4, (5, 5): 0},
        crystal_by_baud=True,
    ),
    ChipFacts(
        "esp32c6",
        0x0D,
        0x0,
        _XTS,
        ("rsa3072", "ecdsa256"),
        xts_key_in_block_key5=False,
        ds_bits=3072,
        left_alone=("SPI_DOWNLOAD_MSPI_DIS",),
        refuses_32_bit_flash=True,
    ),
    ChipFacts(
        "esp32c61",
        0x14,
        0x0,
        _XTS,
        ("ecdsa256",),
        schemes_with_errata=("ecdsa256",),
        hmac=False,
        ecdsa_curves=_ECDSA,
    ),
    ChipFacts(
        "esp32h2",
        0x10,
        0x0,
        _XTS,
        ("rsa3072", "ecdsa256"),
        ds_bits=3072,
        schemes_with_errata=("ecdsa256",),
        xts_key_in_block_key5=False,
        left_alone=("SPI_DOWNLOAD_MSPI_DIS",),
        ecdsa_curves=_ECDSA,
        ecdsa_key_revision=102,
        pseudo_round_revision=102,
        ecdsa_curve_mode_revision=102,
        least_esptool=(4, 9),
        refuses_32_bit_flash=True,
    ),
    ChipFacts(
        "esp32p4",
        0x12,
        0x2000,
        _XTS_BOTH,
        ("rsa3072", "ecdsa256", "ecdsa384"),
        ds_bits=4096,
        schemes_with_errata=("ecdsa256", "ecdsa384"),
        key_manager=True,
        ecdsa_curves=_ECDSA_OF_4_BITS,
        pseudo_round_revision=300,
        sha384_revision=300,
        flash_power_revision=302,
        cores=2,
        makers_blocks=(1, 2, 10),
        efuse_tables=((300, "esp32p4_v3.0"),),
        flash_power=((301, (4, 11), (5, 2)), (302, (4, 12), (5, 3))),
        all_flash_sizes={(5, 3): 2, (5, 4): 0},
    ),
    ChipFacts(
        "esp32h21",
        0x19,
        0x0,
        _XTS,
        _RSA,
        ds_bits=3072,
        preview=True,
        left_alone=("SPI_DOWNLOAD_MSPI_DIS",),
        ecdsa_curves=_ECDSA,
        least_esptool=(5, 3),
        makers_blocks=(1, 2, 10),
    ),
    ChipFacts(
        "esp32h4",
        0x1C,
        0x2000,
        _XTS_BOTH,
        (),
        preview=True,
        xts_key_in_block_key5=False,
        left_alone=("SOFT_DIS_JTAG",),
        ecdsa_curves=_ECDSA_TO_384,
        least_esptool=(5, 3),
        cores=2,
        makers_blocks=(1, 2, 10),
    ),
    ChipFacts(
        "esp32s31",
        0x20,
        0x2000,
        _XTS_BOTH,
        _RSA,
        ds_bits=4096,
        preview=True,
        key_manager=True,
        ecdsa_curves=_ECDSA_TO_384,
        least_esptool=(5, 2),
        cores=2,
        makers_blocks=(1, 2, 9),
        all_flash_sizes={(6, 1): -1},
        always_all_flash_sizes=True,
    ),
)

FACTS: Mapping[str, ChipFacts] = {facts.name: facts for facts in _FACTS}
"""By ESP-IDF's target name."""
