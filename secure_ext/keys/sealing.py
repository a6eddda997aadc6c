# SPDX-License-Identifier: Apache-2.0
"""Seals keys to the public key of someone who is not here, and opens them again with the private one.

X25519: an ephemeral key pair, HKDF-SHA256 over the shared secret and both public keys, AES-256-GCM. RSA: a random key
encrypted with OAEP (SHA-256), AES-256-GCM. What a sealed file says in the open is authenticated with its content.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secure_ext.errors import CheckError, InputError
from secure_ext.keys.ecdsa_key import pem_of_block
from secure_ext.keys.pem import damaged_key, read_pem_key
from secure_ext.keys.private_pem import open_private_key
from secure_ext.keys.secret_source import NO_SECRETS, OFFLINE_KEY, SecretSource
from secure_ext.reading import parse_json, read_json
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import read_document

SCHEMA = 1
X25519, RSA = "X25519-HKDF-SHA256-AES-256-GCM", "RSA-OAEP-SHA256-AES-256-GCM"
LEAST_RSA_BITS = 2048
_INFO = b"idf-secure-provision sealed keys v1\0"

PublicKey = x25519.X25519PublicKey | rsa.RSAPublicKey
PrivateKey = x25519.X25519PrivateKey | rsa.RSAPrivateKey


@frozen
class SealingKey:
    """The public key that keys are sealed to, and its PEM text."""

    public_key: PublicKey
    pem: bytes

    @property
    def fingerprint(self) -> str:
        """Names the key in sealed files."""
        return fingerprint(_der(self.public_key))


@frozen
class Unsealed:
    """What a sealed file holds: what it says in the open, and the keys by name (never shown), of ECDSA as PEM, too."""

    label: dict[str, Any]
    keys: dict[str, bytes] = field(repr=False)
    pem: dict[str, bytes] = field(default_factory=dict, repr=False)

    def files(self) -> dict[str, bytes]:
        """What the folder ``keys`` of a board's bundle has, by name: of a key of 64 bytes the halves as well."""
        whole = self.keys.get("flash_encryption_key", b"")
        halves = (whole[:32], whole[32:]) if len(whole) == 64 else ()
        raw = {**self.keys, **{f"flash_encryption_key_half_{n}": half for n, half in enumerate(halves, 1)}}
        return {
            **{f"{name}.bin": data for name, data in raw.items()},
            **{f"{name}.pem": text for name, text in self.pem.items()},
        }


def generate_sealing_pair() -> tuple[bytes, bytes]:
    """A new X25519 pair: the private key as unencrypted PKCS #8 PEM, and the public key as PEM."""
    private = x25519.X25519PrivateKey.generate()
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return text, _pem(private.public_key())


def load_sealing_key(path: Path) -> SealingKey:
    """Reads the public key of a PEM file.

    Raises:
        InputError: SE601 to SE606, SE611 for a bad file; SE681 when it is the private key; SE682 when it is neither
            X25519 nor RSA of at least 2048 bits.
    """
    pem = read_pem_key(path)
    if pem.is_private:
        raise InputError(
            "SE681",
            "the key to seal to is a private key, which could open what is sealed",
            cure="give its public half here, and keep the private key away from this machine: "
            "openssl pkey -in KEYFILE -pubout -out PUBLIC",
            place=pem.place,
        )
    try:
        public_key = serialization.load_pem_public_key(pem.text)
    except UnsupportedAlgorithm:
        raise _unsuitable(pem.place) from None
    except ValueError:
        raise damaged_key(pem.place) from None
    usable = _usable(public_key, pem.place)
    return SealingKey(usable, _pem(usable))


def seal(keys: Mapping[str, bytes], label: Mapping[str, Any], recipient: SealingKey) -> str:
    """The text of a sealed file.

    Args:
        keys: the secrets, by name.
        label: what the file says in the open, JSON-ready: chip, MAC address, fingerprints.
        recipient: who can open it.
    """
    public_key = recipient.public_key
    if isinstance(public_key, rsa.RSAPublicKey):
        key = secrets.token_bytes(32)
        algorithm, encapsulated = RSA, public_key.encrypt(key, _oaep())
    else:
        ephemeral = x25519.X25519PrivateKey.generate()
        encapsulated = _raw(ephemeral.public_key())
        algorithm, key = X25519, _derive(ephemeral.exchange(public_key), encapsulated, _raw(public_key))
    nonce = secrets.token_bytes(12)
    document = {
        "schema": SCHEMA,
        **label,
        "algorithm": algorithm,
        "recipient": recipient.fingerprint,
        "encapsulated": _text(encapsulated),
        "nonce": _text(nonce),
    }
    content = json.dumps({name: data.hex() for name, data in keys.items()}).encode()
    ciphertext = AESGCM(key).encrypt(nonce, content, _associated(document))
    return json.dumps({**document, "ciphertext": _text(ciphertext)}, indent=2) + "\n"


ROLES = frozenset({"flash_encryption_key", "nvs_hmac_key", *(f"extra_key_{number}" for number in range(6))})
"""The keys that are sealed: those that a device can have for itself."""


