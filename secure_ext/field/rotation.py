# SPDX-License-Identifier: Apache-2.0
"""What a fleet's boards trust, whether they would take an update, and in which order a signing key is replaced.

What the chips take is decided in `secure_ext.plan.trusted_keys`; who has signed an image, in
`secure_ext.formats.secure_boot.valid_signers`. ESP-IDF's `esp_ota_revoke_secure_boot_public_key` revokes a slot only if
the running app and the bootloader verify with another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from secure_ext.chips.facts import chip_facts
from secure_ext.errors import CheckError, InputError, UsageError
from secure_ext.formats.image import parse_image
from secure_ext.formats.secure_boot import public_key_digest, valid_signers
from secure_ext.keys.signing import load_verification_key
from secure_ext.plan.read_document import read_plan
from secure_ext.plan.trusted_keys import Slot, SlotState, accepting_slots, digest_slots
from secure_ext.policy.signing_entry import Signs
from secure_ext.reading import IMAGE_LIMIT, read_file
from secure_ext.station.frozen import frozen

_AGGRESSIVE = "SECURE_BOOT_AGGRESSIVE_REVOKE"


@frozen
class SigningSlots:
    """The slots for signing keys of boards that were provisioned alike.

    `aggressive`: the ROM revokes a slot when its bootloader fails to verify.
    """

    chip: str
    slots: tuple[Slot, ...]
    aggressive: bool

    def in_state(self, state: SlotState) -> list[int]:
        """The numbers of the slots in a state."""
        return [slot.number for slot in self.slots if slot.state is state]


@frozen
class Update:
    """An update: its name for messages, and the public key digest of each key that has validly signed it."""

    name: str
    signers: tuple[bytes, ...]

    def is_signed_by(self, slot: Slot) -> bool:
        """Whether it carries a signature by the key of a slot."""
        return any(slot.holds(digest) for digest in self.signers)


@frozen
class Rotation:
    """What came of it. `steps` is the order of a safe rotation; `refusal` says why no board takes the update."""

    fleet: SigningSlots
    update: Update
    accepted_by: tuple[int, ...]
    unknown: tuple[str, ...]
    steps: tuple[str, ...]
    refusal: CheckError | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``--format json``."""
        return {
            "chip": self.fleet.chip,
            "aggressive_revoke": self.fleet.aggressive,
            "slots": [
                {
                    "slot": slot.number,
                    "state": slot.state.value,
                    "fingerprint": slot.fingerprint,
                    "signs": slot.signs.value if slot.fingerprint else None,
                    "signed_the_update": self.update.is_signed_by(slot),
                }
                for slot in self.fleet.slots
            ],
            "update": self.update.name,
            "unknown_signers": list(self.unknown),
            "accepted": self.refusal is None,
            "accepted_by": list(self.accepted_by),
            "steps": list(self.steps),
            "error": self.refusal.as_dict() if self.refusal else None,
        }


def read_signing_slots(path: Path, revoked: Sequence[int]) -> SigningSlots:
    """The slots of the boards that a bundle, or its ``plan.json``, has provisioned.

    Args:
        path: the bundle's folder, or its plan.
        revoked: numbers of the slots that were revoked on the boards since.

    Raises InputError SE692 (nothing is there), SE875 (the plan is damaged), SE694 (it has no secure boot), UsageError
    SE693 (no such slot).
    """
    file = path / "plan.json" if path.is_dir() else path
    try:
        file.stat()
    except OSError as error:
        raise InputError(
            "SE692",
            f"this is not a bundle, and not the plan.json of one: {error.strerror or error}",
            cure="give the bundle that provisioned the boards, or its plan.json",
            place=str(path),
        ) from None
    plan = read_plan(file)
    chip, slots = plan.chip, digest_slots(plan, revoked)
    aggressive = any(step.field == _AGGRESSIVE for step in plan.fields)
    if not slots:
        raise InputError(
            "SE694",
            "these boards have no secure boot that this bundle enabled, so no key is rotated on them",
            cure="give the bundle that burned their secure boot digests",
            place=str(path),
        )
    count = len(slots)
    for number in revoked:
        if not 0 <= number < count:
            raise UsageError(
                "SE693", f"{chip} has no digest slot {number}", cure=f"its slots are numbered 0 to {count - 1}"
            )
    return SigningSlots(chip, slots, aggressive)


