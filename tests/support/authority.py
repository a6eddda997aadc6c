# SPDX-License-Identifier: Apache-2.0
"""A CA for the certificates of boards: files as its owner would have them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secure_ext.formats.partition_table import FLAG_ENCRYPTED, Partition
from secure_ext.sample.options import SampleOptions, partitions_of

IDENTITY_ROW = Partition("esp_secure_cert", 0x3F, 6, 0x3F0000, 0x2000, FLAG_ENCRYPTED)
_DAY = dt.timedelta(days=1)


def with_identity_row(row: Partition = IDENTITY_ROW) -> tuple[Partition, ...]:
    """The sample's partition table, with a place for the identity of a board."""
    return (*partitions_of(SampleOptions(app_size=20_000)), row)


def write_authority(
    folder: Path, *, days: int = 9000, is_ca: bool = True, intermediates: int = 0, passphrase: bytes | None = None
) -> tuple[Path, Path]:
    """``ca.pem``, the issuing CA first and its root last, and ``ca_key.pem``."""
    chain: list[x509.Certificate] = []
    issuer_key = None
    for number in range(intermediates + 1):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name.from_rfc4514_string(f"CN=Example CA {number},O=Example")
        is_last = number == intermediates
        chain.insert(0, _certificate(name, key, chain[0] if chain else None, issuer_key, days, is_ca or not is_last))
        issuer_key = key
    certificate, private = folder / "ca.pem", folder / "ca_key.pem"
    certificate.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain))
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    private.chmod(0o600)
    return certificate, private


def _certificate(  # noqa: PLR0917 (what a certificate is made of)
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey | None,
    days: int,
    is_ca: bool,
) -> x509.Certificate:
    now, signer = dt.datetime.now(tz=dt.timezone.utc), issuer_key or key
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(_usage(is_ca=is_ca), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer_key or key).public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _usage(*, is_ca: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    unused = dict.fromkeys((*others, "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca, **unused)
