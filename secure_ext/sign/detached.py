# SPDX-License-Identifier: Apache-2.0
"""A signature that was made elsewhere, handed in as a file: used when it is the right one, else told what it is."""

from __future__ import annotations

import enum
from dataclasses import field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from secure_ext.errors import CheckError, InputError
from secure_ext.keys.signing import RSA_BITS, SignatureScheme, VerificationKey
from secure_ext.reading import KEY_FILE_LIMIT, read_file
from secure_ext.station.frozen import frozen

_NUMBER_SIZE = {SignatureScheme.ECDSA256: 32, SignatureScheme.ECDSA384: 48}


class Mixup(enum.Enum):
    """How a signature can be a good one and still be the wrong one."""

    OTHER_IMAGE = "other image"
    OTHER_KEY = "other key"
    OLDER_BUILD = "older build"


@frozen
class Suspect:
    """What a signature may turn out to be.

    Attributes:
        mixup: what went wrong then.
        key: the key that made it then.
        digest: the hash it is of then.
        name: the image or the key, for people.
    """

    mixup: Mixup
    key: VerificationKey
    digest: bytes
    name: str


@frozen
class DetachedSigner:
    """The answer of a signing service for one image and one key.

    Attributes:
        verification_key: the key that was asked to sign.
        answer: the file with its signature: RSA 384 bytes, big-endian; ECDSA as DER, or r and s in a row.
        image: the image it is for, for people.
        requested_digest: the hash that the service was asked to sign, None if that is not known.
        suspects: what else the signature could be, the likeliest first.
    """

    verification_key: VerificationKey
    answer: Path
    image: str
    requested_digest: bytes | None = None
    suspects: tuple[Suspect, ...] = field(default=(), repr=False)

    @property
    def scheme(self) -> SignatureScheme:
        """The signature scheme of the key."""
        return self.verification_key.scheme

    def sign(self, digest: bytes) -> bytes:
        """As `Signer.sign`: hands out the signature in the file, when it is this key's signature of `digest`.

        Raises:
            InputError: SE661 the file cannot be read or is no signature.
            CheckError: SE662 it is of another image, SE663 by another key, SE664 of an older build,
                SE665 of nothing that is known here.
        """
        try:
            content = read_file(self.answer, KEY_FILE_LIMIT)
        except OSError as error:
            raise self._unusable(f"it cannot be read: {error.strerror}") from None
        signature = self._parsed(content)
        if self.verification_key.is_valid_signature(signature, digest):
            return signature
        for suspect in self.suspects:
            if suspect.key.is_valid_signature(signature, suspect.digest):
                raise self._mixed_up(suspect.mixup, suspect.name)
        if self.requested_digest not in (None, digest):
            raise self._mixed_up(Mixup.OLDER_BUILD, "")
        raise CheckError(
            "SE665",
            f"the signature is not valid for image {self.image} and this key",
            cure="have exactly the .digest file signed: RSA-PSS with SHA-256, MGF1 with SHA-256 and 32 bytes of salt, "
            "or ECDSA over the digest as it is; README.txt beside the requests has the commands",
            place=str(self.answer),
        )

    def _parsed(self, content: bytes) -> bytes:
        if self.scheme is SignatureScheme.RSA3072:
            if len(content) != RSA_BITS // 8:
                raise self._unusable(f"it has {len(content)} bytes, and an RSA-3072 signature has {RSA_BITS // 8}")
            return content
        size = _NUMBER_SIZE[self.scheme]
        try:
            pair = decode_dss_signature(content)
        except ValueError:
            if len(content) != 2 * size:
                raise self._unusable(
                    f"its {len(content)} bytes are neither a DER signature nor r and s of {size} bytes each"
                ) from None
            pair = int.from_bytes(content[:size], "big"), int.from_bytes(content[size:], "big")
        return encode_dss_signature(*pair)

    def _unusable(self, why: str) -> InputError:
        return InputError(
            "SE661",
            f"the file is not a whole {self.scheme.value} signature: {why}",
            cure="fetch the answer of the signing service again; it is binary, neither hex nor base64",
            place=str(self.answer),
        )

    def _mixed_up(self, mixup: Mixup, name: str) -> CheckError:
        place = str(self.answer)
        if mixup is Mixup.OTHER_IMAGE:
            return CheckError(
                "SE662",
                f"this is the signature of image {name}, not of {self.image}",
                cure="put every answer into the file that requests.json names for its request",
                place=place,
            )
        if mixup is Mixup.OTHER_KEY:
            return CheckError(
                "SE663",
                f"this signature of image {self.image} was made by {name}",
                cure="put every answer into the file that requests.json names for its request; sign with the right key",
                place=place,
            )
        return CheckError(
            "SE664",
            f"this signature is for an older build of image {self.image}: the digest in requests.json differs",
            cure="write the requests anew with --to-be-signed into another directory, and have those signed",
            place=place,
        )
