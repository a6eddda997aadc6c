# SPDX-License-Identifier: Apache-2.0
"""The signature sector behind an image: its blocks, each checked as the ROM does.

Source: ESP-IDF ``docs/en/security/secure-boot-v2.rst``, "Signature Block Format", and ``rom/secure_boot.h``.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from secure_ext.prove.boot_check.chip_facts import P256, P384, RSA
from secure_ext.prove.boot_check.findings import Refused

SECTOR = 0x1000
_BLOCK = 1216
_COVERED = 1196
_MAGIC = 0xE7
_VERSION_RSA, _VERSION_ECDSA = 2, 3


@dataclass(frozen=True)
class Curve:
    """How a curve is laid out in a block: its number there, bytes of a coordinate and of the image's digest."""

    scheme: str
    curve: ec.EllipticCurve
    curve_id: int
    coordinate: int
    digest: int


_CURVES = {0: Curve(P256, ec.SECP256R1(), 2, 32, 32), 1: Curve(P384, ec.SECP384R1(), 3, 48, 48)}
"""By the third byte of a block."""


@dataclass(frozen=True)
class Signature:
    """A block that is right: its place, from 1 on, its scheme, and the digest of its public key."""

    number: int
    scheme: str
    key_digest: bytes


def signatures(image: bytes, sector: bytes) -> list[Signature | Refused]:
    """For each block of the sector behind `image` (padded to whole sectors): what it is, or what is wrong with it."""
    found: list[Signature | Refused] = []
    end = 0
    while end + _BLOCK <= len(sector) and sector[end] == _MAGIC:
        try:
            found.append(_signature(len(found) + 1, sector[end : end + _BLOCK], image))
        except Refused as refused:
            found.append(refused)
        end += _BLOCK
    if sector[end:].strip(b"\xff"):
        found.append(Refused("BC11", f"what follows after {len(found)} signature blocks is not erased flash"))
    return found


def _signature(number: int, block: bytes, image: bytes) -> Signature:
    name = f"signature block {number}"
    if struct.unpack_from("<I", block, _COVERED)[0] != zlib.crc32(block[:_COVERED]):
        raise Refused("BC11", f"{name} has a wrong CRC")
    if any(block[_COVERED + 4 :]):
        raise Refused("BC11", f"{name} does not end with zeros")
    version, kind = block[1], block[2]
    try:
        if version == _VERSION_RSA:
            return Signature(number, RSA, _rsa_key(block, image))
        if version == _VERSION_ECDSA and kind in _CURVES:
            return Signature(number, _CURVES[kind].scheme, _ecdsa_key(block, image, _CURVES[kind]))
    except InvalidSignature:
        raise Refused("BC11", f"{name}: its signature does not fit the image and its public key") from None
    except ValueError:
        raise Refused("BC11", f"{name}: its public key is not a valid key") from None
    raise Refused("BC11", f"{name} is of an unknown version ({version}, {kind})")


def _rsa_key(block: bytes, image: bytes) -> bytes:
    """RSA-PSS with SHA-256; the key carries two numbers that only speed the hardware up, and must be right."""
    digest = hashlib.sha256(image).digest()
    if block[4:36] != digest:
        raise InvalidSignature
    modulus = int.from_bytes(block[36:420], "little")
    exponent, helper = struct.unpack_from("<I", block, 420)[0], int.from_bytes(block[424:808], "little")
    inverse = struct.unpack_from("<I", block, 808)[0]
    if modulus.bit_length() != 3072 or not modulus & 1:
        raise ValueError("no RSA-3072 key")
    if helper != pow(2, 2 * 3072, modulus) or (inverse * modulus + 1) % (1 << 32):
        raise ValueError("wrong helpers")
    rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(
        block[812:_COVERED][::-1],
        digest,
        padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32),
        Prehashed(hashes.SHA256()),
    )
    return hashlib.sha256(block[36:812]).digest()


def _ecdsa_key(block: bytes, image: bytes, curve: Curve) -> bytes:
    is_p384 = curve.scheme == P384
    digest = (hashlib.sha384 if is_p384 else hashlib.sha256)(image).digest()
    key = 4 + curve.digest
    if block[4:key] != digest:
        raise InvalidSignature
    if block[key] != curve.curve_id:
        raise ValueError("another curve")
    x, y, r, s = (
        int.from_bytes(block[at : at + curve.coordinate], "little")
        for at in range(key + 1, key + 1 + 4 * curve.coordinate, curve.coordinate)
    )
    algorithm = hashes.SHA384() if is_p384 else hashes.SHA256()
    ec.EllipticCurvePublicNumbers(x, y, curve.curve).public_key().verify(
        encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(algorithm))
    )
    return hashlib.sha256(block[key : key + 1 + 2 * curve.coordinate]).digest()
