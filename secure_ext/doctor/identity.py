# SPDX-License-Identifier: Apache-2.0
"""Rules about the identity of boards: is there room for it, and can the CA issue what is wanted?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa

from secure_ext.doctor.rule import Match, Rule, Severity, Subject
from secure_ext.formats.digital_signature import ciphertext_bytes
from secure_ext.formats.partition_table import covered_by_flash_encryption
from secure_ext.keys.certificates import chain_fault, first_day, last_day, read_chain
from secure_ext.plan.identity_place import identity_partition
from secure_ext.policy.identity import IdentityPolicy
from secure_ext.policy.identity_key import rsa_bits

_ENTRY = 32
"""Bytes of an entry besides its data, with what fills it up."""
_ENTRIES = 6
_CERTIFICATE = 500
"""Bytes of a board's certificate besides names, key and signature: extensions, dates, numbers, with some to spare."""
_EC_SIGNATURE = 144
_UNIT = 0x400


def _no_room(subject: Subject) -> Iterator[Match]:
    identity = subject.policy.identity
    if identity is None:
        return
    row = identity_partition(subject.build.partitions)
    needed = _most_bytes(identity, subject.chip.facts.ds_bits)
    if needed > row.size:
        yield Match(f"partition {row.label}", f"it has 0x{row.size:x} bytes, and an identity can have 0x{needed:x}")


def _most_bytes(identity: IdentityPolicy, ds_bits: int) -> int:
    """The length of a board's identity, or a little more, in whole KB."""
    chain, bits = read_chain(identity.ca), rsa_bits(identity.key)
    key = chain[0].public_key()
    signature = key.key_size // 8 if isinstance(key, rsa.RSAPublicKey) else _EC_SIGNATURE
    names = len(chain[0].subject.public_bytes()) + 2 * len(identity.subject.encode()) + 100
    certificate = _CERTIFICATE + names + signature + (64 if bits is None else bits // 8)
    private = 40 if bits is None else ciphertext_bytes(ds_bits) + 28
    needed = certificate * 7 // 5 + len(identity.ca) + private + 32 + _ENTRIES * _ENTRY
    return -(-needed // _UNIT) * _UNIT


def _no_authority(subject: Subject) -> Iterator[Match]:
    if subject.policy.identity is not None:
        fault = chain_fault(read_chain(subject.policy.identity.ca))
        if fault:
            yield Match("profile: identity.ca", fault)


def _ends_too_early(subject: Subject) -> Iterator[Match]:
    identity = subject.policy.identity
    if identity is None:
        return
    chain, now = read_chain(identity.ca), dt.datetime.now(tz=dt.timezone.utc)
    if now < first_day(chain):
        yield Match("profile: identity.ca", f"it is valid from {first_day(chain):%Y-%m-%d} on, which is later than now")
    elif now + dt.timedelta(days=identity.days) > last_day(chain):
        yield Match(
            "profile: identity.days",
            f"certificates would be valid for {identity.days} days, and the CA ends in {(last_day(chain) - now).days}",
        )


def _in_the_clear(subject: Subject) -> Iterator[Match]:
    if subject.policy.identity is not None and subject.policy.flash_encryption.enabled:
        row = identity_partition(subject.build.partitions)
        if not covered_by_flash_encryption(row):
            yield Match(f"partition {row.label}", "flash encryption leaves it out")


RULES = (
    Rule(
        "SP180",
        Severity.ERROR,
        "partition is too small for the identity of a board",
        _no_room,
        explanation="A board's certificate, those of its CA, and with RSA the ciphertext of the key go into the "
        "partition `esp_secure_cert`. 8 KB hold a certificate with its CA; a chain of several may need more.",
        source="espressif/esp_secure_cert_mgr, docs/format.md",
        cure="make the partition larger in the partition table; or give fewer certificates in identity.ca",
        acceptable=False,
        why="the identity could not be written",
    ),
    Rule(
        "SP181",
        Severity.ERROR,
        "certificate cannot issue certificates",
        _no_authority,
        explanation="The first certificate in the file of `identity.ca` signs those of the boards, and each of the "
        "others has signed the one before it. Whoever is shown a board's certificate refuses it if one of them is not "
        "the certificate of a CA (basic constraints, key usage), or if the chain has a gap.",
        source="RFC 5280, 4.2.1.3, 4.2.1.9 and 6.1.4",
        cure="name the certificate of the CA, and behind it, in this order, those of its issuers",
        acceptable=False,
        why="no server would take such certificates",
    ),
    Rule(
        "SP182",
        Severity.ERROR,
        "CA ends before the certificates of boards",
        _ends_too_early,
        explanation="A certificate is worth nothing any more when one of its issuers has ended, whatever stands in it. "
        "The day on which boards need another one should be known when they are made.",
        source="RFC 5280, 4.1.2.5 and 6.1.3",
        cure="make identity.days less; or renew the CA's certificate first",
        acceptable=False,
        why="`flash` issues no such certificate",
    ),
    Rule(
        "SP183",
        Severity.WARNING,
        "identity is not encrypted in flash",
        _in_the_clear,
        explanation="What the partition holds is no secret: a certificate, and an RSA key only as ciphertext that this "
        "chip alone can use. But without flash encryption whoever has the flash chip can exchange it, and the "
        "board then shows another certificate, or signs no more.",
        source="espressif/esp_secure_cert_mgr, docs/format.md (Partition table entry)",
        cure="give the row the flag `encrypted`: esp_secure_cert, 0x3F, , , 0x2000, encrypted",
    ),
)
