# SPDX-License-Identifier: Apache-2.0
"""The identity of one board: a key pair made in memory, its certificate, and what its partition holds.

An RSA key goes into the partition, encrypted for the digital signature peripheral with what the chip makes of the HMAC
key in eFuse; an ECDSA key is in eFuse itself. So the partition holds no secret, and the private key is nowhere else.
"""

from __future__ import annotations

import datetime as dt
import os
import struct
from dataclasses import field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from secure_ext.bundle.manifest import IDENTITY_PLAIN
from secure_ext.bundle.read import FinishedBundle
from secure_ext.chips.facts import chip_facts
from secure_ext.documents.manifest import BoardIdentity
from secure_ext.errors import CheckError, InputError, UsageError
from secure_ext.formats.digital_signature import IV_BYTES, decrypt_rsa_key, encrypt_rsa_key
from secure_ext.formats.secure_cert import (
    KEY_IN_EFUSE,
    SecureCertEntry,
    SecureCertType,
    read_secure_cert,
    write_secure_cert,
)
from secure_ext.keys.certificates import (
    Authority,
    Chain,
    Key,
    Subject,
    first_day,
    is_for,
    is_issued_by,
    issue,
    last_day,
    name_of,
    public_der,
)
from secure_ext.keys.ecdsa_key import key_of_block
from secure_ext.per_device.authority import chain_of, identity_of
from secure_ext.policy.identity_key import rsa_bits
from secure_ext.reading import IMAGE_LIMIT, read_file
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import KeyStep

_FIRST_KEY_BLOCK = 4
"""Number of BLOCK_KEY0."""
_EXPONENT = 65537
_SECURITY_BYTES = 40
_PEM_END = b"\0"


@frozen
class MadeIdentity:
    """What the partition of a board holds, without flash encryption and up to the erased flash; no secret."""

    content: bytes = field(repr=False)
    certificate: x509.Certificate


def make_identity(bundle: FinishedBundle, key: bytes, mac: str, authority: Authority) -> MadeIdentity:
    """A new identity for a board.

    Args:
        bundle: the one that all boards share.
        key: what is burned for it: the HMAC key, or the ECDSA key in the order of key files.
        mac: the board's, as 12 hex digits.
        authority: the CA.

    Raises InputError SE456 if the CA's certificates are not valid for as long as the board's is to be; CheckError
    SE459 if what was made does not hold what it should.
    """
    identity = _identity(bundle)
    _refuse_what_is_not_valid(authority.chain, identity.days)
    step = _step(bundle, identity)
    subject = Subject(identity.subject, identity.days, mac)
    bits = rsa_bits(identity.key)
    private: Key
    if bits is None:
        private = key_of_block(key, "P-256")
        entries = _for_ecdsa(step)
    else:
        private = made_here = rsa.generate_private_key(_EXPONENT, bits)
        entries = _for_rsa(made_here, key, step, chip_facts(bundle.plan.chip).ds_bits)
    certificate = x509.load_der_x509_certificate(issue(authority, private.public_key(), subject))
    texts = (
        (SecureCertType.CERTIFICATE, certificate.public_bytes(Encoding.PEM)),
        (SecureCertType.CA_CERTIFICATE, b"".join(one.public_bytes(Encoding.PEM) for one in authority.chain)),
    )
    content = write_secure_cert((*(SecureCertEntry(kind, pem + _PEM_END) for kind, pem in texts), *entries))
    made = MadeIdentity(content, certificate)
    fault = _fault(made, authority.chain, subject) or _key_fault(made, private, key, bundle)
    if fault:
        raise CheckError(
            "SE459",
            f"the identity that was made for this board is not right: {fault}",
            cure="this is a defect of secure-provision or of this machine; the board was not touched; report it",
            place=mac,
        )
    return made


def kept_identity(bundle: FinishedBundle, record: FinishedBundle, mac: str) -> MadeIdentity:
    """The identity that an earlier run made for the board, from its record.

    Raises InputError SE457 if it is not one that the bundle's CA has signed for this board.
    """
    identity = _identity(bundle)
    try:
        content = read_file(record.folder / IDENTITY_PLAIN, IMAGE_LIMIT)
        made = MadeIdentity(content, _certificate(content))
        fault = _fault(made, chain_of(bundle, identity), Subject(identity.subject, identity.days, mac))
    except (OSError, ValueError) as error:
        fault = str(error)
    if fault:
        raise InputError(
            "SE457",
            f"the identity in the record of this board is not one of this bundle: {fault}",
            cure="flash the board with the bundle that began it; else take the record from a backup of the journal",
            place=str(record.folder),
        )
    return made


