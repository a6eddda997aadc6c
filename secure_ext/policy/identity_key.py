# SPDX-License-Identifier: Apache-2.0
"""The kinds of private keys that a board's identity can have."""

from __future__ import annotations

IDENTITY_KEYS = ("rsa2048", "rsa3072", "rsa4096", "ecdsa256")
"""RSA is done by the digital signature peripheral, with an HMAC key in eFuse; for ECDSA the key itself is in eFuse."""
_RSA = "rsa"


def rsa_bits(kind: str) -> int | None:
    """The length of an RSA key; None for another kind."""
    return int(kind.removeprefix(_RSA)) if kind.startswith(_RSA) else None


def key_purpose(kind: str) -> str:
    """espefuse's name for the purpose of the key that is burned."""
    return "ECDSA_KEY" if rsa_bits(kind) is None else "HMAC_DOWN_DIGITAL_SIGNATURE"
