# SPDX-License-Identifier: Apache-2.0
"""A signed statement about a bundle: an in-toto Statement (SLSA provenance) in a DSSE envelope, beside the manifest.

Sources: https://github.com/secure-systems-lab/dsse (protocol.md, envelope.md), https://in-toto.io/Statement/v1,
https://slsa.dev/provenance/v1. Any implementation of these can verify it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import field
from typing import Any

from secure_ext.bundle.read import CHANGED_BY_A_REHEARSAL, FinishedBundle
from secure_ext.documents.manifest import Manifest
from secure_ext.keys.signer import Signer
from secure_ext.keys.signing import VerificationKey
from secure_ext.reading import parse_json
from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import document_data, members_of, read_document

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:idf-secure-provision:bundle:v1"
IDENTITY = "the bundle"
"""Name of the subject whose digest is `FinishedBundle.identity`: it stands for the whole manifest."""

_BUILD_FILES = {
    "sdkconfig": "config/sdkconfig.json",
    "flasher_args": "flasher_args.json",
    "partition_table": "partition table",
    "profile": "profile",
}


@frozen
class Envelope:
    """A DSSE envelope, decoded: what is signed, of which type, and the signatures."""

    payload: bytes = field(repr=False)
    payload_type: str
    signatures: tuple[bytes, ...] = field(repr=False)

    def is_signed_by(self, key: VerificationKey) -> bool:
        """Whether one of the signatures is this key's. Key ids are hints, and are not looked at."""
        digest = _digest(self.payload_type, self.payload, key)
        return any(key.is_valid_signature(signature, digest) for signature in self.signatures)


@frozen
class _WrittenSignature:
    """A signature, as DSSE's JSON has it."""

    sig: str
    keyid: str | None = None


@frozen
class _WrittenEnvelope:
    """An envelope likewise; the names are the format's."""

    payload: str
    payloadType: str  # noqa: N815
    signatures: tuple[object, ...]


def statement(bundle: FinishedBundle) -> dict[str, Any]:
    """What is signed: the hash of every file but those a rehearsal writes later, and of the whole manifest."""
    manifest = bundle.manifest
    inputs = manifest.inputs
    name, _, version = manifest.tool.partition(" ")
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects(bundle),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "project": manifest.project,
                    "chip": manifest.chip,
                    "options": dict(inputs.options),
                },
                "resolvedDependencies": [
                    {"name": title, "digest": {"sha256": digest}} for title, digest in _dependencies(manifest)
                ],
            },
            "runDetails": {
                "builder": {"id": f"pkg:pypi/{name}@{version}", "version": document_data(inputs.tools)},
                "metadata": {"finishedOn": manifest.created},
            },
        },
    }


def subjects(bundle: FinishedBundle) -> list[dict[str, Any]]:
    """The subjects of a statement about `bundle`."""
    files = bundle.manifest.files.items()
    digests = {name: digest for name, digest in files if name not in CHANGED_BY_A_REHEARSAL}
    digests[IDENTITY] = bundle.identity
    return [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()]


def sign_statement(bundle: FinishedBundle, key: Signer) -> str:
    """The text of ``manifest.dsse.json``: a DSSE envelope with one signature.

    Its key id is the SHA-256 of the public key as DER SubjectPublicKeyInfo. Schemes: ``rsassa-pss-sha256``,
    ``ecdsa-sha2-nistp256``, ``ecdsa-sha2-nistp384``.
    """
    payload = json.dumps(statement(bundle), separators=(",", ":"), sort_keys=True).encode()
    signature = key.sign(_digest(PAYLOAD_TYPE, payload, key.verification_key))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id(key.verification_key), "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, indent=2) + "\n"


def read_envelope(text: bytes) -> Envelope:
    """The envelope in a file. Raises ValueError for what is none."""
    try:
        written = read_document(_WrittenEnvelope, _known(parse_json(text), _WrittenEnvelope))
        signatures = (read_document(_WrittenSignature, _known(item, _WrittenSignature)) for item in written.signatures)
        return Envelope(
            base64.b64decode(written.payload, validate=True),
            written.payloadType,
            tuple(base64.b64decode(item.sig, validate=True) for item in signatures),
        )
    except ValueError as error:  # so is what base64 raises
        raise ValueError(f"it is not a DSSE envelope: {error}") from None


def _known(value: object, kind: type) -> object:
    """An object without the members that DSSE lets others add, and readers ignore."""
    return {name: value[name] for name in members_of(kind) if name in value} if isinstance(value, dict) else value


def is_about(envelope: Envelope, bundle: FinishedBundle) -> bool:
    """Whether the envelope holds a statement about just this bundle."""
    try:
        content = parse_json(envelope.payload)
    except ValueError:
        return False
    members = content if isinstance(content, dict) else {}
    told = tuple(members.get(name) for name in ("_type", "predicateType", "subject"))
    return envelope.payload_type == PAYLOAD_TYPE and told == (STATEMENT_TYPE, PREDICATE_TYPE, subjects(bundle))


def key_id(key: VerificationKey) -> str:
    """SHA-256 of the key as DER SubjectPublicKeyInfo: ``openssl pkey -pubout -outform DER | sha256sum``."""
    return hashlib.sha256(key.der).hexdigest()


def _dependencies(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for member, title in _BUILD_FILES.items():
        if getattr(manifest.inputs, member):
            yield title, getattr(manifest.inputs, member)
    for image in manifest.images:
        if image.source_sha256 is not None:
            yield image.source, image.source_sha256


def _digest(payload_type: str, payload: bytes, key: VerificationKey) -> bytes:
    """The hash of DSSE's pre-authentication encoding, as the key's scheme takes it."""
    encoded = b"DSSEv1 %d %b %d %b" % (len(payload_type.encode()), payload_type.encode(), len(payload), payload)
    return hashlib.new(key.scheme.hash_name, encoded).digest()
