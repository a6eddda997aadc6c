# SPDX-License-Identifier: Apache-2.0
"""What a profile wants as the identity of each board: the kind of key, the CA, subject and validity."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from secure_ext.chips.chip import Chip
from secure_ext.errors import InputError, UsageError
from secure_ext.policy.identity_key import IDENTITY_KEYS, key_purpose, rsa_bits
from secure_ext.policy.paths import given_path
from secure_ext.policy.profile import Profile
from secure_ext.reading import KEY_FILE_LIMIT, read_file
from secure_ext.station.frozen import frozen

if TYPE_CHECKING:
    from cryptography import x509

_SETTINGS = ("identity.key", "identity.ca", "identity.subject", "identity.days", "identity.block")
_LEAST_LIBRARY = 42
_SUBJECT = "CN={mac}"
_DAYS = 7300
_PLACES = re.compile(r"\{(\w*)\}")
_KNOWN_PLACES = ("mac", "serial")


@frozen
class IdentityPolicy:
    """The identity of each board.

    Attributes:
        key: its kind, one of `IDENTITY_KEYS`.
        ca: the certificate of the CA, and those of its issuers, as PEM and nothing else.
        ca_file: where they come from.
        subject: of the certificates, RFC 4514, with places for the board's values.
        days: how long they are valid.
    """

    key: str
    ca: bytes = field(repr=False)
    ca_file: Path
    subject: str = _SUBJECT
    days: int = _DAYS

    @property
    def purpose(self) -> str:
        """Of the key that is burned."""
        return key_purpose(self.key)


def identity_policy(chip: Chip, profile: Profile) -> IdentityPolicy | None:
    """From the keys ``identity`` of a profile; None if it has none.

    Raises UsageError SE450 for a key that the chip cannot hold, SE451 for what is missing or no subject; InputError
    SE452 for what is no certificate.
    """
    if not any(key in profile.values for key in _SETTINGS):
        return None
    if int(_library().partition(".")[0]) < _LEAST_LIBRARY:
        raise _wrong(f"certificates want the Python package cryptography {_LEAST_LIBRARY} or later, not {_library()}")
    kind, ca = profile.text("identity.key"), profile.text("identity.ca")
    if kind is None or ca is None:
        raise _wrong(f"it does not name {'the kind of key' if kind is None else 'the certificate of the CA'}")
    if not _can_hold(chip, kind):
        kinds = _kinds_of(chip)
        raise UsageError(
            "SE450",
            f"{chip.name} cannot keep an identity with a key {kind} in silicon",
            cure=f"take one of: {', '.join(kinds)}"
            if kinds
            else "it has neither the digital signature peripheral nor "
            "ECDSA keys in eFuse: take identity out of the profile",
            place="profile: identity.key",
        )
    subject = profile.text("identity.subject") or _SUBJECT
    fault = subject_fault(subject)
    if fault:
        raise _wrong(f"its subject cannot be used: {fault}")
    path = given_path(profile.folder, ca)
    return IdentityPolicy(kind, _certificates(path), path, subject, profile.integer("identity.days") or _DAYS)


def subject_of(template: str, mac: str, serial: str) -> x509.Name:
    """The subject of one board; both are hex digits, which need no escaping. Raises ValueError if it is none."""
    from cryptography import x509  # noqa: PLC0415 (slow to import, and only needed here)
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    text = template.replace("{mac}", mac).replace("{serial}", serial)
    return x509.Name.from_rfc4514_string(text, {"serialNumber": NameOID.SERIAL_NUMBER})


def subject_fault(template: str) -> str:
    """Why a text is no subject that differs from board to board; empty if it is one."""
    places = _PLACES.findall(template)
    unknown = [name for name in places if name not in _KNOWN_PLACES]
    if unknown:
        return f"it has a place for {unknown[0] or 'nothing'}; there are {{mac}} and {{serial}}"
    if not places:
        return "it would be the same for all boards: it has neither {mac} nor {serial}"
    try:
        subject_of(template, "0" * 12, "0" * 40)
    except ValueError as error:
        return f"it is not written as RFC 4514 wants it ({error or 'attributes are NAME=VALUE, separated by commas'})"
    return ""


def _library() -> str:
    return importlib.metadata.version("cryptography")


def _kinds_of(chip: Chip) -> list[str]:
    return [kind for kind in IDENTITY_KEYS if _can_hold(chip, kind)]


def _can_hold(chip: Chip, kind: str) -> bool:
    bits = rsa_bits(kind)
    return bits <= chip.facts.ds_bits if bits is not None else key_purpose(kind) in chip.facts.ecdsa_curves


def _certificates(path: Path) -> bytes:
    from cryptography import x509  # noqa: PLC0415 (slow to import, and only needed here)
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    try:
        found = x509.load_pem_x509_certificates(read_file(path, KEY_FILE_LIMIT))
        return b"".join(one.public_bytes(Encoding.PEM) for one in found)
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError:
        why = "it holds no certificate in PEM"
    raise InputError(
        "SE452",
        f"the certificate of the CA cannot be read: {why}",
        cure="give the PEM file of the certificate that signs the boards', and behind it those of its issuers, if any",
        place=str(path),
    )


def _wrong(what: str) -> UsageError:
    return UsageError(
        "SE451",
        f"the identity of boards is not described as it has to be: {what}",
        cure="give identity.key and identity.ca, and as identity.subject something like 'CN={mac},O=Example'",
        place="profile: identity",
    )
