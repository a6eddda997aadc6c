# SPDX-License-Identifier: Apache-2.0
"""What the chip will read: decrypted if the key is at hand, then content, source and signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from secure_ext.bundle.files import BundleFiles
from secure_ext.checks import Check
from secure_ext.documents.manifest import ManifestImage
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.flash_encryption import FlashEncryptionKey, decrypt
from secure_ext.formats.image import parse_image
from secure_ext.formats.in_the_clear import is_plaintext
from secure_ext.formats.partition_table import parse_partition_table
from secure_ext.formats.secure_boot import MAX_BLOCKS, SECTOR, read_signature_blocks, signed_content, verify
from secure_ext.formats.signature_block import BLOCK_SIZE
from secure_ext.keys.signing import SignatureScheme
from secure_ext.prove.verify.check import failed, judged, passed, refused, unseen
from secure_ext.prove.verify.documents import Documents
from secure_ext.prove.verify.nvs import check_nvs

_NO_KEY = "the flash encryption key is not given (--flash-encryption-key)"
_NEED_THE_PLAINTEXT = ("image-content", "image-source")


def read_images(
    files: BundleFiles, documents: Documents, key: FlashEncryptionKey | None, checks: list[Check]
) -> dict[str, bytes]:
    """What the chip will read of each image, by its name; images that nobody can read here are left out."""
    readable = {}
    for image in documents.images:
        name, content = image.name, files.read(image.file)
        if content is None:
            continue  # the inventory says so
        if not image.encrypted:
            readable[name] = content
            continue
        plain = is_plaintext(content)
        checks.append(
            judged("image-ciphertext", name, not plain, "of no readable kind", "it is marked as encrypted, and is not")
        )
        if key is None:
            checks.append(unseen("image-decrypts", name, _NO_KEY))
            continue
        try:
            readable[name] = decrypt(content, key=key, flash_offset=image.offset)
        except SecureProvisionError as error:
            checks.append(refused("image-decrypts", name, error))
        else:
            checks.append(passed("image-decrypts", name, f"with the plan's key, at 0x{image.offset:x}"))
    return readable


def check_contents(files: BundleFiles, documents: Documents, readable: dict[str, bytes]) -> Iterator[Check]:
    """Content, source and signatures of every image."""
    for image in documents.images:
        needed = (*_NEED_THE_PLAINTEXT, *(("image-signatures",) if image.signed else ()))
        if image.name not in readable:
            for name in needed if files.read(image.file) is not None else ():
                yield unseen(name, image.name, _NO_KEY)
            continue
        content = readable[image.name]
        yield _content(image, content, documents.plan.chip)
        if image.recipe == "nvs-csv":
            yield check_nvs(files, documents, image, readable)
        else:
            yield _source(image, content)
        if image.signed:
            yield _signatures(files, documents, image, content)


def _content(image: ManifestImage, content: bytes, chip: str) -> Check:
    name = image.name
    try:
        if image.role == "partition_table":
            rows = len(parse_partition_table(content, place=image.file).partitions)
            return passed("image-content", name, f"a partition table with {rows} partitions")
        if image.role == "data":
            return passed("image-content", name, "data, which has no form that could be checked")
        header = parse_image(content, place=image.file)
    except SecureProvisionError as error:
        return refused("image-content", name, error)
    return judged(
        "image-content", name, header.chip == chip, f"a whole image for {chip}", f"it is an image for {header.chip}"
    )


def _source(image: ManifestImage, content: bytes) -> Check:
    name, wanted = image.name, image.source_sha256
    candidates = [content, *(_earlier_states(content) if image.signed else ())]
    if wanted is not None and any(_begins_with(candidate, wanted) for candidate in candidates):
        return passed("image-source", name, f"it holds {image.source} with hash {wanted}")
    return failed("image-source", name, f"it does not hold what was built, whose hash is {wanted}")


def _earlier_states(content: bytes) -> Iterator[bytes]:
    """A signed image as it may have come from the build: unsigned, or with the first of its signatures."""
    body = signed_content(content)
    sector = content[len(body) : len(body) + SECTOR]
    yield body
    for number in range(1, MAX_BLOCKS):
        yield body + sector[: number * BLOCK_SIZE].ljust(SECTOR, b"\xff")


def _begins_with(content: bytes, sha256: str) -> bool:
    """Whether `content` is what has this hash, and nothing but 0xFF after it."""
    shortest = len(content.rstrip(b"\xff"))
    digest = hashlib.sha256(content[:shortest])
    for _ in range(shortest, len(content)):
        if digest.hexdigest() == sha256:
            return True
        digest.update(b"\xff")
    return digest.hexdigest() == sha256


def _signatures(files: BundleFiles, documents: Documents, image: ManifestImage, content: bytes) -> Check:
    """The public keys are those in the image, and count only if their digests are burned."""
    name = image.name
    digests = [files.read(step.file) for step in documents.signers_of(image)]
    burned = [digest for step, _ in documents.signing_keys if (digest := files.read(step.file)) is not None]
    try:
        blocks = read_signature_blocks(content, image.file)
        keys = [
            next((b.verification_key(place=image.file) for b in blocks if b.key_digest == digest), None)
            for digest in digests
        ]
        if None in keys:
            return failed("image-signatures", name, "a key that has to sign it, and whose digest is burned, has not")
        verify(content, [key for key in keys if key is not None], also=burned, place=image.file)
        if any(
            (key is not None and key.scheme is SignatureScheme.ECDSA384) != documents.verifies_sha384 for key in keys
        ):
            return failed("image-signatures", name, "the chip verifies another kind of ECDSA signature")
    except SecureProvisionError as error:
        return refused("image-signatures", name, error)
    return passed("image-signatures", name, f"signed by {len(keys)} of {len(burned)} keys whose digests are burned")
