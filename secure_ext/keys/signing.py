# SPDX-License-Identifier: Apache-2.0
"""Secure Boot V2 signing keys: which kinds exist, how one is read, made, and used."""

from __future__ import annotations

import enum
import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from secure_ext.errors import InputError
from secure_ext.keys.pem import PemKey, damaged_key, read_pem_key, unreadable_key
from secure_ext.keys.private_pem import open_private_key
from secure_ext.keys.secret_source import NO_SECRETS, SecretSource

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

RSA_BITS = 3072
RSA_EXPONENT = 65537
_NIST_NAMES = {"secp192r1": "P-192", "secp224r1": "P-224", "secp521r1": "P-521"}


class SignatureScheme(enum.Enum):
    """The signature schemes of Secure Boot V2 that can be provisioned; the value is the name used in a profile.

    ESP-IDF (``docs/en/security/secure-boot-v2.rst``) also knows ECDSA on P-192. It is left out on purpose: 96 bits
    of security are too few for a key that can never be replaced.
    """

    RSA3072 = "rsa3072"
    ECDSA256 = "ecdsa256"
    ECDSA384 = "ecdsa384"

    @property
    def hash_name(self) -> str:
        """Name (for ``hashlib``) of the hash of the image that is signed: SHA-384 on P-384, else SHA-256."""
        return "sha384" if self is SignatureScheme.ECDSA384 else "sha256"


_CURVES = {"secp256r1": SignatureScheme.ECDSA256, "secp384r1": SignatureScheme.ECDSA384}


@dataclass(frozen=True, eq=False)
class VerificationKey:
    """The public half of a signing key. Two are equal when they are the same key, wherever they were read from."""

    scheme: SignatureScheme
    public_key: PublicKey = field(repr=False)

    @classmethod
    def from_public_key(cls, public_key: object, *, place: str) -> VerificationKey:
        """Wrap a key object of ``cryptography``, when Secure Boot V2 can use it.

        Raises:
            InputError: SE606 impossible modulus, SE607 RSA size, SE608 RSA exponent, SE609 curve, SE610 key type.
        """
        if isinstance(public_key, rsa.RSAPublicKey):
            return cls(_rsa_scheme(public_key, place), public_key)
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            return cls(_curve_scheme(public_key.curve.name, place), public_key)
        raise unsupported_type(type(public_key).__name__.replace("PublicKey", "").lstrip("_"), place)

    @property
    def der(self) -> bytes:
        """The key as DER SubjectPublicKeyInfo."""
        return self.public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def is_valid_signature(self, signature: bytes, digest: bytes) -> bool:
        """Whether ``signature`` (in the form ``Signer.sign`` returns) is this key's signature of ``digest``."""
        try:
            if isinstance(self.public_key, rsa.RSAPublicKey):
                self.public_key.verify(signature, digest, _pss(), utils.Prehashed(hashes.SHA256()))
            else:
                self.public_key.verify(signature, digest, _ecdsa(self.scheme))
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerificationKey) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)


@dataclass(frozen=True, eq=False)
class SigningKey:
    """A private key that signs; the key object never shows in ``repr``."""

    verification_key: VerificationKey
    _private_key: PrivateKey = field(repr=False)

    @property
    def scheme(self) -> SignatureScheme:
        """The signature scheme this key is for."""
        return self.verification_key.scheme

    def sign(self, digest: bytes) -> bytes:
        """Sign the hash of an image, made with ``scheme.hash_name``.

        Returns:
            For RSA 384 bytes, big-endian: RSA-PSS, MGF1 with SHA-256, 32 bytes of salt. For ECDSA the DER pair (r, s).
            Both are randomised: signing twice gives two different, equally valid signatures.
        """
        if isinstance(self._private_key, rsa.RSAPrivateKey):
            return self._private_key.sign(digest, _pss(), utils.Prehashed(hashes.SHA256()))
        return self._private_key.sign(digest, _ecdsa(self.scheme))


def load_signing_key(path: Path, secrets: SecretSource = NO_SECRETS, key_number: int = 1) -> SigningKey:
    """Read a private key from a PEM file.

    Args:
        path: the file.
        secrets: is asked for the passphrase when the key is encrypted.
        key_number: which of the signing keys this is, from 1; for the question.

    Raises:
        InputError: SE601 to SE611; SE603 when no passphrase is there, SE604 when the file holds a public key,
            SE640 when the passphrase does not open the key, SE641 when nothing here could.
    """
    pem = read_pem_key(path)
    if not pem.is_private:
        raise InputError(
            "SE604",
            "the file holds a public key, and signing needs the private key",
            cure="give the private key; a public key can only check signatures that were made elsewhere",
            place=pem.place,
        )
    return _parse_private(pem, secrets, key_number)


