# SPDX-License-Identifier: Apache-2.0
"""The CA of the boards' certificates, at the station: its certificates lie in the bundle, its key does not."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from secure_ext.bundle.manifest import IDENTITY_CA
from secure_ext.bundle.read import FinishedBundle
from secure_ext.documents.manifest import BoardIdentity
from secure_ext.errors import InputError, UsageError
from secure_ext.keys.certificates import Authority, name_of, public_der, read_chain, throw_away_authority
from secure_ext.keys.pem import read_pem_key
from secure_ext.keys.private_pem import open_private_key
from secure_ext.keys.secret_source import CA_KEY, SecretSource
from secure_ext.policy.key_uri import is_key_uri
from secure_ext.reading import KEY_FILE_LIMIT, read_file


def identity_of(bundle: FinishedBundle) -> BoardIdentity | None:
    """What each board of a bundle gets as its identity; None if it gets none."""
    return None if bundle.manifest.per_device is None else bundle.manifest.per_device.identity


def chain_of(bundle: FinishedBundle, identity: BoardIdentity) -> tuple[x509.Certificate, ...]:
    """The certificates of the CA. Raises InputError SE731 if they are not those that the bundle was made with."""
    try:
        content = read_file(bundle.folder / IDENTITY_CA, KEY_FILE_LIMIT)
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != identity.ca:
        raise InputError(
            "SE731",
            f"{IDENTITY_CA} is missing, or is not the file that the bundle was made with",
            cure="make the bundle again, or copy the whole of it again",
            place=str(bundle.folder),
        )
    return read_chain(content)


def open_authority(
    bundle: FinishedBundle, identity: BoardIdentity, key_file: str | None, secrets: SecretSource
) -> Authority:
    """The CA with its private key.

    Raises UsageError SE454 if no key is given, or another one than that of the certificate; InputError SE601 to SE641
    for a bad key file.
    """
    chain = chain_of(bundle, identity)
    if key_file is None or is_key_uri(key_file):
        raise UsageError(
            "SE454",
            "the boards of this bundle get certificates, and the CA's private key is "
            + ("not given" if key_file is None else "in a token, which is not supported for a CA yet"),
            cure="give its PEM file with --ca-key; the key stays out of the bundle",
            place="--ca-key",
        )
    pem = read_pem_key(Path(key_file))
    key: object = None
    if pem.is_private:
        try:
            key = open_private_key(pem, secrets, CA_KEY)
        except UnsupportedAlgorithm:
            key = None
    fits = isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)) and (
        public_der(key.public_key()) == public_der(chain[0].public_key())
    )
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)) or not fits:
        raise UsageError(
            "SE454",
            f"this is not the private key of the CA's certificate, {name_of(chain[0])}",
            cure="give the key that the certificate in identity.ca was made for; nothing was burned",
            place=key_file,
        )
    return Authority(chain, key)


def authority_of_a_rehearsal(bundle: FinishedBundle, identity: BoardIdentity) -> Authority:
    """One that nobody trusts, with the name of the CA."""
    return throw_away_authority(chain_of(bundle, identity)[0], identity.days)
