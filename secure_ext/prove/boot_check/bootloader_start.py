# SPDX-License-Identifier: Apache-2.0
"""Does the bootloader go on, or does it refuse this chip? What it was built for against what is burned.

Sources (ESP-IDF ``components/bootloader_support/src``): ``esp32/bootloader_esp32.c`` (clock), ``bootloader_utility.c``
(load_image: features that must be on; secure version), ``secure_boot_v2/secure_boot_signatures_bootloader.c`` (scheme);
ESP-IDF manual, 32-bit Address Support of QSPI Flash Chips (what the cache reaches).
"""

from __future__ import annotations

from collections.abc import Iterable

from secure_ext.prove.boot_check.chip_facts import CHIPS, P256, P384, RSA
from secure_ext.prove.boot_check.efuses import Efuses
from secure_ext.prove.boot_check.findings import Findings
from secure_ext.prove.boot_check.firmware import Firmware
from secure_ext.prove.boot_check.key_blocks import has_secure_boot, is_encrypting

_SLOW = 160
"""MHz of an esp32 that is rated for no more (``efuse_hal_get_rated_freq_mhz``)."""
_ADDRESSED_WITH_24_BITS = 1 << 24
_WITH_32_BITS = (
    "BOOTLOADER_CACHE_32BIT_ADDR_QUAD_FLASH",
    "BOOTLOADER_CACHE_32BIT_ADDR_OCTAL_FLASH",
    "ESPTOOLPY_OCT_FLASH",
)


def check_bootloader_start(bootloader: Firmware, efuses: Efuses, findings: Findings) -> None:
    """What stops this bootloader on this chip, before it looks for an app."""
    clock = bootloader.number("ESP_DEFAULT_CPU_FREQ_MHZ") or 0
    rated = efuses.value("CHIP_CPU_FREQ_RATED") and efuses.value("CHIP_CPU_FREQ_LOW")
    if rated and clock > _SLOW:
        findings.fault("BC31", f"this esp32 is rated for {_SLOW} MHz; the bootloader, built for {clock} MHz, stops")
    encrypts, verifies = is_encrypting(efuses), has_secure_boot(efuses)
    built_for = {"flash encryption": "SECURE_FLASH_ENC_ENABLED", "secure boot": "SECURE_BOOT_V2_ENABLED"}
    for feature, is_on, required in (
        ("flash encryption", encrypts, "SECURE_FLASH_REQUIRE_ALREADY_ENABLED"),
        ("secure boot", verifies, "SECURE_BOOT_REQUIRE_ALREADY_ENABLED"),
    ):
        if bootloader.has(built_for[feature]) and bootloader.has(required) and not is_on:
            findings.fault("BC34", f"the bootloader starts nothing while {feature} is off: CONFIG_{required}")
    if efuses.chip == "esp32c2" and all(bootloader.has(name) for name in built_for.values()) and encrypts != verifies:
        findings.fault("BC34", "the bootloader was built for both features, and stops where only one of them is on")


def check_app_scheme(bootloader: Firmware, schemes: Iterable[str], findings: Findings) -> None:
    """Whether the bootloader verifies one of the `schemes` by which the chip's keys signed the app."""
    rsa, ecdsa = (
        bootloader.has("SECURE_SIGNED_APPS_RSA_SCHEME"),
        bootloader.has("SECURE_SIGNED_APPS_ECDSA_V2_SCHEME"),
    )
    if rsa == ecdsa:
        return  # not known
    verified = RSA if rsa else P384 if bootloader.has("SECURE_BOOT_ECDSA_KEY_LEN_384_BITS") else P256
    if verified not in schemes:
        findings.fault(
            "BC36", f"the bootloader verifies {verified}, and no trusted signature of the app is of that kind"
        )


def check_reach(bootloader: Firmware, chip: str, end: int, findings: Findings) -> None:
    """Whether the cache, through which the bootloader and the app read the app, reaches to the `end` of it in flash.

    Where a chip can be built for more, and the bundle does not say how it was, it is taken to be.
    """
    can = CHIPS[chip].maps_all and (not bootloader.settings or any(map(bootloader.has, _WITH_32_BITS)))
    if end > _ADDRESSED_WITH_24_BITS and not can:
        findings.fault(
            "BC39", f"the app ends at {end:#x}, and the bootloader reaches only the first 16 MB of the flash"
        )