def unseal(path: Path, private_key_file: Path, secrets: SecretSource = NO_SECRETS) -> Unsealed:
    """Opens a sealed file; `secrets` is asked for the passphrase of the private key, if it has one.

    Raises:
        InputError: SE601 to SE606, SE611, SE640, SE641 for a bad key file, SE604 a public key in it, SE682 a key
            of another kind; SE683 the file is not a sealed file; SE684 it is sealed to another key.
        CheckError: SE685 the file was changed or is damaged.
    """
    private_key = _load_private(private_key_file, secrets)
    document, encapsulated, nonce, ciphertext = _read(path)
    own = fingerprint(_der(private_key.public_key()))
    if document["recipient"] != own:
        raise InputError(
            "SE684",
            f"the file is sealed to the key {document['recipient']}, and the one given is {own}",
            cure="give the private half of the public key that per_device.seal_to named when the board was made",
            place=str(path),
        )
    try:
        if isinstance(private_key, rsa.RSAPrivateKey):
            key = private_key.decrypt(encapsulated, _oaep())
        else:
            shared = private_key.exchange(x25519.X25519PublicKey.from_public_bytes(encapsulated))
            key = _derive(shared, encapsulated, _raw(private_key.public_key()))
        content = parse_json(AESGCM(key).decrypt(nonce, ciphertext, _associated(document)))
        keys = {str(name): bytes.fromhex(data) for name, data in content.items()}
        if not set(keys) <= ROLES:  # anybody can seal something to a public key
            raise ValueError("names of other keys")
        pem = _as_pem(document, keys)
    except (InvalidTag, ValueError, AttributeError, TypeError):
        raise CheckError(
            "SE685",
            "the sealed file does not open: it was changed after it was written, or is damaged",
            cure="take it from its backup; what it says of board and keys cannot be trusted",
            place=str(path),
        ) from None
    return Unsealed({name: value for name, value in document.items() if name not in _ENVELOPE}, keys, pem)


def _as_pem(label: Mapping[str, Any], keys: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of the keys that espefuse takes as PEM, by name. Raises ValueError, AttributeError, TypeError."""
    facts = FACTS.get(label.get("chip", ""))
    curves = {} if facts is None else facts.ecdsa_curves
    purposes = {row.get("role"): row.get("purpose") for row in label.get("keys", ())}
    return {
        name: pem_of_block(data, curves[purposes[name]]) for name, data in keys.items() if purposes.get(name) in curves
    }


@frozen
class _Sealed:
    """What a sealed file has besides its label."""

    schema: Literal[1]
    algorithm: Literal["X25519-HKDF-SHA256-AES-256-GCM", "RSA-OAEP-SHA256-AES-256-GCM"]
    recipient: str
    encapsulated: str
    nonce: str
    ciphertext: str


_ENVELOPE = ("schema", "algorithm", "recipient", "encapsulated", "nonce", "ciphertext")


def _read(path: Path) -> tuple[dict[str, Any], bytes, bytes, bytes]:
    try:
        document = read_json(path)
        members = document if isinstance(document, dict) else {}
        written = read_document(_Sealed, {name: members[name] for name in _ENVELOPE if name in members})
        texts = (written.encapsulated, written.nonce, written.ciphertext)
        parts = [base64.b64decode(text, validate=True) for text in texts]
    except (OSError, ValueError):  # so is what base64 raises
        raise InputError(
            "SE683",
            "this is not a sealed key file",
            cure="give a file that `secure-provision flash` wrote, such as sealed/MAC.sealed of the bundle",
            place=str(path),
        ) from None
    return document, parts[0], parts[1], parts[2]


def _load_private(path: Path, secrets: SecretSource) -> PrivateKey:
    pem = read_pem_key(path)
    if not pem.is_private:
        raise InputError(
            "SE604",
            "the file holds a public key, and opening a sealed file needs the private key",
            cure="give the private key",
            place=pem.place,
        )
    try:
        private_key = open_private_key(pem, secrets, OFFLINE_KEY)
    except UnsupportedAlgorithm:
        raise _unsuitable(pem.place) from None
    if not isinstance(private_key, (x25519.X25519PrivateKey, rsa.RSAPrivateKey)):
        raise _unsuitable(pem.place)
    return private_key


def _usable(public_key: object, place: str) -> PublicKey:
    if isinstance(public_key, x25519.X25519PublicKey):
        return public_key
    if isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size >= LEAST_RSA_BITS:
        return public_key
    raise _unsuitable(place)


def _unsuitable(place: str) -> InputError:
    return InputError(
        "SE682",
        f"keys can be sealed to X25519 keys and to RSA keys of at least {LEAST_RSA_BITS} bits; this is another",
        cure="make a pair: `secure-provision keys sealing-pair PRIVATE PUBLIC`",
        place=place,
    )


def _associated(document: Mapping[str, Any]) -> bytes:
    """All of a sealed file but the ciphertext, in one form."""
    label = {name: value for name, value in document.items() if name != "ciphertext"}
    return json.dumps(label, sort_keys=True, separators=(",", ":")).encode()


def _derive(shared: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_INFO + ephemeral + recipient)
    return kdf.derive(shared)


def _oaep() -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


def _raw(key: x25519.X25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _der(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pem(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
