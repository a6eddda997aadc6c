# SPDX-License-Identifier: Apache-2.0
"""The signatures of what a fleet's boards are to boot: who will have signed it, whether they take it, the signing."""

from __future__ import annotations

from collections.abc import Sequence

from secure_ext.errors import CheckError, InputError
from secure_ext.formats.secure_boot import (
    add_signatures,
    is_signed,
    public_key_digest,
    read_signature_blocks,
    sign,
    valid_signers,
    verify,
)
from secure_ext.keys.signer import Signer
from secure_ext.plan.fleet import Fleet
from secure_ext.plan.trusted_keys import accepting_slots
from secure_ext.station.frozen import frozen


@frozen
class Wanted:
    """What the user asks of an update.

    Attributes:
        signing_keys: to sign with; none if the build has signed the app.
        accepted: codes of findings that the user accepts.
    """

    signing_keys: Sequence[Signer] = ()
    accepted: frozenset[str] = frozenset()


def _digests(wanted: Wanted) -> list[bytes]:
    return [public_key_digest(key.verification_key) for key in wanted.signing_keys]


def signers_to_be(content: bytes, wanted: Wanted, fleet: Fleet, place: str) -> tuple[bytes, ...]:
    """The digests of the keys that will have signed, as far as the chip looks at their blocks."""
    present = [block.key_digest for block in read_signature_blocks(content, place)]
    valid = valid_signers(content, place)
    order = [*present, *(digest for digest in _digests(wanted) if digest not in present)]
    looked_at = order[: fleet.chip.facts.digest_slots]
    return tuple(digest for digest in looked_at if digest in valid or digest not in present)


def scheme_of(content: bytes, wanted: Wanted, fleet: Fleet, place: str) -> str | None:
    """The scheme of a signature by one of the boards' keys."""
    schemes = {block.key_digest: block.scheme.value for block in read_signature_blocks(content, place)}
    keys = (key.verification_key for key in wanted.signing_keys)
    schemes |= {public_key_digest(key): key.scheme.value for key in keys}
    held = (scheme for digest, scheme in schemes.items() if any(slot.holds(digest) for slot in fleet.slots))
    return next(held, None)


def require_accepted(signers: tuple[bytes, ...], content: bytes, wanted: Wanted, fleet: Fleet, place: str) -> None:
    """Raises InputError SE756 (not signed, no key), CheckError SE757 (by no key that the boards accept)."""
    if not is_signed(content) and not wanted.signing_keys:
        raise InputError(
            "SE756",
            "the fleet has secure boot, the image is not signed, and no signing key is given",
            cure="give the key with --signing-key",
            place=place,
        )
    if accepting_slots(fleet.slots, signers):
        return
    if not signers:  # damaged, or changed since
        blocks = read_signature_blocks(content, place)
        verify(content, [block.verification_key(place=place) for block in blocks], place=place)
    digests = signers or tuple(_digests(wanted))
    slot = next((slot.number for slot in fleet.slots if any(slot.holds(digest) for digest in digests)), None)
    why = "is not burned on the fleet's boards" if slot is None else f"in slot {slot} is revoked"
    raise CheckError(
        "SE757",
        "the fleet does not boot what this key signs: its digest "
        f"{', '.join(digest.hex() for digest in digests)} {why}",
        cure="sign with a key of the fleet that is not revoked; `secure-provision keys digest` shows a key's digest",
        place=place,
    )


def signed(source: bytes, wanted: Wanted, place: str) -> bytes:
    """The image with a signature by each of the keys; those that it carries are kept."""
    if not is_signed(source):
        return sign(source, wanted.signing_keys, place=place)
    present = {block.key_digest for block in read_signature_blocks(source, place)}
    missing = [key for key in wanted.signing_keys if public_key_digest(key.verification_key) not in present]
    return add_signatures(source, missing, place=place) if missing else source
