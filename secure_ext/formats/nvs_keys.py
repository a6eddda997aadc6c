# SPDX-License-Identifier: Apache-2.0
"""The keys of NVS encryption: generated, read from a file, or derived from the HMAC key as the firmware does it.

They lie in the nvs_keys partition as ``nvs_flash_read_security_cfg`` of ESP-IDF (``nvs_flash/src/nvs_api.cpp``)
reads them: 32 bytes of encryption key, 32 bytes of tweak key, their CRC-32, then erased flash. ``nvs_partition_gen
generate-key`` writes the same as a file.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from cryptography.hazmat.primitives import hashes, hmac

from secure_ext.errors import InputError
from secure_ext.formats.nvs_format import crc
from secure_ext.keys.symmetric import generate_secret, load_secret, refuse_weak
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen

NVS_KEYS = "nvs_keys"
"""Role of these keys, and the stem of their file's name in a bundle."""
KEYS_SIZE = 0x1000
"""Bytes of the file, and of the image for the nvs_keys partition."""

_LENGTH = 64
_ENCRYPTION_SEED = (0xAEBE5A5A).to_bytes(4, "little") * 8
_TWEAK_SEED = (0xCEDEA5A5).to_bytes(4, "little") * 8
"""EKEY_SEED and TKEY_SEED of ``components/nvs_sec_provider/nvs_sec_provider.c``."""


@frozen
class NvsKeys:
    """The key of XTS-AES-256 for NVS entries: 32 bytes to encrypt with, then 32 bytes for the tweak."""

    data: bytes = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The public name of these keys, see `secure_ext.station.fingerprint`."""
        return fingerprint(self.data)

    def image(self) -> bytes:
        """The plaintext of the nvs_keys partition: 0x1000 bytes."""
        return (self.data + crc(self.data).to_bytes(4, "little")).ljust(KEYS_SIZE, b"\xff")


def generate_nvs_keys() -> NvsKeys:
    """New keys, from the operating system's random numbers."""
    return NvsKeys(generate_secret(NVS_KEYS, _LENGTH).data)


def derive_nvs_keys(hmac_key: bytes) -> NvsKeys:
    """The keys that the firmware computes with the 32 bytes in its eFuses (``compute_nvs_keys_with_hmac``)."""
    return NvsKeys(_hmac(hmac_key, _ENCRYPTION_SEED) + _hmac(hmac_key, _TWEAK_SEED))


def load_nvs_keys(path: Path) -> NvsKeys:
    """Reads keys as ``nvs_partition_gen generate-key`` writes them.

    Raises InputError SE620 to SE626 as `secure_ext.keys.symmetric.load_secret`, SE544 if the CRC is wrong.
    """
    content = load_secret(path, NVS_KEYS, (KEYS_SIZE,)).data
    return parse_nvs_keys(content, place=str(path))


def parse_nvs_keys(content: bytes, *, place: str) -> NvsKeys:
    """Keys from the content of their file or partition. Raises InputError SE544, SE622 to SE626."""
    keys = NvsKeys(content[:_LENGTH])
    if content != keys.image():
        raise InputError(
            "SE544",
            "this is not a file of NVS keys: its CRC is wrong, or something stands behind it",
            cure="give the file that `nvs_partition_gen generate-key` wrote, or nvs.key: generate",
            place=place,
        )
    refuse_weak(keys.data, (_LENGTH,), place)
    return keys


def _hmac(key: bytes, message: bytes) -> bytes:
    machine = hmac.HMAC(key, hashes.SHA256())
    machine.update(message)
    return machine.finalize()