def whole_image(made: MadeIdentity, size: int) -> bytes:
    """What the partition holds, with erased flash up to its end. Raises UsageError SE453 if it is too small."""
    if len(made.content) > size:
        raise UsageError(
            "SE453",
            f"the identity of a board has {len(made.content)} bytes, and its partition has {size}",
            cure="make the partition larger and build again, or leave certificates out of identity.ca",
            place="esp_secure_cert",
        )
    return made.content.ljust(size, b"\xff")


def _identity(bundle: FinishedBundle) -> BoardIdentity:
    identity = identity_of(bundle)
    if identity is None:
        raise ValueError("the boards of this bundle get no identity")
    return identity


def _step(bundle: FinishedBundle, identity: BoardIdentity) -> KeyStep:
    return next(step for step in bundle.plan.keys if step.role == identity.role)


def _refuse_what_is_not_valid(chain: Chain, days: int) -> None:
    now = dt.datetime.now(tz=dt.timezone.utc)
    why = ""
    if now < first_day(chain):
        why = f"the CA is valid from {first_day(chain):%Y-%m-%d} on, and the clock of this machine says {now:%Y-%m-%d}"
    elif now + dt.timedelta(days=days) > last_day(chain):
        why = f"they would be valid for {days} days from now on, and the CA ends on {last_day(chain):%Y-%m-%d}"
    if why:
        raise InputError(
            "SE456",
            f"the CA cannot issue certificates as they are wanted: {why}",
            cure="set the clock; or make the bundle again, with less identity.days or a new certificate of the CA",
            place=name_of(chain[0]),
        )


def _for_ecdsa(step: KeyStep) -> tuple[SecureCertEntry, ...]:
    """That the key is in eFuse, and the number of its block."""
    security = bytes([step.block_number]).ljust(_SECURITY_BYTES, b"\0")
    return (
        SecureCertEntry(SecureCertType.PRIVATE_KEY, b"", KEY_IN_EFUSE),
        SecureCertEntry(SecureCertType.SECURITY, security),
    )


def _for_rsa(private: rsa.RSAPrivateKey, hmac_key: bytes, step: KeyStep, most_bits: int) -> tuple[SecureCertEntry, ...]:
    """The ciphertext of the key, and where the HMAC key is (esp_ds_data_ctx_t: a pointer, block, padding, bits)."""
    iv = os.urandom(IV_BYTES)
    ciphertext = encrypt_rsa_key(private, hmac_key, most_bits, iv)
    context = struct.pack("<IBxH", 0, step.block_number - _FIRST_KEY_BLOCK, private.key_size)
    return (
        SecureCertEntry(SecureCertType.DS_DATA, struct.pack("<i", private.key_size // 32 - 1) + iv + ciphertext),
        SecureCertEntry(SecureCertType.DS_CONTEXT, context),
    )


def _entry(content: bytes, kind: SecureCertType) -> bytes:
    found = [entry.data for entry in read_secure_cert(content) if entry.kind == kind]
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} entries of kind {kind.value}, not one")
    return found[0]


def _certificate(content: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(_entry(content, SecureCertType.CERTIFICATE).rstrip(_PEM_END))


def _fault(made: MadeIdentity, chain: Chain, subject: Subject) -> str:
    """What is wrong with a certificate, read back from the partition's content; empty if nothing is."""
    found = _certificate(made.content)
    if found != made.certificate or not is_issued_by(found, chain[0]):
        return f"its certificate is not one of {name_of(chain[0])}"
    return "" if is_for(found, subject) else f"its certificate is that of {name_of(found)}"


def _key_fault(made: MadeIdentity, private: Key, key: bytes, bundle: FinishedBundle) -> str:
    """Whether the chip will sign with the key of the certificate, read back as the chip does."""
    if public_der(made.certificate.public_key()) != public_der(private.public_key()):
        return "its certificate is for another key"
    if isinstance(private, rsa.RSAPrivateKey):
        data = _entry(made.content, SecureCertType.DS_DATA)[4:]
        numbers = private.private_numbers()
        bits = chip_facts(bundle.plan.chip).ds_bits
        found = decrypt_rsa_key(data[IV_BYTES:], key, bits, data[:IV_BYTES])
        return "" if found == (numbers.d, numbers.public_numbers.n) else "its ciphertext holds another key"
    return ""
