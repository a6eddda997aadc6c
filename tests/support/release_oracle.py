# SPDX-License-Identifier: Apache-2.0
"""What a chip in release mode must look like, written from ESP-IDF's C code and not from this package's planning code.

`not_release` returns every condition that a chip's eFuses leave unmet: those of ESP-IDF v6.1-beta1's
``esp_flash_encryption_cfg_verify_release_mode`` (``components/bootloader_support/src/flash_encrypt.c``) and
``esp_secure_boot_cfg_verify_release_mode`` (``components/bootloader_support/src/secure_boot.c``), and those that these
two functions do not look at. The eFuses are what espefuse says of them: its JSON summary and its dump.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CHIPS_WITH = {
    "SOC_EFUSE_DIS_DOWNLOAD_ICACHE": "s2 s3 c2 c3 c6",
    "SOC_EFUSE_DIS_DOWNLOAD_DCACHE": "s2 s3",
    "SOC_EFUSE_DIS_DOWNLOAD_MSPI": "p4 s31",
    "SOC_EFUSE_HARD_DIS_JTAG": "s2 s3",
    "SOC_EFUSE_DIS_PAD_JTAG": "c2 c3 c5 c6 c61 h2 p4 h21 h4 s31",
    "SOC_EFUSE_DIS_USB_JTAG": "s3 c3 c5 c6 c61 h2 p4 h21 h4 s31",
    "SOC_EFUSE_SOFT_DIS_JTAG": "s2 s3 c3 c5 c6 h2 p4 h21 s31",
    "SOC_EFUSE_DIS_DIRECT_BOOT": "s3 c2 c3 c5 c6 c61 h2 p4 h21 h4 s31",
    "SOC_EFUSE_DIS_BOOT_REMAP": "s2",
    "SOC_EFUSE_DIS_LEGACY_SPI_BOOT": "s2",
    "SOC_EFUSE_DIS_ICACHE": "s2 s3 c3 c5 c6 c61 h2 h21",
    "SOC_EFUSE_XTS_AES_KEY_128": "s2 s3 c2 c3 c5 c6 c61 h2 p4 h21 h4 s31",
    "SOC_EFUSE_XTS_AES_KEY_256": "s2 s3 p4 h4 s31",
    "SOC_EFUSE_KEY_PURPOSE_FIELD": "s2 s3 c3 c5 c6 c61 h2 p4 h21 h4 s31",
    "SOC_FLASH_ENCRYPTION_XTS_AES_SUPPORT_PSEUDO_ROUND": "c5 c61 h2 p4 h21 h4 s31",
    "SOC_SUPPORT_SECURE_BOOT_REVOKE_KEY": "s2 s3 c3 c5 c6 c61 h2 p4 h21 h4 s31",
    "SOC_EFUSE_SECURE_BOOT_KEY_DIGESTS > 1": "s2 s3 c3 c5 c6 c61 h2 p4 h21 h4 s31",
    "SOC_EFUSE_CONSISTS_OF_ONE_KEY_BLOCK": "c2",
    "SOC_ECDSA_P192_CURVE_DEFAULT_DISABLED": "h2 h21",
    "SOC_ECDSA_SUPPORT_CURVE_P384": "c5 p4 h4 s31",
    "SOC_EFUSE_SECURE_BOOT_P384_WR_DIS": "c5 h4",
}
"""The capabilities the two functions ask for, with the chips (``esp32`` + word) that have them.

