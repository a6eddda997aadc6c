# SPDX-License-Identifier: Apache-2.0
"""The keys of one board: made anew, or where an interrupted run has burned them readably, taken from the chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from secure_ext.chips.facts import chip_facts
from secure_ext.errors import DeviceError
from secure_ext.formats.flash_encryption import FlashEncryptionKey, FlashEncryptionScheme, flash_encryption_key
from secure_ext.keys.ecdsa_key import generate_ecdsa_key, key_parts, pem_of_block
from secure_ext.keys.symmetric import generate_secret
from secure_ext.plan.steps import KeyRole
from secure_ext.station.chip_state import ChipState
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import KeyStep, PlanDocument
from secure_ext.station.step_status import Status, StepStatus, key_content

_HALVES = (KeyRole.FLASH_ENCRYPTION_1.value, KeyRole.FLASH_ENCRYPTION_2.value)


@frozen
class DeviceKeys:
    """The keys that one board has for itself, by role, as espefuse gets them; the bytes never show in ``repr``."""

    burned: dict[str, bytes] = field(repr=False)

    @property
    def fingerprints(self) -> dict[str, str]:
        """The public name of each, by role."""
        return {role: fingerprint(data) for role, data in self.burned.items()}

    @property
    def whole(self) -> dict[str, bytes]:
        """The keys as key files hold them: the two halves of a flash encryption key are one."""
        keys = {role: data for role, data in self.burned.items() if role not in _HALVES}
        if all(role in self.burned for role in _HALVES):
            keys[KeyRole.FLASH_ENCRYPTION.value] = b"".join(self.burned[role] for role in _HALVES)
        return keys

    def pem_files(self, plan: PlanDocument) -> dict[str, bytes]:
        """Those of the keys that espefuse takes as PEM, by name of the file in the bundle."""
        curves = chip_facts(plan.chip).ecdsa_curves
        return {
            step.pem: pem_of_block(self.burned[step.role], curves[step.purpose])
            for step in plan.keys
            if step.pem and step.role in self.burned
        }

    def cipher_key(self, chip: str) -> FlashEncryptionKey | None:
        """The flash encryption key as the cipher takes it; None if it is not among these keys."""
        raw = self.whole.get(KeyRole.FLASH_ENCRYPTION.value)
        scheme = FlashEncryptionScheme.XTS if chip_facts(chip).has_xts else FlashEncryptionScheme.ESP32
        return None if raw is None else flash_encryption_key(scheme, raw)


def new_keys(steps: Sequence[KeyStep]) -> DeviceKeys:
    """New random keys for the key steps of a plan that each board gets for itself."""
    return DeviceKeys({step.role: _new_key(step) for step in steps})


def _new_key(step: KeyStep) -> bytes:
    """A key on P-384 is nearly any number of its length, so its halves are made apart."""
    if step.pem:
        return key_parts(generate_ecdsa_key("P-192" if step.purpose == "ECDSA_KEY_P192" else "P-256"))[0]
    if step.purpose == "ECDSA_KEY_P384_H":
        return bytes(16) + generate_secret(step.role, 16).data
    return generate_secret(step.role, step.length).data


def completed_keys(statuses: Sequence[StepStatus], state: ChipState) -> DeviceKeys | None:
    """The keys for a board on which an earlier run was cut; None if all of its keys are burned.

    What is missing on the chip is made anew. A block that is burned and can still be read gives its key back. A hidden
    one cannot, and is not needed: neither to burn it, nor for the images, which are encrypted already.

    Args:
        statuses: those of the board's own key steps, compared with the plan that began it; none is a conflict.
        state: what the chip shows.

    Raises DeviceError SE852 when half of a flash encryption key is hidden and the other half is missing.
    """
    own = [(item, item.step) for item in statuses if isinstance(item.step, KeyStep)]
    missing = [step for item, step in own if item.status is Status.MISSING]
    if not missing:
        return None
    hidden = [step for item, step in own if item.hidden]
    if {step.role for step in missing} & set(_HALVES) and {step.role for step in hidden} & set(_HALVES):
        raise DeviceError(
            "SE852",
            "one half of this board's flash encryption key is burned and hidden, the other half was never burned, and "
            "this station keeps no copy",
            cure="set the board aside; if a sealed copy was kept, whoever can open it (`secure-provision keys unseal`) "
            "finishes the board with provision.py of a bundle that holds those keys, with --keys FOLDER",
            place=hidden[0].block,
        )
    keys = new_keys(missing).burned
    for item, step in own:
        if item.status is Status.BEGUN and not item.hidden:
            content = key_content(step, state)
            keys[step.role] = content[::-1] if step.reversed else content
    return DeviceKeys(keys)


def own_steps(plan: PlanDocument, roles: Sequence[str]) -> list[KeyStep]:
    """The key steps of a plan with one of these roles."""
    return [step for step in plan.keys if step.role in roles]
