"""What neither espefuse's tables nor a build's ``CONFIG_SOC_*`` tell about a chip, in one table, with its source.

Sources, by column (ESP-IDF v6.1-beta1, esptool 5.6.0):

- preview: ``tools/idf_py_actions/constants.py`` (PREVIEW_TARGETS)
- bootloader offset: ``components/bootloader/Kconfig.projbuild`` (BOOTLOADER_OFFSET_IN_FLASH)
- key sizes: ``SOC_EFUSE_XTS_AES_KEY_128/_256``, ``SOC_FLASH_ENCRYPTION_XTS_AES_128_DERIVED``; espefuse's key purposes
- schemes, gates: ``SOC_SECURE_BOOT_V2_RSA/_ECC``, ``SOC_ECDSA_SUPPORT_CURVE_P384``, ``SECURE_BOOT_V2_ECDSA_INSECURE``
- key block 5: ``SOC_EFUSE_BLOCK9_KEY_PURPOSE_QUIRK`` and the checks in ``espefuse/efuse/<chip>/fields.py``
- cores: ``SOC_CPU_CORES_NUM``
- HMAC: ``SOC_HMAC_SUPPORTED``
- left alone: fields that exist, but that neither the workflow document nor ESP-IDF's code uses
- least esptool: the first release whose ``espefuse/efuse_defs`` has the chip's fields at their final places
- least revision: below it the eFuses lie elsewhere (``efuse/esp32c5/esp_efuse_table.csv`` of 5.4.3 against 5.5), and
  espefuse burns wrong bits
- other revisions: ``components/bootloader/Kconfig.projbuild``, ``esp_efuse_api.c``, ``spi_flash_encrypted_ll.h``
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from secure_ext.errors import InputError


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


@dataclass(frozen=True)
class ChipFacts:
    """One row of the table. Revisions are major * 100 + minor."""

    name: str
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


_XTS = (KeySize.XTS_128,)
_XTS_BOTH = (KeySize.XTS_128, KeySize.XTS_256)
_RSA = ("rsa3072",)

_FACTS = (
    ChipFacts(
        "esp32",
        0x1000,
        (KeySize.ESP32,),
        _RSA,
        digest_slots=1,
        hmac=False,
        secure_download_mode=False,
        secure_boot_revision=300,
        uart_download_disable_revision=300,
        cores=2,
    ),
    ChipFacts("esp32s2", 0x1000, _XTS_BOTH, _RSA),
    ChipFacts("esp32s3", 0x0, _XTS_BOTH, _RSA, xts_key_in_block_key5=False, cores=2),
    ChipFacts(
        "esp32c2",
        0x0,
        (KeySize.XTS_128, KeySize.XTS_128_DERIVED),
        ("ecdsa256",),
        digest_slots=1,
        hmac=False,
    ),
    ChipFacts("esp32c3", 0x0, _XTS, _RSA, xts_key_in_block_key5=False, secure_boot_revision=3),
    ChipFacts(
        "esp32c5",
        0x2000,
        _XTS,
        ("rsa3072", "ecdsa256", "ecdsa384"),
        schemes_with_errata=("ecdsa256", "ecdsa384"),
        key_manager=True,
        secure_boot_revision=1,
        least_revision=100,
        least_esptool=(4, 9),
    ),
    ChipFacts(
        "esp32c6",
        0x0,
        _XTS,
        ("rsa3072", "ecdsa256"),
        xts_key_in_block_key5=False,
        left_alone=("SPI_DOWNLOAD_MSPI_DIS",),
    ),
    ChipFacts("esp32c61", 0x0, _XTS, ("ecdsa256",), schemes_with_errata=("ecdsa256",), hmac=False),
    ChipFacts(
        "esp32h2",
        0x0,
        _XTS,
        ("rsa3072", "ecdsa256"),
        schemes_with_errata=("ecdsa256",),
        xts_key_in_block_key5=False,
        left_alone=("SPI_DOWNLOAD_MSPI_DIS",),
        pseudo_round_revision=102,
        ecdsa_curve_mode_revision=102,
        least_esptool=(4, 9),
    ),
    ChipFacts(
        "esp32p4",
        0x2000,
        _XTS_BOTH,
        ("rsa3072", "ecdsa256", "ecdsa384"),
        schemes_with_errata=("ecdsa256", "ecdsa384"),
        key_manager=True,
        pseudo_round_revision=300,
        sha384_revision=300,
        flash_power_revision=302,
        cores=2,
    ),
    ChipFacts(
        "esp32h21",
        0x0,
        _XTS,
        _RSA,
        preview=True,
        left_alone=("SPI_DOWNLOAD_MSPI_DIS",),
        least_esptool=(5, 3),
    ),
    ChipFacts(
        "esp32h4",
        0x2000,
        _XTS_BOTH,
        (),
        preview=True,
        xts_key_in_block_key5=False,
        left_alone=("SOFT_DIS_JTAG",),
        least_esptool=(5, 3),
        cores=2,
    ),
    ChipFacts(
        "esp32s31",
        0x2000,
        _XTS_BOTH,
        _RSA,
        preview=True,
        key_manager=True,
        least_esptool=(5, 2),
        cores=2,
    ),
)

_BY_NAME = {facts.name: facts for facts in _FACTS}
CHIP_NAMES = tuple(_BY_NAME)


def chip_facts(name: str) -> ChipFacts:
    """The row of chip `name`; raises InputError SE204 for a chip this package does not cover."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise InputError(
            "SE204",
            f"no support for the chip {name!r}",
            cure="supported are: " + ", ".join(CHIP_NAMES),
        ) from None
