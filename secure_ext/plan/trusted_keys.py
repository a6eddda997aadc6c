# SPDX-License-Identifier: Apache-2.0
"""Which signing keys boards trust, and so: would these boards take what this key has signed?

What the chips do, from ESP-IDF (components/bootloader_support/src/secure_boot_v2, app_update/esp_ota_ops.c): an image
is accepted when one of its signature blocks verifies with a key whose digest is burned and not revoked; blocks by other
keys are passed over. The ROM asks this of the bootloader, the bootloader of the app, the running app of an update.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence

from secure_ext.chips.facts import chip_facts
from secure_ext.policy.signing_entry import Signs
from secure_ext.station.efuse_features import SECURE_BOOT_SWITCHES
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import PlanDocument

_DIGEST = "secure_boot_digest_"
_REVOKE = "SECURE_BOOT_KEY_REVOKE"


class SlotState(str, enum.Enum):
    """What a digest slot is good for. OPEN holds no digest, and whoever runs code on the board may add one."""

    TRUSTED = "trusted"
    REVOKED = "revoked"
    OPEN = "open"


@frozen
class Slot:
    """A digest slot of a fleet.

    Attributes:
        number: from 0, as ESP-IDF counts.
        state: what it is good for.
        fingerprint: names the digest; None for an empty slot.
        length: how many bytes of a digest it holds: 32, on esp32c2 16.
        signs: what its key signs in the bundle.
    """

    number: int
    state: SlotState
    fingerprint: str | None
    length: int = 32
    signs: Signs = Signs.ALL

    def holds(self, digest: bytes) -> bool:
        """Whether this digest of a public key is burned in it."""
        return self.fingerprint == fingerprint(digest[: self.length])


def digest_slots(plan: PlanDocument, revoked: Collection[int] = ()) -> tuple[Slot, ...]:
    """The slots of boards that a plan document has provisioned; none if it has not enabled secure boot.

    Args:
        plan: what was done to them.
        revoked: numbers of the slots that were revoked on the boards since.
    """
    digests = {
        int(step.role.removeprefix(_DIGEST)): (
            step.fingerprint,
            step.length,
            Signs(step.signs or Signs.ALL.value),
        )
        for step in plan.keys
        if step.is_digest and step.fingerprint
    }
    fields = {step.field: step.value for step in plan.fields}
    if not digests or not any(fields.get(name) for name in SECURE_BOOT_SWITCHES):
        return ()
    slots = []
    for number in range(chip_facts(plan.chip).digest_slots):
        state = SlotState.TRUSTED if number in digests else SlotState.OPEN
        gone = number in revoked or fields.get(f"{_REVOKE}{number}")
        held = digests.get(number)
        slots.append(Slot(number, SlotState.REVOKED if gone else state, *(held or (None,))))
    return tuple(slots)


def accepting_slots(slots: Sequence[Slot], signers: Sequence[bytes]) -> tuple[int, ...]:
    """The numbers of the slots by which boards take an image; none if they do not take it.

    Args:
        slots: of the boards.
        signers: the public key digest of each key that has validly signed it.
    """
    trusted = (slot for slot in slots if slot.state is SlotState.TRUSTED)
    return tuple(slot.number for slot in trusted if any(slot.holds(digest) for digest in signers))
