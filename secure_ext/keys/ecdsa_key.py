# SPDX-License-Identifier: Apache-2.0
"""Private keys for the chip's ECDSA peripheral: read, made, and cut into what key blocks hold.

Source of the form: espefuse, ``base_operations.py`` (`_adjust_key_data_for_blocks`, `_split_multiblock_key`): the
private number in big-endian order, filled up with zeros in front; espefuse turns it round when it burns it.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secure_ext.errors import InputError
from secure_ext.keys.pem import read_pem_key
from secure_ext.keys.private_pem import open_private_key
from secure_ext.keys.secret_source import EXTRA_KEY, NO_SECRETS, SecretSource

BLOCK_BYTES = 32
_PADDING = 8
"""Bytes of zeros in front of a key on P-192."""
_CURVES: dict[str, ec.EllipticCurve] = {"P-192": ec.SECP192R1(), "P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
_OPENSSL_NAMES = {"P-192": "prime192v1", "P-256": "prime256v1", "P-384": "secp384r1"}


def load_ecdsa_key(
    path: Path, curves: tuple[str, ...], secrets: SecretSource = NO_SECRETS
) -> ec.EllipticCurvePrivateKey:
    """The private key in a PEM file.

    Raises:
        InputError: SE601 to SE606, SE611, SE640, SE641 for a bad key file, SE612 for a public key, another kind of key
            or another curve.
    """
    pem = read_pem_key(path)
    key: object = None
    if pem.is_private:
        try:
            key = open_private_key(pem, secrets, EXTRA_KEY)
        except UnsupportedAlgorithm:
            key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in {_CURVES[name].name for name in curves}:
        found = f"one on {key.curve.name}" if isinstance(key, ec.EllipticCurvePrivateKey) else "none"
        raise InputError(
            "SE612",
            f"the PEM file must hold a private key on {' or '.join(curves)}, and it holds {found}",
            cure=f"make one: openssl ecparam -genkey -noout -name {_OPENSSL_NAMES[curves[0]]} -out KEYFILE; "
            "or write key: generate",
            place=str(path),
        )
    return key


def generate_ecdsa_key(curve: str) -> ec.EllipticCurvePrivateKey:
    """A new private key on a curve, ``P-256`` for example."""
    return ec.generate_private_key(_CURVES[curve])


def key_of_block(block: bytes, curve: str) -> ec.EllipticCurvePrivateKey:
    """The key that a block holds, in the order of `key_parts`."""
    return ec.derive_private_key(int.from_bytes(block, "big"), _CURVES[curve])


def pem_of_block(block: bytes, curves: tuple[str, ...]) -> bytes:
    """As PEM the key that a block of 32 bytes holds, in the order of `key_parts`; one on P-192 has zeros in front."""
    curve = curves[-1] if not any(block[:_PADDING]) else curves[0]
    return key_as_pem(key_of_block(block, curve))


def key_parts(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, ...]:
    """What each block of a key holds, 32 bytes each: of one of 384 bits the low half, then the high half."""
    number = key.private_numbers().private_value
    if key.curve.key_size > BLOCK_BYTES * 8:
        whole = number.to_bytes(2 * BLOCK_BYTES, "big")
        return whole[BLOCK_BYTES:], whole[:BLOCK_BYTES]
    return (number.to_bytes(BLOCK_BYTES, "big"),)


def key_as_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as PEM, without a passphrase: as espefuse takes it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
