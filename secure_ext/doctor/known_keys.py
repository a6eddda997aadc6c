# SPDX-License-Identifier: Apache-2.0
"""What can be known of the signing keys of a policy without a passphrase and without opening a token."""

from __future__ import annotations

from secure_ext.errors import SecureProvisionError
from secure_ext.formats.signature_block import public_key_digest
from secure_ext.keys.pem import read_pem_key
from secure_ext.keys.signing import load_verification_key
from secure_ext.policy.policy import KeySource


def known_digest(source: KeySource) -> bytes | None:
    """The secure boot digest of a signing key.

    None for a key that is locked, in a token, generated with the bundle or not given, and for a file that is not a key:
    whoever loads it says what is wrong with it.
    """
    if source.digest is not None or source.path is None:
        return source.digest
    try:
        if read_pem_key(source.path).is_locked:
            return None
        return public_key_digest(load_verification_key(source.path))
    except SecureProvisionError:
        return None
