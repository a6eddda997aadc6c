# SPDX-License-Identifier: Apache-2.0
"""Opens the private key in a PEM file, with its passphrase if it has one."""

from __future__ import annotations

from typing import Any

import cryptography
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from secure_ext.errors import InputError
from secure_ext.keys.pem import PemKey, damaged_key
from secure_ext.keys.secret_source import SecretKind, SecretSource, SecretWanted

_SINCE = 39
_UNTRIED: dict[str, Any] = (
    {"unsafe_skip_rsa_key_validation": True} if int(cryptography.__version__.partition(".")[0]) >= _SINCE else {}
)
"""Trying whether the factors of an RSA key are primes takes longer than all else.

A signing key signs as soon as it is opened, which is verified with the public half, and so is each signature of an
image: a key whose parts do not fit is refused, and no faulty signature, which could tell a factor, leaves the process.
"""


def open_private_key(pem: PemKey, secrets: SecretSource, key_number: int, *, signs_at_once: bool = False) -> object:
    """The private key as an object of ``cryptography``, of whatever kind.

    Of one that `signs_at_once`, with a signature that is verified, nobody tries whether its RSA factors are primes.

    Raises:
        InputError: SE603 locked, and no passphrase; SE606 damaged; SE640 the passphrase is wrong, SE641 it is locked in
            a way that is not supported.
        UnsupportedAlgorithm: an unlocked key of a kind that the library does not know.
    """
    passphrase = _passphrase(pem, secrets, key_number) if pem.is_locked else None
    try:
        return serialization.load_pem_private_key(pem.text, password=passphrase, **(_UNTRIED if signs_at_once else {}))
    except UnsupportedAlgorithm:
        if pem.is_locked:
            raise _cannot_be_opened(pem.place) from None
        raise
    except (ValueError, TypeError):
        raise _wrong_passphrase(pem.place) if pem.is_locked else damaged_key(pem.place) from None


def _passphrase(pem: PemKey, secrets: SecretSource, key_number: int) -> bytes:
    passphrase = secrets.secret(SecretWanted(SecretKind.PASSPHRASE, key_number, pem.place))
    if not passphrase:
        raise InputError(
            "SE603",
            "the private key is encrypted, and there is no passphrase and no terminal to ask at",
            cure="put it into SECURE_PROVISION_PASSPHRASE, give --passphrase-fd, or run the command at a terminal",
            place=pem.place,
        )
    return passphrase.encode("utf-8", "surrogateescape")


def _wrong_passphrase(place: str) -> InputError:
    return InputError(
        "SE640",
        "the passphrase does not open the private key",
        cure="give the right one; if 'openssl pkey -in KEYFILE -noout' refuses it too, the file is damaged",
        place=place,
    )


def _cannot_be_opened(place: str) -> InputError:
    return InputError(
        "SE641",
        "the private key is encrypted in a way that is not supported",
        cure="encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEYFILE -out NEW_KEYFILE",
        place=place,
    )
