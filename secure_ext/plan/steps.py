# SPDX-License-Identifier: Apache-2.0
"""The Plan: an ordered, immutable list of steps. Nothing else decides what is written or burned."""

from __future__ import annotations

import enum
from typing import Literal

from secure_ext.chips.chip import KeyBlock
from secure_ext.chips.user_block import UserBlock
from secure_ext.policy.signing_entry import Signs
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import BoardRequirements, CarriedBlock, KeyPlace, MustBeClear


class Stage(str, enum.Enum):
    """The three parts of provisioning, which can be run apart and only in this order."""

    FLASH = "flash"
    BURN = "burn"
    SEAL = "seal"


@frozen
class KeepFlash:
    """Leave `size` bytes of flash from `offset` on as they are; with `encrypt` as the chip will decrypt them.

    `label` is the name of the partition, or of the range.
    """

    label: str
    offset: int
    size: int
    encrypt: bool

    @property
    def end(self) -> int:
        """The first flash address behind it."""
        return self.offset + self.size


@frozen
class EraseFlash:
    """Erase `size` bytes of flash from `offset`; to the end of the flash that the board has when `size` is None."""

    offset: int
    size: int | None


@frozen
class WriteImages:
    """Write every image of the bundle and compare its MD5 on the chip."""


class KeyRole(str, enum.Enum):
    """What a burned key is for; also the stem of its file's name."""

    FLASH_ENCRYPTION = "flash_encryption_key"
    FLASH_ENCRYPTION_1 = "flash_encryption_key_half_1"
    FLASH_ENCRYPTION_2 = "flash_encryption_key_half_2"
    NVS_HMAC = "nvs_hmac_key"
    DIGEST_0 = "secure_boot_digest_0"
    DIGEST_1 = "secure_boot_digest_1"
    DIGEST_2 = "secure_boot_digest_2"
    EXTRA_0 = "extra_key_0"
    EXTRA_1 = "extra_key_1"
    EXTRA_2 = "extra_key_2"
    EXTRA_3 = "extra_key_3"
    EXTRA_4 = "extra_key_4"
    EXTRA_5 = "extra_key_5"

    @property
    def is_extra(self) -> bool:
        """Whether it is a key of the firmware's own, which the profile names."""
        return self in EXTRA_ROLES

    @property
    def is_secret(self) -> bool:
        """False for the digests, which are public and must stay readable."""
        return not self.value.startswith("secure_boot_digest")


EXTRA_ROLES = (KeyRole.EXTRA_0, KeyRole.EXTRA_1, KeyRole.EXTRA_2, KeyRole.EXTRA_3, KeyRole.EXTRA_4, KeyRole.EXTRA_5)
"""The blocks of the firmware's own keys, in the order of the profile; a key of 384 bits takes two of them."""


class BlockPart(str, enum.Enum):
    """Which part of a key block a key fills; only the ESP32-C2 has halves (of 16 bytes)."""

    WHOLE = "whole"
    LOW = "low"
    HIGH = "high"


@frozen
class BurnKey:
    """Burn a key into a block, with its purpose and protections.

    `purpose` is espefuse's name, empty on esp32, whose blocks have fixed purposes. `signs` is what the key of a digest
    signs in this bundle; None for a secret.
    """

    role: KeyRole
    block: KeyBlock
    purpose: str
    part: BlockPart = BlockPart.WHOLE
    signs: Signs | None = None

    @property
    def is_burned_reversed(self) -> bool:
        """Whether espefuse burns the key's last byte first, as for flash encryption and for ECDSA."""
        return self.role.value.startswith("flash_encryption") or self.is_ecdsa

    @property
    def is_ecdsa(self) -> bool:
        """Whether it is a private key of the chip's ECDSA peripheral, or half of one."""
        return self.purpose.startswith("ECDSA_")

    @property
    def rd_dis_bits(self) -> tuple[int, ...]:
        """The bits of RD_DIS that must be set for a secret."""
        if not self.role.is_secret:
            return ()
        return self.block.rd_dis_bits[:1] if self.part is BlockPart.LOW else self.block.rd_dis_bits


@frozen
class BurnData:
    """Burn data into the block of user data: all of its bytes, of which the bits in `mask` are the plan's.

    With `mac_list` (SHA-256 of it) each board gets its custom MAC address from a list, and `data` lack it.
    """

    block: UserBlock
    data: bytes
    mask: bytes
    holds: tuple[Literal["custom_mac", "user_data"], ...]
    mac_list: str | None = None


@frozen
class BurnField:
    """Burn a value into a field."""

    field: str
    value: int


@frozen
class WriteProtect:
    """Make a field, and all that share its bit of WR_DIS, read-only."""

    field: str
    wr_dis_bit: int


Action = KeepFlash | EraseFlash | WriteImages | BurnKey | BurnData | BurnField | WriteProtect


@frozen
class Step:
    """One step of the plan.

    Attributes:
        id: unique in the plan and stable between runs of this tool.
        stage: the part of provisioning it belongs to.
        action: what it does.
        title: what it does, in words.
        why: why it is done.
        source: where the wish comes from: a Kconfig symbol, a profile key, a rule of ESP-IDF.
        min_revision: done only on chips of at least this revision (major * 100 + minor); 0 for all.
    """

    id: str
    stage: Stage
    action: Action
    title: str
    why: str
    source: str
    min_revision: int = 0

    @property
    def irreversible(self) -> bool:
        """True for everything but work on the flash."""
        return self.stage is not Stage.FLASH


@frozen
class Plan:
    """What will be done to a chip.

    Attributes:
        chip: ESP-IDF's target name.
        min_revision: least chip revision (major * 100 + minor) that the plan is good for.
        max_revision: greatest one, None if unknown.
        steps: in the order they are done.
        must_be_clear: what is asked of the chip before the first step.
        requirements: what this firmware asks of the board beyond that; None in plans of earlier versions.
        carried: the eFuse blocks in which a board may carry something that is not the plan's; None if it may not.
        places: the blocks from which the station chooses where a block is taken; None where it may not choose.
    """

    chip: str
    min_revision: int
    max_revision: int | None
    steps: tuple[Step, ...]
    must_be_clear: tuple[MustBeClear, ...]
    requirements: BoardRequirements | None = None
    carried: tuple[CarriedBlock, ...] | None = None
    places: tuple[KeyPlace, ...] | None = None

    def of(self, stage: Stage) -> tuple[Step, ...]:
        """The steps of one stage."""
        return tuple(step for step in self.steps if step.stage is stage)

    @property
    def kept(self) -> tuple[KeepFlash, ...]:
        """What stays in flash."""
        return tuple(step.action for step in self.steps if isinstance(step.action, KeepFlash))

    @property
    def keys(self) -> tuple[BurnKey, ...]:
        """Every key that is burned."""
        return tuple(step.action for step in self.steps if isinstance(step.action, BurnKey))
