# SPDX-License-Identifier: Apache-2.0
"""What each eFuse key block will hold: its keys, their purposes and protections, or nothing."""

from __future__ import annotations

from collections.abc import Sequence

from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import KeyStep, PlanDocument

ROLE_TITLES = {
    "flash_encryption_key": "Flash encryption key",
    "flash_encryption_key_half_1": "Flash encryption key, first half",
    "flash_encryption_key_half_2": "Flash encryption key, second half",
    "nvs_hmac_key": "NVS encryption key (HMAC)",
    "secure_boot_digest_0": "Digest of signing key 1",
    "secure_boot_digest_1": "Digest of signing key 2",
    "secure_boot_digest_2": "Digest of signing key 3",
    **{f"extra_key_{number}": f"Key {number + 1} of the firmware's own" for number in range(6)},
}


@frozen
class BlockKey:
    """A key in a block.

    Attributes:
        role: what it is for, as the manifest calls it.
        title: the same in words.
        part: ``whole``, or on ESP32-C2 ``low`` or ``high``.
        purpose: espefuse's name of the purpose; empty where a block has a fixed one.
        fingerprint: identifies the burned bytes; None before a bundle is made.
        read_protected: nobody can read it.
        write_protected: nobody can change it.
        purpose_protected: nobody can change the purpose.
        signs: what the key of a digest signs, ``all``, ``bootloader`` or ``nothing``; None for a secret.
    """

    role: str
    title: str
    part: str
    purpose: str
    fingerprint: str | None
    read_protected: bool
    write_protected: bool
    purpose_protected: bool
    signs: str | None

    @property
    def protections(self) -> str:
        """Its protections in words."""
        reading = "read-protected" if self.read_protected else "readable"
        writing = "write-protected" if self.write_protected else "NOT write-protected"
        return f"{reading}, {writing}"


@frozen
class Block:
    """One key block; `keys` is empty if the plan leaves it alone."""

    name: str
    keys: tuple[BlockKey, ...]


def key_block_map(names: Sequence[str], plan: PlanDocument) -> tuple[Block, ...]:
    """The key blocks `names` of the chip, with the keys that the plan document `plan` burns into them."""
    burned = plan.keys
    order = list(dict.fromkeys([*names, *(step.block for step in burned)]))
    return tuple(Block(name, tuple(_key(step) for step in burned if step.block == name)) for name in order)


def _key(step: KeyStep) -> BlockKey:
    return BlockKey(
        role=step.role,
        title=ROLE_TITLES[step.role],
        part=step.part,
        purpose=step.purpose,
        fingerprint=step.fingerprint,
        read_protected=bool(step.rd_dis_bits),
        write_protected=bool(step.wr_dis_bits),
        purpose_protected=len(step.wr_dis_bits) > 1 or step.purpose_field is None,
        signs=(step.signs or "all") if step.is_digest else None,
    )
