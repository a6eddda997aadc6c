# SPDX-License-Identifier: Apache-2.0
"""What can sign an image, wherever the private key lives: the one interface of all signers."""

from __future__ import annotations

from typing import Protocol

from secure_ext.keys.signing import SignatureScheme, VerificationKey


class Signer(Protocol):
    """A PEM file (`SigningKey`), a token (`TokenSigner`) or a signing service that has answered (`DetachedSigner`)."""

    @property
    def verification_key(self) -> VerificationKey:
        """The public half of the key."""

    @property
    def scheme(self) -> SignatureScheme:
        """The signature scheme of the key."""

    def sign(self, digest: bytes) -> bytes:
        """Sign the hash of an image, made with ``scheme.hash_name``.

        Returns:
            For RSA 384 bytes, big-endian: RSA-PSS, MGF1 with SHA-256, 32 bytes of salt. For ECDSA the DER pair (r, s).
        """
