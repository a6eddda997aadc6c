# SPDX-License-Identifier: Apache-2.0
"""What the sample needs to know of each chip: addresses to link at, and what ESP-IDF's Kconfig says of it.

Sources: the memory maps in esptool's ``targets/``; in ESP-IDF ``components/esp_hw_support/port/*/Kconfig.hw_support``
(revisions), ``components/soc/*/include/soc/Kconfig.soc_caps.in`` (capabilities) and
``components/bootloader/Kconfig.projbuild`` (bootloader offset).
"""

from __future__ import annotations

from secure_ext.errors import UsageError
from secure_ext.sample.elf import EM_RISCV, EM_XTENSA
from secure_ext.station.frozen import frozen


@frozen
class SampleChip:
    """One chip; addresses are those of the processor, revisions are major * 100 + minor."""

    machine: int
    bootloader_offset: int
    ram: int
    flash: int
    flash_frequency: str
    min_revision: int
    max_revision: int


CHIPS = {
    "esp32": SampleChip(EM_XTENSA, 0x1000, 0x40080000, 0x3F400000, "40m", 0, 399),
    "esp32s2": SampleChip(EM_XTENSA, 0x1000, 0x40024000, 0x3F000000, "80m", 0, 199),
    "esp32s3": SampleChip(EM_XTENSA, 0, 0x40378000, 0x3C000000, "80m", 0, 99),
    "esp32c2": SampleChip(EM_RISCV, 0, 0x4037C000, 0x3C000000, "60m", 100, 299),
    "esp32c3": SampleChip(EM_RISCV, 0, 0x40380000, 0x3C000000, "80m", 3, 199),
    "esp32c5": SampleChip(EM_RISCV, 0x2000, 0x40810000, 0x42000000, "80m", 100, 199),
    "esp32c6": SampleChip(EM_RISCV, 0, 0x40810000, 0x42000000, "80m", 0, 99),
    "esp32c61": SampleChip(EM_RISCV, 0, 0x40810000, 0x42000000, "80m", 100, 199),
    "esp32h2": SampleChip(EM_RISCV, 0, 0x40810000, 0x42000000, "48m", 0, 199),
    "esp32p4": SampleChip(EM_RISCV, 0x2000, 0x4FF10000, 0x40000000, "80m", 301, 399),
    "esp32h21": SampleChip(EM_RISCV, 0, 0x40810000, 0x42000000, "48m", 0, 99),
    "esp32h4": SampleChip(EM_RISCV, 0x2000, 0x40820000, 0x42000000, "48m", 0, 99),
    "esp32s31": SampleChip(EM_RISCV, 0x2000, 0x2F010000, 0x40000000, "80m", 0, 99),
}

_CAPABILITIES = {
    "SOC_EFUSE_SUPPORTED": " ".join(CHIPS),
    "SOC_FLASH_ENC_SUPPORTED": " ".join(CHIPS),
    "SOC_SECURE_BOOT_SUPPORTED": " ".join(name for name in CHIPS if name != "esp32h4"),
    "SOC_SECURE_BOOT_V1": "esp32",
    "SOC_SECURE_BOOT_V2_RSA": "esp32s2 esp32s3 esp32c3 esp32c5 esp32c6 esp32h2 esp32p4 esp32h21 esp32s31",
    "SOC_SECURE_BOOT_V2_ECC": "esp32c2 esp32c5 esp32c6 esp32c61 esp32h2 esp32p4",
    "SOC_ECDSA_SUPPORT_CURVE_P384": "esp32c5 esp32h4 esp32p4 esp32s31",
    "SOC_EFUSE_CONSISTS_OF_ONE_KEY_BLOCK": "esp32c2",
    "SOC_EFUSE_REVOKE_BOOT_KEY_DIGESTS": " ".join(name for name in CHIPS if name not in ("esp32", "esp32c2")),
    "SOC_SUPPORT_SECURE_BOOT_REVOKE_KEY": " ".join(name for name in CHIPS if name not in ("esp32", "esp32c2")),
    "SOC_SUPPORTS_SECURE_DL_MODE": "esp32s2 esp32s3 esp32c2 esp32c3 esp32c5 esp32c6 esp32c61 esp32h2 esp32p4",
    "SOC_HMAC_SUPPORTED": (
        "esp32s2 esp32s3 esp32c3 esp32c5 esp32c6 esp32h2 esp32p4 esp32h21 esp32h4 esp32s31"  # not the C2 and the C61
    ),
    "SOC_KEY_MANAGER_SUPPORTED": "esp32c5 esp32p4 esp32s31",
    "SOC_FLASH_ENCRYPTION_XTS_AES": " ".join(name for name in CHIPS if name != "esp32"),
    "SOC_FLASH_ENCRYPTION_XTS_AES_OPTIONS": "esp32s2 esp32s3 esp32c2 esp32c5 esp32p4 esp32h4 esp32s31",
    "SOC_FLASH_ENCRYPTION_XTS_AES_128": " ".join(name for name in CHIPS if name != "esp32"),
    "SOC_FLASH_ENCRYPTION_XTS_AES_128_DERIVED": "esp32c2",
    "SOC_FLASH_ENCRYPTION_XTS_AES_256": "esp32s2 esp32s3 esp32c5 esp32p4 esp32h4 esp32s31",
    "SOC_FLASH_ENCRYPTION_XTS_AES_SUPPORT_PSEUDO_ROUND": (
        "esp32c5 esp32c61 esp32h2 esp32p4 esp32h21 esp32h4 esp32s31"  # a later revision of some of them is needed
    ),
    "SOC_MMU_PAGE_SIZE_CONFIGURABLE": "esp32c2 esp32c6 esp32c61 esp32h2 esp32h21 esp32h4 esp32s31",
}


def sample_chip(chip: str) -> SampleChip:
    """The facts of one chip.

    Raises:
        UsageError: SE191, for a name that is not in `CHIPS`.
    """
    if chip not in CHIPS:
        raise UsageError(
            "SE191",
            f"there is no sample build for the chip {chip!r}",
            cure=f"choose one of {', '.join(CHIPS)}",
            place="chip",
        )
    return CHIPS[chip]


def capabilities(chip: str) -> dict[str, object]:
    """The ``SOC_*`` symbols of the chip that concern security, as sdkconfig has them."""
    symbols: dict[str, object] = {name: True for name, chips in _CAPABILITIES.items() if chip in chips.split()}
    symbols["SOC_EFUSE_SECURE_BOOT_KEY_DIGESTS"] = 1 if chip in ("esp32", "esp32c2") else 3
    return symbols
