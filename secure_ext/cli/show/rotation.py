# SPDX-License-Identifier: Apache-2.0
"""What the plan of a key rotation shows on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from secure_ext.field.rotation import Rotation
from secure_ext.plan.trusted_keys import SlotState
from secure_ext.policy.signing_entry import Signs

_AGGRESSIVE = (
    "Aggressive revocation is burned: the ROM revokes a slot by itself when a bootloader signed with its key fails "
    "to verify. A damaged or wrongly signed bootloader costs a key, for ever; with no slot left the board is dead. "
    "Apps do not trigger it. Do not replace the bootloader of these boards without need."
)
_CONSERVATIVE = (
    "Revocation is conservative: a slot is revoked only when an app asks for it "
    "(esp_ota_revoke_secure_boot_public_key), after the new key has proved itself on that very board."
)
_OPEN = "An open slot can get the digest of a key later; so can whoever runs code on the board. Revoke it if in doubt."
_SPARES = {
    Signs.BOOTLOADER: "   signs the bundle's bootloader, not its app",
    Signs.NOTHING: "   signs nothing in the bundle",
}


def rotation_text(rotation: Rotation) -> str:
    """The slots, the verdict on the update, and the steps."""
    return "\n".join(_lines(rotation))


def _lines(rotation: Rotation) -> Iterator[str]:
    fleet = rotation.fleet
    yield f"what boards of this fleet ({fleet.chip}) trust"
    for slot in fleet.slots:
        signed = "   has signed the update" if rotation.update.is_signed_by(slot) else ""
        digest = f"digest fingerprint {slot.fingerprint}" if slot.fingerprint else "no digest"
        spare = _SPARES.get(slot.signs, "") if slot.fingerprint else ""
        yield f"  slot {slot.number}  {slot.state.value:8} {digest}{spare}{signed}"
    for name in rotation.unknown:
        yield f"  not on the boards: the update is also signed with the key of digest {name}"
    if fleet.in_state(SlotState.OPEN):
        yield from _wrapped("  ", _OPEN)
    if len(fleet.slots) > 1:
        yield from _wrapped("  ", _AGGRESSIVE if fleet.aggressive else _CONSERVATIVE)
    yield ""
    if rotation.refusal:
        yield f"{rotation.update.name}: REFUSED by every board"
        return
    slots = " and ".join(str(number) for number in rotation.accepted_by)
    yield f"{rotation.update.name}: accepted, by slot {slots}"
    yield ""
    yield "what follows"
    for number, step in enumerate(rotation.steps, 1):
        yield from _wrapped(f"  {number}. ", step)


def _wrapped(head: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, 110, initial_indent=head, subsequent_indent=" " * len(head))
