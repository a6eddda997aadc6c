# SPDX-License-Identifier: Apache-2.0
"""The bytes of a Secure Boot V2 signature block: 1216 of them, up to three in the 4 KB sector behind an image.

One frame for all schemes, from the section "Signature Block Format" of ESP-IDF's ``secure-boot-v2.rst``::

    header 4 | hash of the image | public key | signature | zeros up to 1196 | CRC-32 of all before | 16 zeros

All numbers in it are little-endian, as the hardware wants them.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import field

from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from secure_ext.errors import CheckError, InputError
from secure_ext.formats.image import SIGNATURE_BLOCK_SIZE, has_valid_crc, signature_position, starts_signature_block
from secure_ext.keys.signing import RSA_BITS, SignatureScheme, VerificationKey
from secure_ext.station.flash_sectors import SECTOR_SIZE
from secure_ext.station.frozen import frozen

SECTOR = SECTOR_SIZE
BLOCK_SIZE = SIGNATURE_BLOCK_SIZE
MAX_BLOCKS = 3

_MAGIC = 0xE7
_VERSION_RSA = 2
_VERSION_ECDSA = 3
_HEADER_SIZE = 4
_CRC_OFFSET = 1196
_PADDING = bytes(16)


@frozen
class _Layout:
    """What one scheme puts into the frame; sizes in bytes.

    ``number_size`` is that of one number of the key or signature; ``key_prefix`` is the curve id before an EC point.
    """

    header: bytes
    digest_size: int
    key_size: int
    signature_size: int
    number_size: int
    key_prefix: bytes

    @property
    def key_offset(self) -> int:
        return _HEADER_SIZE + self.digest_size

    @property
    def signature_offset(self) -> int:
        return self.key_offset + self.key_size

    def matches(self, raw: bytes) -> bool:
        return raw.startswith(self.header) and raw.startswith(self.key_prefix, self.key_offset)


_LAYOUTS = {
    SignatureScheme.RSA3072: _Layout(bytes([_MAGIC, _VERSION_RSA, 0, 0]), 32, 776, 384, 384, b""),
    SignatureScheme.ECDSA256: _Layout(bytes([_MAGIC, _VERSION_ECDSA, 0, 0]), 32, 65, 64, 32, b"\x02"),
    SignatureScheme.ECDSA384: _Layout(bytes([_MAGIC, _VERSION_ECDSA, 1, 0]), 48, 97, 96, 48, b"\x03"),
}


@frozen
class SignatureBlock:
    """One signature as it stands in an image.

    ``image_digest`` is the hash the block claims for the image, ``key_digest`` the SHA-256 of its public key that is
    compared with the eFuses, ``crc_valid`` whether its own check sum is right (the ROM skips a block where it is not).
    """

    scheme: SignatureScheme
    image_digest: bytes
    key_digest: bytes
    crc_valid: bool
    raw: bytes = field(repr=False)

    @property
    def signature(self) -> bytes:
        """The signature in the form that ``Signer.sign`` returns."""
        layout = _LAYOUTS[self.scheme]
        stored = self.raw[layout.signature_offset : layout.signature_offset + layout.signature_size]
        if self.scheme is SignatureScheme.RSA3072:
            return stored[::-1]
        return utils.encode_dss_signature(*_numbers(stored, layout.number_size))

    def verification_key(self, *, place: str) -> VerificationKey:
        """The public key inside the block; nobody vouches for it but the block itself.

        Raises:
            CheckError: SE525 when it is no key at all.
            InputError: SE606 to SE608 when it is one that Secure Boot V2 cannot use.
        """
        layout = _LAYOUTS[self.scheme]
        encoded = self.raw[layout.key_offset : layout.signature_offset]
        try:
            public_key = _decode_public_key(self.scheme, encoded)
        except ValueError:
            raise damaged(place, "its public key is not valid") from None
        return VerificationKey.from_public_key(public_key, place=place)


def public_key_digest(key: VerificationKey) -> bytes:
    """The 32 bytes that are burned as secure boot digest: SHA-256 of the public key as a signature block holds it."""
    return hashlib.sha256(_encode_public_key(key)).digest()


def make_block(key: VerificationKey, image_digest: bytes, signature: bytes) -> bytes:
    """The 1216 bytes of a block.

    Args:
        key: the public half of the key that signed.
        image_digest: hash of the padded image, made with ``key.scheme.hash_name``.
        signature: signature of that hash, in the form that ``Signer.sign`` returns.
    """
    layout = _LAYOUTS[key.scheme]
    body = layout.header + image_digest + _encode_public_key(key) + _encode_signature(key.scheme, signature)
    body = body.ljust(_CRC_OFFSET, b"\0")
    return body + struct.pack("<I", zlib.crc32(body)) + _PADDING


def is_signed(image: bytes) -> bool:
    """Whether the image carries a signature sector where the bootloader looks for it."""
    return signature_position(image) is not None


def read_signature_blocks(image: bytes, place: str) -> tuple[SignatureBlock, ...]:
    """The signature blocks of an image in their order; none when it is not signed.

    Nothing is verified here: a block with a wrong CRC is returned and says so.

    Raises:
        CheckError: SE525 when the signature sector is damaged beyond reading.
        InputError: SE526 when a block is of a kind that is not supported, such as ECDSA on P-192.
    """
    position = signature_position(image)
    if position is None:
        return ()
    sector = image[position : position + SECTOR]
    blocks: list[SignatureBlock] = []
    while len(blocks) < MAX_BLOCKS:
        rest = sector[len(blocks) * BLOCK_SIZE :]
        if not starts_signature_block(rest[:BLOCK_SIZE]):
            break
        blocks.append(_parse(rest[:BLOCK_SIZE], f"{place}, signature block {len(blocks) + 1}"))
    if sector[len(blocks) * BLOCK_SIZE :].strip(b"\xff"):
        raise damaged(place, f"after {len(blocks)} signature block(s) it holds bytes that are neither a block nor 0xFF")
    return tuple(blocks)


def damaged(place: str, why: str) -> CheckError:
    """The error for a signature sector that was changed after it was written."""
    return CheckError(
        "SE525",
        f"the signature sector is damaged: {why}",
        cure="sign the unsigned image again; if it came over a network or from a store, compare its hash first",
        place=place,
    )


def _parse(raw: bytes, place: str) -> SignatureBlock:
    crc_valid = has_valid_crc(raw)
    if not raw.endswith(_PADDING):
        raise damaged(place, "the padding after its CRC is not zero")
    for scheme, layout in _LAYOUTS.items():
        if layout.matches(raw):
            key = raw[layout.key_offset : layout.signature_offset]
            digest = raw[_HEADER_SIZE : layout.key_offset]
            return SignatureBlock(scheme, digest, hashlib.sha256(key).digest(), crc_valid, raw)
    if not crc_valid:
        raise damaged(place, "its header and its CRC are wrong")
    raise InputError(
        "SE526",
        f"the signature block is of an unsupported kind (header {raw[:_HEADER_SIZE].hex(' ')})",
        cure="sign the unsigned image with an RSA-3072, ECDSA P-256 or ECDSA P-384 key; P-192 is not supported",
        place=place,
    )


def _encode_public_key(key: VerificationKey) -> bytes:
    if isinstance(key.public_key, rsa.RSAPublicKey):
        numbers = key.public_key.public_numbers()
        size = RSA_BITS // 8
        # The last two are constants for the chip's Montgomery multiplication: R^2 mod n, and -1/n mod 2^32.
        return struct.pack(
            f"<{size}sI{size}sI",
            numbers.n.to_bytes(size, "little"),
            numbers.e,
            pow(2, 2 * RSA_BITS, numbers.n).to_bytes(size, "little"),
            -pow(numbers.n, -1, 1 << 32) % (1 << 32),
        )
    layout = _LAYOUTS[key.scheme]
    point = key.public_key.public_numbers()
    return layout.key_prefix + _little_endian((point.x, point.y), layout.number_size)


def _decode_public_key(scheme: SignatureScheme, encoded: bytes) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    number_size = _LAYOUTS[scheme].number_size
    if scheme is SignatureScheme.RSA3072:
        modulus = int.from_bytes(encoded[:number_size], "little")
        exponent = int.from_bytes(encoded[number_size : number_size + 4], "little")
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    x, y = _numbers(encoded[1:], number_size)
    curve = ec.SECP256R1() if scheme is SignatureScheme.ECDSA256 else ec.SECP384R1()
    return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()


def _encode_signature(scheme: SignatureScheme, signature: bytes) -> bytes:
    if scheme is SignatureScheme.RSA3072:
        return signature[::-1]
    return _little_endian(utils.decode_dss_signature(signature), _LAYOUTS[scheme].number_size)


def _little_endian(pair: tuple[int, int], size: int) -> bytes:
    return b"".join(number.to_bytes(size, "little") for number in pair)


def _numbers(encoded: bytes, size: int) -> tuple[int, int]:
    return int.from_bytes(encoded[:size], "little"), int.from_bytes(encoded[size : 2 * size], "little")