From ``components/soc/<chip>/include/soc/Kconfig.soc_caps.in``; the esp32 itself has functions of its own.
"""

_FIELDS_OF = {
    "SOC_EFUSE_DIS_DOWNLOAD_ICACHE": "DIS_DOWNLOAD_ICACHE",
    "SOC_EFUSE_DIS_DOWNLOAD_DCACHE": "DIS_DOWNLOAD_DCACHE",
    "SOC_EFUSE_DIS_DOWNLOAD_MSPI": "SPI_DOWNLOAD_MSPI_DIS",
    "SOC_EFUSE_DIS_PAD_JTAG": "DIS_PAD_JTAG",
    "SOC_EFUSE_DIS_USB_JTAG": "DIS_USB_JTAG",
    "SOC_EFUSE_DIS_DIRECT_BOOT": "DIS_DIRECT_BOOT",
    "SOC_EFUSE_DIS_BOOT_REMAP": "DIS_BOOT_REMAP",
    "SOC_EFUSE_DIS_LEGACY_SPI_BOOT": "DIS_LEGACY_SPI_BOOT",
}
_JTAG_CAPABILITIES = ("SOC_EFUSE_DIS_PAD_JTAG", "SOC_EFUSE_DIS_USB_JTAG")
_BOOT_CAPABILITIES = ("SOC_EFUSE_DIS_DIRECT_BOOT", "SOC_EFUSE_DIS_BOOT_REMAP", "SOC_EFUSE_DIS_LEGACY_SPI_BOOT")
_DOWNLOAD_CAPABILITIES = (
    "SOC_EFUSE_DIS_DOWNLOAD_ICACHE",
    "SOC_EFUSE_DIS_DOWNLOAD_DCACHE",
    "SOC_EFUSE_DIS_DOWNLOAD_MSPI",
)
_DIGEST_PURPOSES = ("SECURE_BOOT_DIGEST0", "SECURE_BOOT_DIGEST1", "SECURE_BOOT_DIGEST2")
_FLASH_KEY_PURPOSES = ("XTS_AES_128_KEY", "XTS_AES_256_KEY_1", "XTS_AES_256_KEY_2")
_DOWNLOAD_CLOSED = ("DIS_DOWNLOAD_MODE", "ENABLE_SECURITY_DOWNLOAD")
_LOCKED_TO_P256 = 3
_DUMP_LINE = re.compile(r"\[\s*(\d+)\s*\] dump:((?: [0-9a-fA-F]{8})+)")


def has(chip: str, capability: str) -> bool:
    """Whether ESP-IDF gives `chip` the SOC capability."""
    return chip.removeprefix("esp32") in CHIPS_WITH[capability].split()


@dataclass(frozen=True)
class Efuses:
    """A chip's eFuses as espefuse shows them.

    Attributes:
        values: number in each field, by espefuse's name.
        words: espefuse's word for it, such as a key purpose.
        locked: fields that cannot be burned any more.
        hidden: fields that cannot be read.
        blocks: bytes of each block.
    """

    values: Mapping[str, int]
    words: Mapping[str, str]
    locked: frozenset[str]
    hidden: frozenset[str]
    blocks: Mapping[int, bytes]

    @classmethod
    def of_output(cls, output: str) -> Efuses:
        """From what ``espefuse dump summary --format json`` prints."""
        blocks = {
            int(number): b"".join(int(word, 16).to_bytes(4, "little") for word in words.split())
            for number, words in _DUMP_LINE.findall(output)
        }
        document = output[output.rindex("\n{\n") + 1 :]
        summary: dict[str, dict[str, Any]] = json.JSONDecoder().raw_decode(document)[0]
        # Older summaries have no raw value and call 1 and 7 alike "Enable": the number comes from the dump.
        values = {
            name: int.from_bytes(blocks[row["block"]], "little") >> (row["word"] * 32 + row["pos"])
            & ((1 << row["bit_len"]) - 1)
            for name, row in summary.items()
            if row["word"] is not None
        }
        return cls(
            values,
            {name: str(row["value"]) for name, row in summary.items()},
            frozenset(name for name, row in summary.items() if not row["writeable"]),
            frozenset(name for name, row in summary.items() if not row["readable"]),
            blocks,
        )

    def is_set(self, name: str) -> bool:
        """Whether the chip has the field and its value is not 0."""
        return self.values.get(name, 0) != 0

    def is_full(self, name: str, bits: int) -> bool:
        """Whether all `bits` of the field are set."""
        return self.values.get(name) == (1 << bits) - 1

    def block_with(self, purpose: str) -> int | None:
        """The number of the key block with `purpose`."""
        for number in range(6):
            if self.words.get(f"KEY_PURPOSE_{number}") == purpose:
                return number
        return None

    def revision(self) -> int:
        """Chip revision, major * 100 + minor."""
        return int(self.words["WAFER_VERSION_MAJOR"]) * 100 + int(self.words["WAFER_VERSION_MINOR"])


@dataclass(frozen=True)
class Wanted:
    """What the firmware and its owner ask of the chip.

    Attributes:
        min_revision: the build's least chip revision, which ESP-IDF's code for the ESP32-P4 looks at.
        flash_encryption: release mode.
        key_bits: 128 or 256 bits of AES.
        digests: the digests of the signing keys by slot; none without secure boot.
        hmac_block: number of the key block that must hold the NVS HMAC key.
        ecdsa384: CONFIG_SECURE_BOOT_ECDSA_KEY_LEN_384_BITS.
        aggressive_revoke: CONFIG_SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE.
    """

    min_revision: int
    flash_encryption: bool = False
    key_bits: int = 128
    digests: tuple[bytes, ...] = ()
    hmac_block: int | None = None
    ecdsa384: bool = False
    aggressive_revoke: bool = False


def not_release(chip: str, efuses: Efuses, wanted: Wanted) -> list[str]:
    """The conditions for release mode that are not met, each once; empty when the chip is as it should be."""
    unmet: list[str] = []
    if wanted.flash_encryption:
        unmet += _esp32_flash_encryption(efuses) if chip == "esp32" else _flash_encryption(chip, efuses, wanted)
        unmet += _flash_key(chip, efuses, wanted)
    if wanted.digests:
        unmet += _esp32_secure_boot(efuses) if chip == "esp32" else _secure_boot(chip, efuses, wanted)
        unmet += _digests(chip, efuses, wanted)
    if wanted.hmac_block is not None:
        unmet += _hmac_key(efuses, wanted.hmac_block)
    unmet += _nothing_left_open(chip, efuses)
    return list(dict.fromkeys(unmet))


def not_development(chip: str, efuses: Efuses, wanted: Wanted) -> list[str]:
    """The same for development mode: on, the key protected, and everything that must stay open, open."""
    count = "FLASH_CRYPT_CNT" if chip == "esp32" else "SPI_BOOT_CRYPT_CNT"
    unmet = list(_flash_key(chip, efuses, wanted))
    unmet += _unmet(efuses.values[count] == 1, f"{count} is 1: on, and can be turned off and on again")
    for name in (count, "RD_DIS", "DIS_ICACHE"):
        unmet += _unmet(name not in efuses.locked, f"{name} can still be burned")
    open_fields = ("DISABLE_DL_ENCRYPT", "DIS_DOWNLOAD_MANUAL_ENCRYPT", *_DOWNLOAD_CLOSED, "UART_DOWNLOAD_DIS")
    for name in open_fields:
        unmet += _unmet(not efuses.is_set(name), f"{name} stays open")
    closed = [_FIELDS_OF[name] for name in _DOWNLOAD_CAPABILITIES if chip != "esp32" and has(chip, name)]
    for name in ["DISABLE_DL_DECRYPT", "DISABLE_DL_CACHE"] if chip == "esp32" else closed:
        unmet += _unmet(efuses.is_set(name), f"{name}: the download mode must not read decrypted flash")
    if wanted.hmac_block is not None:
        unmet += _hmac_key(efuses, wanted.hmac_block)
    return unmet


def _unmet(met: bool, condition: str) -> list[str]:
    return [] if met else [condition]


def _esp32_flash_encryption(efuses: Efuses) -> Iterator[str]:
    yield from _unmet(efuses.values["FLASH_CRYPT_CNT"].bit_count() % 2 == 1, "flash encryption is on")
    yield from _unmet(efuses.is_full("FLASH_CRYPT_CONFIG", 4), "FLASH_CRYPT_CONFIG is 0xF")
    for_ever = efuses.is_full("FLASH_CRYPT_CNT", 7) or "FLASH_CRYPT_CNT" in efuses.locked
    yield from _unmet(for_ever, "FLASH_CRYPT_CNT is full or write-protected")
    for name in ("DISABLE_DL_ENCRYPT", "DISABLE_DL_DECRYPT", "DISABLE_DL_CACHE"):
        yield from _unmet(efuses.is_set(name), f"{name} is set")
    for name in ("JTAG_DISABLE", "CONSOLE_DEBUG_DISABLE"):
        yield from _unmet(efuses.is_set(name), f"{name} is set")
    yield from _unmet("DIS_CACHE" in efuses.locked, "DIS_CACHE is write-protected")
    yield from _unmet(bool(efuses.values["RD_DIS"] & 1), "the flash encryption key is read-protected")
    yield from _unmet("BLOCK1" in efuses.locked, "the flash encryption key is write-protected")


def _flash_encryption(chip: str, efuses: Efuses, wanted: Wanted) -> Iterator[str]:
    yield from _unmet(efuses.values["SPI_BOOT_CRYPT_CNT"].bit_count() % 2 == 1, "flash encryption is on")
    for_ever = efuses.is_full("SPI_BOOT_CRYPT_CNT", 3) or "SPI_BOOT_CRYPT_CNT" in efuses.locked
    yield from _unmet(for_ever, "SPI_BOOT_CRYPT_CNT is full or write-protected")
    yield from _unmet(efuses.is_set("DIS_DOWNLOAD_MANUAL_ENCRYPT"), "DIS_DOWNLOAD_MANUAL_ENCRYPT is set")
    yield from _burned(chip, efuses, _DOWNLOAD_CAPABILITIES)
    yield from _jtag(chip, efuses)
    yield from _burned(chip, efuses, _BOOT_CAPABILITIES)
    if has(chip, "SOC_EFUSE_DIS_ICACHE"):
        yield from _unmet("DIS_ICACHE" in efuses.locked, "DIS_ICACHE is write-protected")
    if _has_pseudo_rounds(chip, efuses, wanted):
        yield from _unmet(efuses.is_set("XTS_DPA_PSEUDO_LEVEL"), "XTS_DPA_PSEUDO_LEVEL is 1 or more")


def _has_pseudo_rounds(chip: str, efuses: Efuses, wanted: Wanted) -> bool:
    """As ``spi_flash_encrypt_ll_is_pseudo_rounds_function_supported`` (components/esp_hal_mspi)."""
    if not has(chip, "SOC_FLASH_ENCRYPTION_XTS_AES_SUPPORT_PSEUDO_ROUND"):
        return False
    if chip == "esp32h2":
        return efuses.revision() >= 102
    return chip != "esp32p4" or wanted.min_revision >= 300


def _burned(chip: str, efuses: Efuses, capabilities: tuple[str, ...]) -> Iterator[str]:
    for capability in capabilities:
        if has(chip, capability):
            field = _FIELDS_OF[capability]
            yield from _unmet(efuses.is_set(field), f"{field} is set")


def _jtag(chip: str, efuses: Efuses) -> Iterator[str]:
    if has(chip, "SOC_EFUSE_SOFT_DIS_JTAG") and efuses.is_full("SOFT_DIS_JTAG", 1 if chip == "esp32s2" else 3):
        if any(efuses.block_with(purpose) is not None for purpose in ("HMAC_DOWN_JTAG", "HMAC_DOWN_ALL")):
            return
    yield from _burned(chip, efuses, _JTAG_CAPABILITIES)
    if has(chip, "SOC_EFUSE_HARD_DIS_JTAG"):
        # espefuse calls the same bit DIS_PAD_JTAG on the S3
        met = efuses.is_set("HARD_DIS_JTAG") or efuses.is_set("DIS_PAD_JTAG")
        yield from _unmet(met, "HARD_DIS_JTAG is set")


def _flash_key(chip: str, efuses: Efuses, wanted: Wanted) -> Iterator[str]:
    """ESP-IDF checks the protections of whichever keys it finds; this also asks that they are there, both halves."""
    if chip == "esp32":
        yield from _secret_block(efuses, "BLOCK1", "the flash encryption key")
        return
    if has(chip, "SOC_EFUSE_CONSISTS_OF_ONE_KEY_BLOCK"):
        yield from _unmet("BLOCK_KEY0_LOW_128" in efuses.hidden, "the flash encryption key is read-protected")
        yield from _unmet("BLOCK_KEY0" in efuses.locked, "the flash encryption key is write-protected")
        whole = not wanted.digests
        yield from _unmet(efuses.is_set("XTS_KEY_LENGTH_256") == whole, "XTS_KEY_LENGTH_256 fits the key")
        if whole:
            yield from _unmet("BLOCK_KEY0_HI_128" in efuses.hidden, "the key's second half is read-protected")
        return
    parts = _FLASH_KEY_PURPOSES[1:] if wanted.key_bits == 256 else _FLASH_KEY_PURPOSES[:1]
    for purpose in _FLASH_KEY_PURPOSES:
        block = efuses.block_with(purpose)
        yield from _unmet((block is not None) == (purpose in parts), f"{purpose} is there if and only if it is wanted")
        if block is not None:
            yield from _secret_block(efuses, f"BLOCK_KEY{block}", purpose)
            yield from _unmet(f"KEY_PURPOSE_{block}" in efuses.locked, f"the purpose {purpose} is write-protected")


def _secret_block(efuses: Efuses, block: str, what: str) -> Iterator[str]:
    yield from _unmet(block in efuses.hidden, f"{what} is read-protected")
    yield from _unmet(block in efuses.locked, f"{what} is write-protected")
    yield from _unmet(not efuses.is_set(block), f"{what} reads as zeros")


def _hmac_key(efuses: Efuses, block: int) -> Iterator[str]:
    yield from _unmet(efuses.block_with("HMAC_UP") == block, f"the NVS HMAC key is in BLOCK_KEY{block}")
    yield from _secret_block(efuses, f"BLOCK_KEY{block}", "the NVS HMAC key")
    yield from _unmet(f"KEY_PURPOSE_{block}" in efuses.locked, "the purpose of the NVS HMAC key is write-protected")


def _esp32_secure_boot(efuses: Efuses) -> Iterator[str]:
    yield from _unmet(efuses.is_set("ABS_DONE_1") and efuses.revision() >= 300, "secure boot V2 is on")
    yield from _unmet(not efuses.is_set("ABS_DONE_0"), "secure boot V1 is off")
    yield from _unmet("BLOCK2" in efuses.locked, "the digest is write-protected")
    for name in ("JTAG_DISABLE", "CONSOLE_DEBUG_DISABLE", "UART_DOWNLOAD_DIS"):
        yield from _unmet(efuses.is_set(name), f"{name} is set")
    yield from _unmet("RD_DIS" in efuses.locked, "RD_DIS is write-protected")


def _secure_boot(chip: str, efuses: Efuses, wanted: Wanted) -> Iterator[str]:
    yield from _unmet(efuses.is_set("SECURE_BOOT_EN"), "secure boot is on")
    yield from _burned(chip, efuses, _BOOT_CAPABILITIES)
    yield from _jtag(chip, efuses)
    curves_can_change = has(chip, "SOC_ECDSA_P192_CURVE_DEFAULT_DISABLED") and (
        chip != "esp32h2" or efuses.revision() >= 102  # ecdsa_ll_is_configurable_curve_supported
    )
    if curves_can_change:
        fixed = "ECDSA_CURVE_MODE" in efuses.locked or efuses.values["ECDSA_CURVE_MODE"] == _LOCKED_TO_P256
        yield from _unmet(fixed, "ECDSA_CURVE_MODE is write-protected")
    if wanted.aggressive_revoke:
        yield from _unmet(efuses.is_set("SECURE_BOOT_AGGRESSIVE_REVOKE"), "SECURE_BOOT_AGGRESSIVE_REVOKE is set")
    yield from _unmet("RD_DIS" in efuses.locked, "RD_DIS is write-protected")
    if has(chip, "SOC_ECDSA_SUPPORT_CURVE_P384"):
        if wanted.ecdsa384:
            yield from _unmet(efuses.is_set("SECURE_BOOT_SHA384_EN"), "SECURE_BOOT_SHA384_EN is set")
        elif has(chip, "SOC_EFUSE_SECURE_BOOT_P384_WR_DIS"):
            yield from _unmet("SECURE_BOOT_SHA384_EN" in efuses.locked, "SECURE_BOOT_SHA384_EN is write-protected")
    if not wanted.ecdsa384:
        yield from _unmet(not efuses.is_set("SECURE_BOOT_SHA384_EN"), "SECURE_BOOT_SHA384_EN is 0")


def _digests(chip: str, efuses: Efuses, wanted: Wanted) -> Iterator[str]:
    """Beyond ESP-IDF: the right digest in each slot, and the slots without a key revoked."""
    if chip == "esp32":
        yield from _digest(efuses, "BLOCK2", efuses.blocks[2], wanted.digests[0])
    elif has(chip, "SOC_EFUSE_CONSISTS_OF_ONE_KEY_BLOCK"):
        yield from _digest(efuses, "BLOCK_KEY0_HI_128", efuses.blocks[3][16:32], wanted.digests[0][:16])
    else:
        for slot, purpose in enumerate(_DIGEST_PURPOSES):
            yield from _slot(efuses, slot, purpose, wanted)


def _slot(efuses: Efuses, slot: int, purpose: str, wanted: Wanted) -> Iterator[str]:
    block = efuses.block_with(purpose)
    revoked = efuses.is_set(f"SECURE_BOOT_KEY_REVOKE{slot}")
    if slot >= len(wanted.digests):
        yield from _unmet(revoked, f"the unused slot {slot} is revoked")
        yield from _unmet(block is None, f"the unused slot {slot} is empty")
        return
    yield from _unmet(not revoked, f"slot {slot} is not revoked")
    yield from _unmet(block is not None, f"there is a key with the purpose {purpose}")
    if block is not None:
        yield from _digest(efuses, f"BLOCK_KEY{block}", efuses.blocks[block + 4], wanted.digests[slot])
        yield from _unmet(f"KEY_PURPOSE_{block}" in efuses.locked, f"the purpose {purpose} is write-protected")


def _digest(efuses: Efuses, block: str, content: bytes, expected: bytes) -> Iterator[str]:
    yield from _unmet(block not in efuses.hidden, f"the digest in {block} is readable")
    yield from _unmet(block in efuses.locked, f"the digest in {block} is write-protected")
    yield from _unmet(content == expected, f"{block} holds the digest of the signing key")


def _nothing_left_open(chip: str, efuses: Efuses) -> Iterator[str]:
    """ESP-IDF asks this with secure boot only, and on no chip of flash encryption alone."""
    if chip != "esp32":
        yield from _unmet(any(efuses.is_set(name) for name in _DOWNLOAD_CLOSED), "the download mode is closed")
        if chip == "esp32p4" and efuses.revision() >= 302 and efuses.is_set("ENABLE_SECURITY_DOWNLOAD"):
            # or the flash is without power in that mode (esptool, espefuse/efuse/esp32p4/fields.py)
            yield from _unmet(efuses.is_set("DOWNLOAD_MODE_XPD_ON"), "DOWNLOAD_MODE_XPD_ON is set")
    elif efuses.revision() >= 300:
        yield from _unmet(efuses.is_set("UART_DOWNLOAD_DIS"), "UART_DOWNLOAD_DIS is set")
