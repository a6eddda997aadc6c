# SPDX-License-Identifier: Apache-2.0
"""The signatures that a signing service has made: each file goes to its image and its key, or is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from secure_ext.errors import InputError, UsageError
from secure_ext.plan.images import PlannedImage
from secure_ext.policy.signing_entry import Signs
from secure_ext.reading import read_json
from secure_ext.sign.detached import DetachedSigner, Mixup, Suspect
from secure_ext.sign.signature_requests import REQUESTS, SignatureRequest, signature_requests
from secure_ext.sign.signers import BundleSigner


def detached_signers(
    images: Sequence[PlannedImage], signers: Sequence[BundleSigner], folder: Path
) -> dict[tuple[str, bytes], DetachedSigner]:
    """A signer for each signature that is made elsewhere, by image name and public key digest.

    Args:
        images: all images of the bundle.
        signers: its signers.
        folder: holds the answers, and requests.json if they are beside the requests.

    Raises:
        UsageError: SE666 no signature is to be made elsewhere.
        InputError: SE660 answers are missing, SE668 requests.json cannot be read.
    """
    requests = signature_requests(images, signers)
    if not requests:
        raise nothing_to_sign("--signatures")
    missing = [request.answer_file for request in requests if not (folder / request.answer_file).is_file()]
    if missing:
        raise InputError(
            "SE660",
            f"{len(missing)} of {len(requests)} signatures are missing: {', '.join(missing)}",
            cure="put the answers of the signing service into that folder, each under the name in requests.json",
            place=str(folder),
        )
    requested = _requested_digests(folder)
    return {
        (request.image, request.key_digest): DetachedSigner(
            verification_key=request.key,
            answer=folder / request.answer_file,
            image=request.image,
            requested_digest=requested.get(request.answer_file),
            suspects=tuple(_suspects(request, images, signers, requested)),
        )
        for request in requests
    }


def nothing_to_sign(place: str) -> UsageError:
    """The error for a request to sign elsewhere when all is signed here, or is signed already."""
    return UsageError(
        "SE666",
        "no signature is to be made elsewhere: every key can sign here, or its signature is in the images already",
        cure="give the public half (openssl pkey -in KEYFILE -pubout) of the key that signs elsewhere",
        place=place,
    )


def _suspects(
    request: SignatureRequest,
    images: Sequence[PlannedImage],
    signers: Sequence[BundleSigner],
    requested: Mapping[str, bytes],
) -> Iterator[Suspect]:
    """What the answer to a request may be instead."""
    keys = [(f"key {number}", signer.public) for number, signer in enumerate(signers, 1) if signer.public is not None]
    for name, key in keys:
        yield Suspect(Mixup.OTHER_KEY, key, request.digest, name)
    others = signature_requests(images, [replace(signer, private=None, signs=Signs.ALL) for signer in signers])
    for other in others:
        if other.image != request.image:
            by = "" if other.key == request.key else f" by key {other.key_number}"
            yield Suspect(Mixup.OTHER_IMAGE, other.key, other.digest, other.image + by)
    old = requested.get(request.answer_file)
    if old is not None:
        yield from (Suspect(Mixup.OLDER_BUILD, key, old, name) for name, key in keys)


def _requested_digests(folder: Path) -> dict[str, bytes]:
    """The digest that was to be signed, by the name of the answer's file; empty if there is no requests.json."""
    path = folder / REQUESTS
    if not path.is_file():
        return {}
    try:
        document = read_json(path)
        return {str(entry["answer"]): bytes.fromhex(entry["digest"]) for entry in document["requests"]}
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(
            "SE668",
            "the description of the requests cannot be read",
            cure="restore it, or write the requests anew with --to-be-signed",
            place=str(path),
        ) from None
