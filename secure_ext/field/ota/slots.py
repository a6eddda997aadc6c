# SPDX-License-Identifier: Apache-2.0
"""The images for each OTA slot: does the app fit, and if asked for, its ciphertext for just this address."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import field

from secure_ext.checks import Check, Outcome
from secure_ext.errors import CheckError, InputError, SecureProvisionError
from secure_ext.field.ota.fleet import FleetBundle
from secure_ext.formats.flash_encryption import FlashEncryptionKey, decrypt, encrypt_and_undo, pad_to_unit
from secure_ext.formats.image import parse_image
from secure_ext.formats.partition_table import Partition
from secure_ext.station.frozen import frozen


@frozen
class SlotImage:
    """The pre-encrypted image of one slot, with what was proved of it."""

    slot: Partition
    content: bytes = field(repr=False)
    checks: tuple[Check, ...]

    @property
    def sha256(self) -> str:
        """Of the ciphertext, lower-case hex."""
        return hashlib.sha256(self.content).hexdigest()


def size_checks(slots: tuple[Partition, ...], content: bytes) -> Iterator[Check]:
    """How much of each slot the app takes; whether it fits, the doctor has said (SP002)."""
    for slot in slots:
        yield Check("app-size", slot.label, Outcome.PASSED, f"{len(content)} of {slot.size} bytes")


def first_update(slots: tuple[Partition, ...], boot: str | None) -> Iterator[Check]:
    """Where a new board writes its first update (esp_ota_get_next_update_partition), if its bundle says what it starts.

    That is the next slot after the one that runs. A board with one slot that runs from it has none to write to.
    """
    if boot is None:
        return
    labels = [slot.label for slot in sorted(slots, key=lambda slot: slot.subtype)]
    following = labels[(labels.index(boot) + 1) % len(labels)] if boot in labels else labels[0]
    if following == boot:
        why = "new boards run from it, and have no other slot: only an app that runs elsewhere can write this update"
        yield Check("first-update", boot, Outcome.NOT_VERIFIABLE, why)
    else:
        yield Check("first-update", following, Outcome.PASSED, f"new boards run from {boot}, and write it here")


def pre_encrypt(slots: tuple[Partition, ...], content: bytes, fleet: FleetBundle) -> tuple[SlotImage, ...]:
    """One ciphertext a slot, each decrypted again, and at the other slots' addresses, too.

    Raises InputError SE762 if the fleet has no flash encryption, or its key is not given; CheckError SE763 if a
    ciphertext does not decrypt.
    """
    key = fleet.key
    if key is None:
        missing = (
            "its key is not given" if fleet.boards.policy.flash_encryption.enabled else "it has no flash encryption"
        )
        raise InputError(
            "SE762",
            f"images cannot be encrypted for this fleet: {missing}",
            cure="leave --pre-encrypted out: boards encrypt what they receive. Or give --flash-encryption-key",
            place="--pre-encrypted",
        )
    plaintext = pad_to_unit(content, key.scheme)
    return tuple(_image(slot, slots, plaintext, key) for slot in slots)


def _image(slot: Partition, slots: tuple[Partition, ...], plaintext: bytes, key: FlashEncryptionKey) -> SlotImage:
    ciphertext = encrypt_and_undo(plaintext, key=key, flash_offset=slot.offset)
    if ciphertext is None:
        raise CheckError(
            "SE763",
            "the ciphertext does not decrypt to the app",
            cure="this is a defect of secure-provision or of this machine; do not use the package, and report it",
            place=slot.label,
        )
    checks = [Check("slot-decrypts", slot.label, Outcome.PASSED, f"to the app, at 0x{slot.offset:x}")]
    for other in slots:
        if other != slot and not _boots(decrypt(ciphertext, key=key, flash_offset=other.offset)):
            evidence = f"at 0x{other.offset:x}, in {other.label}, it decrypts to no image"
            checks.append(Check("slot-only-there", slot.label, Outcome.PASSED, evidence))
    return SlotImage(slot, ciphertext, tuple(checks))


def _boots(content: bytes) -> bool:
    try:
        parse_image(content, place="")
    except SecureProvisionError:
        return False
    return True
