# SPDX-License-Identifier: Apache-2.0
"""Which signatures have to be made elsewhere: a request for each image and each key with only a public half."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import field

from secure_ext.formats.secure_boot import content_to_sign, public_key_digest, read_signature_blocks
from secure_ext.keys.signing import VerificationKey
from secure_ext.plan.images import PlannedImage
from secure_ext.sign.signers import BundleSigner
from secure_ext.station.frozen import frozen

REQUESTS = "requests.json"
"""File that describes all requests of a folder."""


@frozen
class SignatureRequest:
    """One signature that a signing service has to make.

    Attributes:
        image: name of the image in the bundle.
        source: where the image comes from, for people.
        key_number: which of the signing keys, from 1.
        key: its public half.
        content: what the signature covers: the image padded to whole sectors, without a signature sector.
    """

    image: str
    source: str
    key_number: int
    key: VerificationKey
    content: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The hash of the content that is signed, as the key's scheme wants it."""
        return hashlib.new(self.key.scheme.hash_name, self.content).digest()

    @property
    def key_digest(self) -> bytes:
        """What identifies the key: the secure boot digest of its public half."""
        return public_key_digest(self.key)

    @property
    def content_file(self) -> str:
        """Name of the file with the content."""
        return f"{self.image}.bin"

    @property
    def digest_file(self) -> str:
        """Name of the file with the digest."""
        return f"{self.image}.key{self.key_number}.digest"

    @property
    def answer_file(self) -> str:
        """Name of the file in which the signature is expected."""
        return f"{self.image}.key{self.key_number}.sig"


def signature_requests(
    images: Sequence[PlannedImage], signers: Sequence[BundleSigner | None]
) -> tuple[SignatureRequest, ...]:
    """The requests for these images, by image, then by key.

    Args:
        images: all images of the bundle.
        signers: its signers in order; None for one that signs here and is not known yet.

    Raises the errors of `read_signature_blocks` for an image whose signature sector is damaged.
    """
    return tuple(_requests(images, signers))


def _requests(images: Sequence[PlannedImage], signers: Sequence[BundleSigner | None]) -> Iterator[SignatureRequest]:
    for image in images:
        if not image.sign:
            continue
        blocks = read_signature_blocks(image.content, image.source) if image.signed_already else ()
        present = {block.key_digest for block in blocks}
        for number, signer in enumerate(signers, 1):
            if signer is None or signer.public is None or not image.needs_signature_by(signer.signs):
                continue
            if signer.private is None and signer.digest not in present:
                content = content_to_sign(image.content)
                yield SignatureRequest(image.name, image.source, number, signer.public, content)
