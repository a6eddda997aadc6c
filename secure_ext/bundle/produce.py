# SPDX-License-Identifier: Apache-2.0
"""Produces each image: sign first, encrypt second, and prove both before anything is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import field

from secure_ext.build.build import Role
from secure_ext.bundle.key_material import KeyMaterial
from secure_ext.bundle.nvs import made_nvs, proved_nvs
from secure_ext.documents.manifest import Proof
from secure_ext.errors import CheckError, UsageError
from secure_ext.formats.flash_encryption import decrypt, encrypt, pad_to_unit
from secure_ext.formats.image import IMAGE_MAGIC
from secure_ext.formats.secure_boot import add_signatures, sign, signed_by, signed_content, verify
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.recipe import IdentityPlace, NvsFromCsv
from secure_ext.sign.signers import keys_that_sign
from secure_ext.station.frozen import frozen


@frozen
class ProducedImage:
    """An image as it goes into flash.

    Attributes:
        planned: what it was made from.
        plaintext: what the chip will read: signed and padded, not encrypted. NVS has an encryption of its own: its
            plaintext here is what the NVS library of the firmware will read.
        content: what is written to flash.
    """

    planned: PlannedImage
    plaintext: bytes = field(repr=False)
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        """Hash of what is written to flash, lower-case hex."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def source_sha256(self) -> str | None:
        """Hash of what it was made from, lower-case hex: the built image, or the plaintext made of keys.

        None for a CSV: whoever has the hash of a file with a few short secrets can try passwords until it fits.
        """
        recipe = self.planned.recipe
        if isinstance(recipe, NvsFromCsv):
            return None
        return hashlib.sha256(self.planned.content if recipe is None else self.plaintext).hexdigest()


def produce(image: PlannedImage, keys: KeyMaterial) -> ProducedImage:
    """Makes, signs, pads and encrypts one image.

    Raises UsageError SE712 when it needs a signature and only the public key is there; the errors of the signers; of
    `secure_ext.formats.secure_boot` for an image that carries damaged or foreign signatures; of
    `secure_ext.bundle.nvs_image` for one that is made of a CSV.
    """
    if isinstance(image.recipe, IdentityPlace):
        plaintext = b"\xff" * image.recipe.size
    elif image.recipe is not None:
        plaintext = made_nvs(image.recipe, keys)
    else:
        plaintext = _signed(image, keys) if image.sign else image.content
    if len(plaintext) < image.fill_to:
        plaintext += b"\xff" * (image.fill_to - len(plaintext))
    key = keys.cipher_key if image.encrypt else None
    if key is None:
        return ProducedImage(image, plaintext, plaintext)
    plaintext = pad_to_unit(plaintext, key.scheme)
    return ProducedImage(image, plaintext, encrypt(plaintext, key=key, flash_offset=image.offset))


def _signed(image: PlannedImage, keys: KeyMaterial) -> bytes:
    """The image with every signature that it needs; one that it carries is kept, and asks for no private key."""
    content = image.content
    present: tuple[bytes, ...] = ()
    if image.signed_already:
        present = signed_by(content, trusted=[signer.digest for signer in keys.signers], place=image.source)
    wanted = [signer for signer in keys.signers if image.needs_signature_by(signer.signs)]
    missing = [signer for signer in wanted if signer.digest not in present]
    private = []
    for signer in missing:
        able = signer.private or keys.detached.get((image.name, signer.digest))
        if able is None:
            raise UsageError(
                "SE712",
                "of a signing key only the public half is given, and the image does not carry its signature",
                cure="have it signed elsewhere: `bundle --to-be-signed DIR`, then `bundle --signatures DIR`; "
                "give the private key; or, for a spare that is to sign nothing, give it with --digest-only-key (in the "
                "profile `signs: nothing`)",
                place=image.source,
            )
        private.append(able)
    if not private:
        return content
    if image.signed_already:
        return add_signatures(content, private, place=image.source)
    return sign(content, private, place=image.source)


def is_misread_by_esptool(produced: ProducedImage) -> bool:
    """Whether esptool takes the ciphertext of a bootloader for another chip's firmware (``write_flash``, cmds.py)."""
    head = produced.content[:24]
    looks_like_an_image = len(head) == 24 and head[0] == IMAGE_MAGIC and head[23] in (0, 1)
    return produced.planned.role is Role.BOOTLOADER and looks_like_an_image and produced.content != produced.plaintext


def prove(produced: ProducedImage, keys: KeyMaterial) -> Iterator[Proof]:
    """Checks an image as the chip will: decrypts it and verifies every signature.

    Raises CheckError SE713 when the ciphertext does not decrypt to the plaintext, and the errors of `verify` and of
    `secure_ext.bundle.nvs_image.check_nvs_image`.
    """
    image = produced.planned
    readable = produced.content
    key = keys.cipher_key if image.encrypt else None
    if key is not None:
        readable = decrypt(produced.content, key=key, flash_offset=image.offset)
        if readable != produced.plaintext or produced.content == produced.plaintext:
            raise CheckError(
                "SE713",
                "the ciphertext does not decrypt to what was encrypted",
                cure="this is a defect of secure-provision or of this machine; do not use the bundle, and report it",
                place=image.name,
            )
        yield Proof("decrypts to the source", image.name, f"at flash offset 0x{image.offset:x}")
    if is_misread_by_esptool(produced):
        raise CheckError(
            "SE714",
            "by chance the encrypted bootloader begins like another chip's firmware, and esptool would not write it",
            cure="use another flash encryption key: `secure-provision keys generate flash-encryption KEYFILE`, then "
            "--flash-encryption-key KEYFILE; one in thirty thousand keys does this",
            place=image.name,
        )
    if image.sign:
        wanted = keys_that_sign(image, keys.signers)
        verify(readable, wanted, also=[signer.digest for signer in keys.signers], place=image.source)
        yield Proof("signatures verify", image.name, f"{len(wanted)} of {len(wanted)} keys")
    if isinstance(image.recipe, IdentityPlace):
        yield Proof(
            "keeps the place of the boards' identities", image.name, f"{image.recipe.size} bytes of erased flash"
        )
        return
    if image.recipe is not None:
        proof, evidence = proved_nvs(readable, image.recipe, keys)
        yield Proof(proof, image.name, evidence)
        return
    if not readable.startswith(signed_content(image.content)):
        raise CheckError(
            "SE713",
            "the image is not the one that was built",
            cure="this is a defect of secure-provision; do not use the bundle, and report it",
            place=image.name,
        )
    yield Proof("holds the built image", image.name, hashlib.sha256(image.content).hexdigest())