def load_verification_key(path: Path, secrets: SecretSource = NO_SECRETS, key_number: int = 1) -> VerificationKey:
    """Read a public key from a PEM file; of a private one, opened as in `load_signing_key`, only that half is kept.

    Raises:
        InputError: SE601 to SE611, SE640, SE641.
    """
    pem = read_pem_key(path)
    if pem.is_private:
        return _parse_private(pem, secrets, key_number).verification_key
    try:
        public_key = serialization.load_pem_public_key(pem.text)
    except UnsupportedAlgorithm:
        raise _unreadable_kind(pem.place) from None
    except ValueError:
        raise damaged_key(pem.place) from None
    return VerificationKey.from_public_key(public_key, place=pem.place)


def generate_signing_key(scheme: SignatureScheme) -> bytes:
    """Make a new private key from the operating system's random numbers.

    Returns:
        The key as unencrypted PEM in the form espsecure writes and every ESP-IDF reads: PKCS #1 for RSA, SEC 1 for EC.
        Write it with ``write_secret_file``.
    """
    private_key: PrivateKey
    if scheme is SignatureScheme.RSA3072:
        private_key = rsa.generate_private_key(public_exponent=RSA_EXPONENT, key_size=RSA_BITS)
    else:
        private_key = ec.generate_private_key(ec.SECP256R1() if scheme is SignatureScheme.ECDSA256 else ec.SECP384R1())
    return private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def key_file_is_exposed(path: Path) -> bool:
    """Whether others than the owner may read or write the file; always False on Windows, where the mode says nothing.

    Raises:
        InputError: SE601 when the file cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise unreadable_key(path, error) from error
    return os.name == "posix" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def _parse_private(pem: PemKey, secrets: SecretSource, key_number: int) -> SigningKey:
    try:
        private_key = open_private_key(pem, secrets, key_number, signs_at_once=True)
    except UnsupportedAlgorithm:
        raise _unreadable_kind(pem.place) from None
    if not isinstance(private_key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise unsupported_type(type(private_key).__name__.replace("PrivateKey", "").lstrip("_"), pem.place)
    key = SigningKey(VerificationKey.from_public_key(private_key.public_key(), place=pem.place), private_key)
    # Older releases of cryptography read an EC key whose stored public half belongs to another private key.
    probe = hashlib.new(key.scheme.hash_name).digest()
    if not key.verification_key.is_valid_signature(key.sign(probe), probe):
        raise damaged_key(pem.place)
    return key


def _rsa_scheme(key: rsa.RSAPublicKey, place: str) -> SignatureScheme:
    numbers = key.public_numbers()
    if key.key_size != RSA_BITS:
        raise InputError(
            "SE607",
            f"the RSA key has {key.key_size} bits; Secure Boot V2 takes only {RSA_BITS}",
            cure=f"make a new key: openssl genrsa -out KEYFILE {RSA_BITS}",
            place=place,
        )
    if numbers.e != RSA_EXPONENT:
        raise InputError(
            "SE608",
            f"the RSA key has the public exponent {numbers.e}; Secure Boot V2 keys use {RSA_EXPONENT}",
            cure=f"make a new key: openssl genrsa -out KEYFILE {RSA_BITS}",
            place=place,
        )
    if numbers.n % 2 == 0:
        raise damaged_key(place)
    return SignatureScheme.RSA3072


def _curve_scheme(name: str, place: str) -> SignatureScheme:
    if name not in _CURVES:
        shown = f"{_NIST_NAMES[name]} ({name})" if name in _NIST_NAMES else name
        raise InputError(
            "SE609",
            f"the EC key is on the curve {shown}; only P-256 (secp256r1) and P-384 (secp384r1) are supported",
            cure="make a new key: openssl ecparam -name prime256v1 -genkey -noout -out KEYFILE "
            "(for P-384 the name is secp384r1)",
            place=place,
        )
    return _CURVES[name]


def unsupported_type(kind: str, place: str) -> InputError:
    """The error for a key that is neither RSA nor on a NIST curve."""
    return InputError(
        "SE610",
        f"the key is of an unsupported kind ({kind})",
        cure="Secure Boot V2 takes RSA-3072, ECDSA P-256 or ECDSA P-384, depending on the chip: make such a key",
        place=place,
    )


def _unreadable_kind(place: str) -> InputError:
    return unsupported_type("the library cannot read it", place)


def _pss() -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)


def _ecdsa(scheme: SignatureScheme) -> ec.ECDSA:
    return ec.ECDSA(utils.Prehashed(hashes.SHA384() if scheme is SignatureScheme.ECDSA384 else hashes.SHA256()))
