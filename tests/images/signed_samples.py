# SPDX-License-Identifier: Apache-2.0
"""Keys of each scheme, and images that are signed with them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from secure_ext.formats.secure_boot import (
    MAX_BLOCKS,
    SECTOR,
    sign,
)
from secure_ext.formats.signature_block import BLOCK_SIZE
from secure_ext.keys.signing import (
    SignatureScheme,
    SigningKey,
    VerificationKey,
    generate_signing_key,
    load_signing_key,
    load_verification_key,
)

IMAGE = bytes(range(256)) * 20 + b"tail"
ECDSA = [SignatureScheme.ECDSA256, SignatureScheme.ECDSA384]
KEY_OFFSET = {SignatureScheme.RSA3072: 36, SignatureScheme.ECDSA256: 36, SignatureScheme.ECDSA384: 52}
SIGNATURE_OFFSET = {SignatureScheme.RSA3072: 812, SignatureScheme.ECDSA256: 101, SignatureScheme.ECDSA384: 149}


@dataclass(frozen=True)
class Keyring:
    """Three keys of one scheme, their private and their public files."""

    private: tuple[Path, ...]
    public: tuple[Path, ...]
    keys: tuple[SigningKey, ...]

    @property
    def verifiers(self) -> tuple[VerificationKey, ...]:
        return tuple(key.verification_key for key in self.keys)


Keyrings = dict[SignatureScheme, Keyring]


def _keyring(scheme: SignatureScheme, directory: Path) -> Keyring:
    private, public = [], []
    for number in range(MAX_BLOCKS):
        private.append(directory / f"{scheme.value}_{number}.pem")
        private[-1].write_bytes(generate_signing_key(scheme))
        public.append(directory / f"{scheme.value}_{number}.pub.pem")
        public_key = load_verification_key(private[-1]).public_key
        public[-1].write_bytes(
            public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    return Keyring(tuple(private), tuple(public), tuple(load_signing_key(path) for path in private))


def flip(image: bytes, offset: int, bit: int = 0) -> bytes:
    changed = bytearray(image)
    changed[offset] ^= 1 << bit
    return bytes(changed)


def with_crc(image: bytes, block: int = 0) -> bytes:
    """The image with the CRC of one block made right again, as somebody would who changes it on purpose."""
    start = len(image) - SECTOR + block * BLOCK_SIZE
    crc = struct.pack("<I", zlib.crc32(image[start : start + 1196]))
    return image[: start + 1196] + crc + image[start + 1200 :]


@pytest.fixture(name="rings", scope="session")
def shared_rings(tmp_path_factory: pytest.TempPathFactory) -> Keyrings:
    directory = tmp_path_factory.mktemp("signing_keys")
    return {scheme: _keyring(scheme, directory) for scheme in SignatureScheme}


@pytest.fixture(name="signed_images", scope="session")
def shared_signed_images(rings: Keyrings) -> dict[SignatureScheme, bytes]:
    return {scheme: sign(IMAGE, ring.keys[:2], place="app.bin") for scheme, ring in rings.items()}