def read_update(image: Path, chip: str) -> Update:
    """A signed image, and who has signed it.

    Raises InputError SE691 when it cannot be read, is for another chip, or carries no signature that verifies; the
    InputErrors of `parse_image`; CheckError SE525 and InputError SE526 for a bad signature sector.
    """
    place = image.name
    try:
        content = read_file(image, IMAGE_LIMIT)
    except OSError as error:
        raise InputError(
            "SE691", f"the update cannot be read: {error.strerror}", cure="check the path", place=str(image)
        ) from None
    header = parse_image(content, place=place)
    if header.chip != chip:
        raise InputError(
            "SE691", f"the update is for {header.chip}, the fleet is of {chip}", cure="give the right one", place=place
        )
    signers = valid_signers(content, place, chip_facts(chip).digest_slots)
    if not signers:
        raise InputError(
            "SE691",
            "the update carries no signature that verifies",
            cure="give the signed image, before it is encrypted; for one that is to be signed yet give --signing-key",
            place=place,
        )
    return Update(place, signers)


def update_signed_with(keys: Sequence[Path]) -> Update:
    """An update that is to be signed with these keys (private or public PEM). Raises the InputErrors of key files."""
    digests = [public_key_digest(load_verification_key(path)) for path in keys]
    return Update("an update signed with " + ", ".join(p.name for p in keys), tuple(digests))


def plan_rotation(fleet: SigningSlots, update: Update) -> Rotation:
    """Whether the boards take the update, and what follows for their keys."""
    accepted_by = accepting_slots(fleet.slots, update.signers)
    unknown = tuple(digest.hex() for digest in update.signers if not any(slot.holds(digest) for slot in fleet.slots))
    if not accepted_by:
        return Rotation(fleet, update, (), unknown, (), _refusal(fleet, update))
    return Rotation(fleet, update, accepted_by, unknown, tuple(_steps(fleet, accepted_by)))


def _refusal(fleet: SigningSlots, update: Update) -> CheckError:
    revoked = [slot.number for slot in fleet.slots if update.is_signed_by(slot)]
    trusted = fleet.in_state(SlotState.TRUSTED)
    why = f"its key is in slot {_list(revoked)}, which is revoked" if revoked else "its key is in none of their slots"
    cure = f"sign it with the key of slot {_list(trusted)}, which the boards trust"
    if not trusted:
        cure = "no slot is trusted any more: these boards boot nothing, whatever signs it"
    return CheckError("SE690", f"no board of this fleet takes the update: {why}", cure=cure, place=update.name)


def _steps(fleet: SigningSlots, accepted_by: tuple[int, ...]) -> list[str]:
    if len(fleet.slots) == 1:
        return [
            f"{fleet.chip} has one slot, burned once: its key can never be replaced or revoked. Guard it, and keep a "
            "backup that cannot be copied."
        ]
    trusted = fleet.in_state(SlotState.TRUSTED)
    old = [number for number in trusted if number not in accepted_by]
    if not old:
        if len(trusted) == 1:
            return ["It is signed with the last key that the boards trust, which can be neither replaced nor revoked."]
        return [
            "It is signed with every key that the boards trust, so none can be revoked because of it. To replace a "
            "key, sign with the one that stays alone: each signature brings its private key out of the safe."
        ]
    stays, goes = _list(accepted_by), _list(old)
    signed = [number for number in accepted_by if fleet.slots[number].signs is not Signs.NOTHING]
    bundled = (
        f"That of the bundle does (slot {_list(signed)}); one that was replaced since has to be checked."
        if signed
        else f"That of the bundle does NOT: no key of slot {stays} signs its bootloader. Boards with it take the "
        f"update, but refuse to revoke slot {goes}, until their bootloader is replaced by one with that signature."
    )
    steps = [
        "Bootloader first: it is not replaced over the air, so the one on the boards must carry a signature by slot "
        f"{stays}. {bundled}",
        f"Send the update, signed with slot {stays}, to every board. The boards verify it with that digest, boot it "
        "under the bootloader they have, and still trust all keys: up to here everything can be taken back.",
        "Wait until it has run everywhere, and mark it valid (esp_ota_mark_app_valid_cancel_rollback). With rollback "
        "enabled ESP-IDF refuses to revoke before.",
        f"Have that app call esp_ota_revoke_secure_boot_public_key for slot {goes}. It refuses unless app and "
        "bootloader verify with another key. It CANNOT BE UNDONE, and whatever only the old key has signed boots no "
        "more: the other OTA slot, a factory app, a recovery bootloader, a TEE.",
        f"From then on sign with slot {stays} alone, and make bundles for new boards without the old key.",
    ]
    left = len(accepted_by)
    steps.append(
        f"What remains: {left} trusted key{'s' if left > 1 else ''}"
        + (". It is the last: it can never be replaced." if left == 1 else f", so {left - 1} more rotation(s).")
    )
    return steps


def _list(numbers: Sequence[int]) -> str:
    return " or ".join(str(number) for number in numbers)
