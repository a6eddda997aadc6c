# SPDX-License-Identifier: Apache-2.0
"""X.509 certificates: those of a CA looked at, a board's made and verified."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from secure_ext.policy.identity import subject_of
from secure_ext.station.frozen import frozen

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Chain = Sequence[x509.Certificate]
_DAY = dt.timedelta(days=1)


@frozen
class Authority:
    """A CA: its certificate, those of its issuers behind it, and its private key."""

    chain: tuple[x509.Certificate, ...]
    key: Key = field(repr=False)


@frozen
class Subject:
    """What a certificate is for: the template of its subject, its days, and the board."""

    template: str
    days: int
    mac: str


def read_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text. Raises ValueError if it holds none."""
    return tuple(x509.load_pem_x509_certificates(pem))


def chain_fault(chain: Chain) -> str:
    """Why certificates are not a CA and its issuers, in this order; empty if they are."""
    for certificate, issuer in itertools.pairwise(chain):
        if not is_issued_by(certificate, issuer):
            return f"{name_of(certificate)} is not issued by {name_of(issuer)}, which stands behind it"
    for certificate in chain:
        fault = _authority_fault(certificate)
        if fault:
            return f"{name_of(certificate)} {fault}"
    return ""


def name_of(certificate: x509.Certificate) -> str:
    """Its subject, for people."""
    return certificate.subject.rfc4514_string() or "(no subject)"


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the names fit and the signature verifies."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def last_day(chain: Chain) -> dt.datetime:
    """When the first of them ends, UTC."""
    return min(certificate.not_valid_after_utc for certificate in chain)


def first_day(chain: Chain) -> dt.datetime:
    """When the last of them begins, UTC."""
    return max(certificate.not_valid_before_utc for certificate in chain)


def issue(authority: Authority, public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, subject: Subject) -> bytes:
    """A new certificate for a board, DER, with a random serial number, valid from now on."""
    issuer, now = authority.chain[0], dt.datetime.now(tz=dt.timezone.utc).replace(microsecond=0)
    serial = x509.random_serial_number()
    name = subject_of(subject.template, subject.mac, f"{serial:040x}")
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(max(now - _DAY, first_day(authority.chain)))
        .not_valid_after(now + subject.days * _DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_issuer_identifier(issuer), critical=False)
    )
    return builder.sign(authority.key, _hash_of(authority.key)).public_bytes(serialization.Encoding.DER)


def is_for(certificate: x509.Certificate, subject: Subject) -> bool:
    """Whether the subject of a certificate is that of the board."""
    name = subject_of(subject.template, subject.mac, f"{certificate.serial_number:040x}")
    return certificate.subject == name


def public_der(key: object) -> bytes:
    """A public key as bytes, to compare; empty for one of another kind."""
    if not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        return b""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def throw_away_authority(like: x509.Certificate, days: int) -> Authority:
    """A CA of that name that nobody trusts and whose key is gone afterwards: for rehearsals."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(tz=dt.timezone.utc).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(like.subject)
        .issuer_name(like.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + (days + 1) * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    return Authority((builder.sign(key, hashes.SHA256()),), key)


def _authority_fault(certificate: x509.Certificate) -> str:
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "is not the certificate of a CA"
    except (x509.ExtensionNotFound, ValueError):
        return "is not the certificate of a CA: it has no basic constraints"
    try:
        if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
            return "may not sign certificates (key usage)"
    except x509.ExtensionNotFound:
        pass
    key = certificate.public_key()
    return "" if isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)) else "has a key that is not RSA or EC"


def _issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        if not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
            raise TypeError("not RSA or EC") from None
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _hash_of(key: Key) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    if isinstance(key, rsa.RSAPrivateKey) or key.key_size <= hashes.SHA256.digest_size * 8:
        return hashes.SHA256()
    return hashes.SHA384() if key.key_size <= hashes.SHA384.digest_size * 8 else hashes.SHA512()
