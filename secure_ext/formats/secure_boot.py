# SPDX-License-Identifier: Apache-2.0
"""Sign an image for Secure Boot V2, add signatures to it, and prove which keys have signed it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from secure_ext.errors import CheckError, InputError
from secure_ext.formats.image import signature_position, stray_bytes, without_padding
from secure_ext.formats.signature_block import (
    MAX_BLOCKS,
    SECTOR,
    SignatureBlock,
    damaged,
    is_signed,
    make_block,
    public_key_digest,
    read_signature_blocks,
)
from secure_ext.keys.signer import Signer
from secure_ext.keys.signing import VerificationKey

__all__ = [
    "MAX_BLOCKS",
    "SECTOR",
    "SignatureBlock",
    "add_signatures",
    "check_keys",
    "content_to_sign",
    "is_signed",
    "proved_blocks",
    "public_key_digest",
    "read_signature_blocks",
    "sign",
    "signature_sector",
    "signed_block",
    "signed_by",
    "signed_content",
    "valid_signers",
    "verify",
    "verify_block",
]


OTHER_KEY_CURE = (
    "have the build leave the image unsigned (CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES=n), so that it is signed here; "
    "or give the key that has signed it, for a signed build that of CONFIG_SECURE_BOOT_SIGNING_KEY (--signing-key, or "
    "secure_boot.keys)"
)
"""What to do about an image that another key than those of the plan has signed."""


def signed_content(image: bytes) -> bytes:
    """What the signatures cover: the image before its signature sector. An unsigned image comes back whole."""
    return image[: signature_position(image)]


def content_to_sign(image: bytes) -> bytes:
    """What a signature of this image covers: padded with 0xFF to whole sectors, without the signatures it carries."""
    content = signed_content(image)
    return content + b"\xff" * (-len(content) % SECTOR)


def sign(image: bytes, keys: Sequence[Signer], *, place: str) -> bytes:
    """Pad an unsigned image with 0xFF to whole sectors and append a sector with one signature per key, in that order.

    Args:
        image: the finished plaintext; whoever calls has made sure that it is not encrypted, which cannot be seen here.
        keys: one to three different keys of one scheme. How many a chip takes is not known here (esp32 and esp32c2: 1).
        place: the image's name for messages.

    Raises:
        InputError: SE520 no key or more than three, SE521 a key twice, SE522 keys of different schemes,
            SE523 the image is signed already, SE768 bytes lie behind the image, where its signature belongs.
    """
    if is_signed(image):
        raise InputError(
            "SE523",
            "the image is signed already; signing it once more would put its signatures under a new one",
            cure="give the unsigned image, or add a signature to this one",
            place=place,
        )
    check_keys([], keys, place)
    if stray_bytes(image):
        raise InputError(
            "SE768",
            f"{stray_bytes(image)} bytes lie behind the image, where chip and bootloader look for its signature",
            cure="give the image as the build made it; data of its own goes into a partition of its own",
            place=place,
        )
    content = content_to_sign(without_padding(image))
    return content + signature_sector([signed_block(content, key) for key in keys])


def add_signatures(image: bytes, keys: Sequence[Signer], *, place: str) -> bytes:
    """Append signatures to a signed image, once every signature in it has proved to fit the image and its own key.

    Raises:
        CheckError: SE524 not signed, SE525 damaged, SE527 changed after signing, SE529 a signature that is wrong.
        InputError: SE520 no key or more than three in all, SE521 a key twice, SE522 keys of different schemes,
            SE526 signed with an unsupported kind of key, SE606 to SE608 signed with an unsuitable key.
    """
    blocks = _intact_blocks(image, place)
    signers = [_proved_signer(image, blocks, index, place) for index in range(len(blocks))]
    check_keys(signers, keys, place)
    content = signed_content(image)
    return content + signature_sector([block.raw for block in blocks] + [signed_block(content, key) for key in keys])


def proved_blocks(image: bytes, *, place: str) -> tuple[SignatureBlock, ...]:
    """The signature blocks of an image, each verified with the key that is inside it; nobody vouches for that key.

    Raises:
        CheckError: SE524 not signed, SE525 damaged, SE527 changed after signing, SE529 a signature that is wrong.
        InputError: SE526 signed with an unsupported kind of key, SE606 to SE608 signed with an unsuitable key.
    """
    blocks = _intact_blocks(image, place)
    for index in range(len(blocks)):
        _proved_signer(image, blocks, index, place)
    return blocks


def signed_by(image: bytes, *, trusted: Collection[bytes], place: str) -> tuple[bytes, ...]:
    """The public key digests of those who have signed the image, in the order of its blocks, each signature verified.

    Raises:
        CheckError: SE524 not signed, SE525 damaged, SE527 changed after signing, SE528 signed by a key besides the
            `trusted` digests, SE529 a signature that is wrong, or none by a trusted key.
        InputError: SE526 signed with an unsupported kind of key, SE606 to SE608 signed with an unsuitable key.
    """
    blocks = proved_blocks(image, place=place)
    found = tuple(block.key_digest for block in blocks)
    foreign = [index for index, digest in enumerate(found) if digest not in trusted]
    if len(foreign) == len(blocks):
        raise CheckError(
            "SE529",
            "there is no valid signature by any of the signing keys; the public key digests in the image are: "
            + ", ".join(digest.hex() for digest in found),
            cure=OTHER_KEY_CURE,
            place=place,
        )
    if foreign:
        raise _foreign(blocks[foreign[0]], foreign[0], place)
    return found


def verify_block(image: bytes, block: SignatureBlock, key: VerificationKey) -> bool:
    """Whether the block would make a chip that knows ``key`` accept the image: CRC, hash, public key and signature."""
    digest = _digest(signed_content(image), key)
    return (
        block.crc_valid
        and block.scheme is key.scheme
        and block.image_digest == digest
        and block.key_digest == public_key_digest(key)
        and key.is_valid_signature(block.signature, digest)
    )


def valid_signers(image: bytes, place: str, most: int = MAX_BLOCKS) -> tuple[bytes, ...]:
    """The public key digest of each key that has validly signed the image, in the order of the blocks.

    A block that does not verify is passed over, as bootloader and app do. They look at no more blocks than the chip has
    digest slots (SECURE_BOOT_NUM_BLOCKS); `most` says how many.

    Raises the errors of `read_signature_blocks` and of `SignatureBlock.verification_key`.
    """
    blocks = read_signature_blocks(image, place)[:most]
    keys = (block.verification_key(place=_block_place(place, index)) for index, block in enumerate(blocks))
    return tuple(block.key_digest for block, key in zip(blocks, keys, strict=True) if verify_block(image, block, key))


def verify(image: bytes, keys: Sequence[VerificationKey], *, place: str, also: Collection[bytes] = ()) -> None:
    """Prove that these keys have signed the image, in whatever order, and no other; return when it is so.

    A key whose public key digest is in `also` may have signed, too.

    Raises:
        CheckError: SE524 not signed, SE525 damaged (a CRC is wrong), SE527 changed after signing,
            SE528 signed by another key too, SE529 a key has no valid signature.
        InputError: SE520 no key to check against, SE526 signed with an unsupported kind of key.
    """
    if not keys:
        raise _wrong_number("no key is given to check the signatures against", place)
    blocks = _intact_blocks(image, place)
    for number, key in enumerate(keys, 1):
        made = [block for block in blocks if block.key_digest == public_key_digest(key)]
        if not made or not all(verify_block(image, block, key) for block in made):
            raise _no_valid_signature(key, f"key {number} of {len(keys)}", blocks, place)
    known = {public_key_digest(key) for key in keys}
    for index, block in enumerate(blocks):
        if block.key_digest in known:
            continue
        if block.key_digest not in also:
            raise _foreign(block, index, place)
        _proved_signer(image, blocks, index, place)


def _foreign(block: SignatureBlock, index: int, place: str) -> CheckError:
    return CheckError(
        "SE528",
        f"the image is signed by a foreign key too (public key digest {block.key_digest.hex()})",
        cure=OTHER_KEY_CURE,
        place=_block_place(place, index),
    )


def _proved_signer(image: bytes, blocks: Sequence[SignatureBlock], index: int, place: str) -> VerificationKey:
    """The key inside a block, once its signature has proved to fit. Raises CheckError SE529."""
    signer = blocks[index].verification_key(place=_block_place(place, index))
    if not verify_block(image, blocks[index], signer):
        raise _no_valid_signature(signer, f"signature block {index + 1}", blocks, place)
    return signer


def _intact_blocks(image: bytes, place: str) -> tuple[SignatureBlock, ...]:
    """The blocks of an image, at least one, all with a right CRC and the hash of this very image."""
    blocks = read_signature_blocks(image, place)
    if not blocks:
        raise CheckError(
            "SE524",
            "the image is not signed: no signature sector follows it",
            cure="sign the image first; if it was signed, check that the file is complete and not encrypted",
            place=place,
        )
    content = signed_content(image)
    for index, block in enumerate(blocks):
        if not block.crc_valid:
            raise damaged(_block_place(place, index), "its CRC is wrong")
        if block.image_digest != hashlib.new(block.scheme.hash_name, content).digest():
            raise CheckError(
                "SE527",
                "the image was changed after it was signed: its hash is not the one in the signature block",
                cure="build and sign again; nothing may touch an image between signing and encrypting",
                place=_block_place(place, index),
            )
    return blocks


def check_keys(present: Sequence[VerificationKey], new: Sequence[Signer], place: str) -> None:
    """Whether these keys may sign one image together. Raises InputError SE520, SE521, SE522."""
    total = [*present, *(key.verification_key for key in new)]
    if not new:
        raise _wrong_number("no signing key is given", place)
    if len(total) > MAX_BLOCKS:
        raise _wrong_number(f"{len(total)} signatures are wanted, and an image holds at most {MAX_BLOCKS}", place)
    if len({key.scheme for key in total}) > 1:
        schemes = ", ".join(key.scheme.value for key in total)
        raise InputError(
            "SE522",
            f"the signatures of one image must be of one scheme, and these are {schemes}",
            cure="use keys of the one scheme that the bootloader is built for",
            place=place,
        )
    for number, key in enumerate(total, 1):
        if key in total[: number - 1]:
            raise InputError(
                "SE521",
                f"signature {number} is by the same key as an earlier one (public key digest "
                f"{public_key_digest(key).hex()})",
                cure="name each key once; a second signature by one key protects nothing and takes a place",
                place=place,
            )


def _wrong_number(cause: str, place: str) -> InputError:
    return InputError("SE520", cause, cure="give one to three keys (one on esp32 and esp32c2)", place=place)


def _no_valid_signature(key: VerificationKey, name: str, blocks: Sequence[SignatureBlock], place: str) -> CheckError:
    digest = public_key_digest(key).hex()
    present = ", ".join(block.key_digest.hex() for block in blocks)
    return CheckError(
        "SE529",
        f"there is no valid signature by {name} ({key.scheme.value}, public key digest {digest}); "
        f"the digests in the image are: {present}",
        cure=OTHER_KEY_CURE,
        place=place,
    )


def signed_block(content: bytes, key: Signer) -> bytes:
    """The block of a signature of `content`."""
    digest = _digest(content, key.verification_key)
    return make_block(key.verification_key, digest, key.sign(digest))


def _digest(content: bytes, key: VerificationKey) -> bytes:
    return hashlib.new(key.scheme.hash_name, content).digest()


def signature_sector(blocks: Sequence[bytes]) -> bytes:
    """The sector that holds these blocks."""
    return b"".join(blocks).ljust(SECTOR, b"\xff")


def _block_place(place: str, index: int) -> str:
    return f"{place}, signature block {index + 1}"
