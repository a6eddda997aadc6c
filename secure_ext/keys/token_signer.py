# SPDX-License-Identifier: Apache-2.0
"""Sign with a key that never leaves its PKCS#11 token; the session is open only while it signs."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from secure_ext.errors import CheckError, ToolError
from secure_ext.keys.secret_source import SecretSource
from secure_ext.keys.signing import SignatureScheme, VerificationKey, unsupported_type
from secure_ext.keys.token import key_objects, the_only_key, token_session
from secure_ext.policy.pkcs11_uri import Pkcs11Uri
from secure_ext.station.frozen import frozen


@frozen
class TokenSigner:
    """A key pair in a token; it holds no PIN, only whom to ask for it."""

    uri: Pkcs11Uri
    key_number: int
    verification_key: VerificationKey
    _secrets: SecretSource = field(repr=False)

    @property
    def scheme(self) -> SignatureScheme:
        """The signature scheme this key is for."""
        return self.verification_key.scheme

    def sign(self, digest: bytes) -> bytes:
        """As `Signer.sign`. The signature is verified with the public key before anybody gets it.

        Raises:
            SecureProvisionError: SE644 to SE656 as `token_session`; InputError SE652, SE653 no private key, or several.
            CheckError: SE657 the token made a signature that is not valid.
        """
        with token_session(self.uri, self._secrets, self.key_number, login=True) as session:
            key = the_only_key(key_objects(session, self.uri, private=True), self.uri, private=True)
            if not hasattr(key, "sign"):  # what python-pkcs11 offers follows CKA_SIGN
                raise _not_for_signing(str(self.uri))
            made = key.sign(digest, **_mechanism(self.scheme))
        signature = _as_der(made) if self.scheme is not SignatureScheme.RSA3072 else made
        if not self.verification_key.is_valid_signature(signature, digest):
            raise CheckError(
                "SE657",
                "the token made a signature that its own public key does not accept",
                cure="the two halves under that name may be of different pairs: name the pair by its id as well",
                place=str(self.uri),
            )
        return signature


def open_token_signer(uri: Pkcs11Uri, secrets: SecretSource, key_number: int = 1) -> TokenSigner:
    """The signer for a URI; the token is opened to read the public key, with the PIN only if it hides that one.

    Raises:
        SecureProvisionError: SE644 to SE656 as `token_session`.
        InputError: SE652, SE653 no public key, or several; SE606 to SE610 a key that Secure Boot V2 cannot use.
    """
    with token_session(uri, secrets, key_number, login=False) as session:
        found = key_objects(session, uri, private=False)
        public = _public_key(the_only_key(found, uri, private=False), str(uri)) if found else None
    if public is None:
        with token_session(uri, secrets, key_number, login=True) as session:
            public = _public_key(the_only_key(key_objects(session, uri, private=False), uri, private=False), str(uri))
    return TokenSigner(uri, key_number, VerificationKey.from_public_key(public, place=str(uri)), secrets)


def _public_key(key: Any, place: str) -> object:
    """The public key of the token as an object of ``cryptography``."""
    from pkcs11 import Attribute, KeyType  # noqa: PLC0415 (an extra; there, because a session is)
    from pkcs11.util.ec import encode_ec_public_key  # noqa: PLC0415

    try:
        if key.key_type == KeyType.RSA:
            modulus, exponent = (
                int.from_bytes(key[name], "big") for name in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT)
            )
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        if key.key_type == KeyType.EC:
            return load_der_public_key(encode_ec_public_key(key))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise unsupported_type("its public half cannot be read", place) from None
    raise unsupported_type(str(getattr(key.key_type, "name", key.key_type)), place)


def _mechanism(scheme: SignatureScheme) -> dict[str, Any]:
    """How PKCS#11 calls the signature of a hash (PKCS #11 v2.40, sections 2.1.10 and 2.3.6)."""
    from pkcs11 import MGF, Mechanism  # noqa: PLC0415

    if scheme is SignatureScheme.RSA3072:
        return {"mechanism": Mechanism.RSA_PKCS_PSS, "mechanism_param": (Mechanism.SHA256, MGF.SHA256, 32)}
    return {"mechanism": Mechanism.ECDSA}


def _as_der(pair: bytes) -> bytes:
    """A token returns r and s in a row, of equal length."""
    half = len(pair) // 2
    return encode_dss_signature(int.from_bytes(pair[:half], "big"), int.from_bytes(pair[half:], "big"))


def _not_for_signing(place: str) -> ToolError:
    return ToolError(
        "SE655",
        "the token does not let this key sign",
        cure="make the key with CKA_SIGN (pkcs11-tool: --usage-sign)",
        place=place,
    )
