# SPDX-License-Identifier: Apache-2.0
"""The order the silicon demands, as a builder that cannot be driven out of it.

Each `add` checks the step against everything that was added before and raises PlanOrderError the moment a step comes
too early, too late or twice; `build` checks that nothing is missing. A plan that exists is therefore in a legal order.

The rules and where they come from:

- flash first, burn second, seal last: after the release eFuses esptool refuses ciphertext, and after the download mode
  is closed espefuse can do nothing (ESP-IDF ``security-features-enablement-workflows.rst``, steps 7 and 8);
- a key before the eFuse that turns its use on;
- read-protected keys before RD_DIS is write-protected (same document, the note under "Enable Flash Encryption and
  Secure Boot v2 Externally");
- a field before the write-protect bit it shares (espefuse's ``efuse_defs``); data likewise, and once a block;
- the bootloaders in flash before the eFuses that tell the ROM of them;
- the digest of a slot before anything revokes slots, and no revocation of a slot in use.
"""

from __future__ import annotations

from secure_ext.chips.chip import Chip
from secure_ext.errors import CheckError
from secure_ext.plan.block_data import data_fault, field_in_data
from secure_ext.plan.bootloader_efuses import is_bootloader_efuse
from secure_ext.plan.key_blocks import EXTRA_PURPOSES, burned_purposes, can_hold
from secure_ext.plan.steps import (
    EXTRA_ROLES,
    BlockPart,
    BurnData,
    BurnField,
    BurnKey,
    EraseFlash,
    KeepFlash,
    KeyRole,
    Plan,
    Stage,
    Step,
    WriteImages,
    WriteProtect,
)
from secure_ext.policy.extra_keys import chip_purposes
from secure_ext.station.efuse_features import DOWNLOAD_FIELDS
from secure_ext.station.plan_document import MustBeClear

_STAGES = (Stage.FLASH, Stage.BURN, Stage.SEAL)
_FLASH_KEYS = (
    {KeyRole.FLASH_ENCRYPTION},
    {KeyRole.FLASH_ENCRYPTION_1, KeyRole.FLASH_ENCRYPTION_2},
)
_PURPOSES = {
    KeyRole.FLASH_ENCRYPTION: ("XTS_AES_128_KEY", "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS"),
    KeyRole.FLASH_ENCRYPTION_1: ("XTS_AES_256_KEY_1",),
    KeyRole.FLASH_ENCRYPTION_2: ("XTS_AES_256_KEY_2",),
    KeyRole.NVS_HMAC: ("HMAC_UP",),
    KeyRole.DIGEST_0: ("SECURE_BOOT_DIGEST0", "SECURE_BOOT_DIGEST"),
    KeyRole.DIGEST_1: ("SECURE_BOOT_DIGEST1",),
    KeyRole.DIGEST_2: ("SECURE_BOOT_DIGEST2",),
    **dict.fromkeys(EXTRA_ROLES, EXTRA_PURPOSES),
}
"""The key purposes that make a block hold what a role is for; the second ones are those of the ESP32-C2."""
_FIXED_BLOCKS = {KeyRole.FLASH_ENCRYPTION: "BLOCK1", KeyRole.DIGEST_0: "BLOCK2"}
"""Where the hardware of the esp32 looks for a key."""
_DIGESTS = (KeyRole.DIGEST_0, KeyRole.DIGEST_1, KeyRole.DIGEST_2)


class PlanOrderError(CheckError):
    """A step in a place where it would damage the chip or achieve nothing (SE401)."""

    def __init__(self, step: str, reason: str) -> None:
        self.step = step
        self.reason = reason
        super().__init__(
            "SE401",
            f"the plan would be out of order: {step}: {reason}",
            cure="this is a defect of secure-provision; please report it with the profile and the sdkconfig",
            place=step,
        )


class PlanBuilder:
    """Collects steps, refusing every illegal order."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._steps: list[Step] = []
        self._keys: list[BurnKey] = []
        self._burned: dict[str, int] = {}
        self._locked_bits: set[int] = set()

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was added."""
        return tuple(self._steps)

    def add(self, step: Step) -> None:
        """Appends a step. Raises PlanOrderError if it may not stand here."""
        if any(step.id == other.id for other in self._steps):
            raise PlanOrderError(step.id, "the step is there already")
        if self._steps and _STAGES.index(step.stage) < _STAGES.index(self._steps[-1].stage):
            raise PlanOrderError(step.id, f"stage {step.stage.value} cannot follow {self._steps[-1].stage.value}")
        action = step.action
        if isinstance(action, (KeepFlash, EraseFlash, WriteImages)):
            self._check_flash(step, action)
        elif isinstance(action, BurnKey):
            self._check_key(step, action)
            self._keys.append(action)
        elif isinstance(action, BurnData):
            fault = data_fault(self._chip, step, action, self._steps)
            if fault:
                raise PlanOrderError(step.id, fault)
        elif isinstance(action, BurnField):
            self._check_field(step, action)
            self._burned[action.field] = action.value
        else:
            self._check_write_protect(step, action)
            self._locked_bits.add(action.wr_dis_bit)
        self._steps.append(step)

    def build(self, *, min_revision: int, max_revision: int | None, must_be_clear: tuple[MustBeClear, ...]) -> Plan:
        """The finished plan. Raises PlanOrderError if a key lacks its other half, or the eFuse that uses it."""
        roles = self._roles
        if roles & _FLASH_KEYS[1] and not roles >= _FLASH_KEYS[1]:
            raise PlanOrderError("build", "one half of the XTS-AES-256 key is missing")
        if sum(key.purpose.endswith("_P384_L") for key in self._keys) != sum(
            key.purpose.endswith("_P384_H") for key in self._keys
        ):
            raise PlanOrderError("build", "one half of an ECDSA-384 key is missing")
        if self._has_flash_key != (self._chip.crypt_count.name in self._burned):
            raise PlanOrderError("build", "a flash encryption key and its enabling eFuse go together")
        if any(key.role in _DIGESTS for key in self._keys) != (self._chip.secure_boot_enable.name in self._burned):
            raise PlanOrderError("build", "a secure boot digest and its enabling eFuse go together")
        return Plan(self._chip.name, min_revision, max_revision, tuple(self._steps), must_be_clear)

    @property
    def _roles(self) -> set[KeyRole]:
        return {key.role for key in self._keys}

    @property
    def _has_flash_key(self) -> bool:
        return any(self._roles >= needed for needed in _FLASH_KEYS)

    def _check_flash(self, step: Step, action: KeepFlash | EraseFlash | WriteImages) -> None:
        if step.stage is not Stage.FLASH:
            raise PlanOrderError(step.id, "flash is written while the chip is open, before any eFuse is burned")
        if isinstance(action, EraseFlash) and any(isinstance(other.action, WriteImages) for other in self._steps):
            raise PlanOrderError(step.id, "erasing now would delete the images")
        before = [other.action for other in self._steps]
        if isinstance(action, KeepFlash) and any(isinstance(other, (EraseFlash, WriteImages)) for other in before):
            raise PlanOrderError(step.id, "what is kept has to be known before anything is erased")
        if isinstance(action, EraseFlash) and any(
            action.offset < kept.end and (action.size is None or kept.offset < action.offset + action.size)
            for kept in before
            if isinstance(kept, KeepFlash)
        ):
            raise PlanOrderError(step.id, "this would erase what is kept")

    def _check_key(self, step: Step, key: BurnKey) -> None:
        if step.stage is not Stage.BURN:
            raise PlanOrderError(step.id, "keys are burned in the burn stage")
        if key.role in self._roles:
            raise PlanOrderError(step.id, "this key is burned already")
        self._check_purpose(step, key)
        for other in self._keys:
            if other.block == key.block and BlockPart.WHOLE in (other.part, key.part):
                raise PlanOrderError(step.id, f"{key.block.name} is taken")
            if other.block == key.block and other.part == key.part:
                raise PlanOrderError(step.id, f"this half of {key.block.name} is taken")
            if other.purpose == key.purpose and key.purpose.startswith(("XTS_", "SECURE_BOOT_")):
                raise PlanOrderError(step.id, f"two keys with the purpose {key.purpose}")
        if key.role.is_secret and self._is_locked("RD_DIS"):
            raise PlanOrderError(step.id, "RD_DIS is write-protected: the key could not be read-protected any more")
        if self._chip.crypt_count.name in self._burned or self._chip.secure_boot_enable.name in self._burned:
            raise PlanOrderError(step.id, "keys are burned before the eFuse that enables their use")
        if key.role in _DIGESTS and any(field.startswith("SECURE_BOOT_KEY_REVOKE") for field in self._burned):
            raise PlanOrderError(step.id, "slots are revoked after all digests are burned")
        if key.block.wr_dis_bit in self._locked_bits:
            raise PlanOrderError(step.id, f"{key.block.name} is write-protected")

    def _check_purpose(self, step: Step, key: BurnKey) -> None:
        if self._chip.has_fixed_key_blocks:
            if key.purpose or _FIXED_BLOCKS.get(key.role) != key.block.name:
                raise PlanOrderError(step.id, f"the chip does not look for this key in {key.block.name}")
        elif key.purpose not in _PURPOSES[key.role]:
            raise PlanOrderError(step.id, f"a block with the purpose {key.purpose or 'none'} does not serve this key")
        if not can_hold(self._chip, key.block, key.purpose):
            raise PlanOrderError(step.id, f"{key.block.name} cannot hold such a key on this chip ({key.purpose})")
        if key.role.is_extra and not any(key.purpose in burned_purposes(use) for use in chip_purposes(self._chip)):
            raise PlanOrderError(step.id, f"the chip has no purpose {key.purpose}")

    def _check_field(self, step: Step, action: BurnField) -> None:
        field = self._chip.efuses.require(action.field)
        if action.field in self._burned:
            raise PlanOrderError(step.id, f"{action.field} is burned already")
        if not 0 < action.value < 1 << field.bits:
            raise PlanOrderError(step.id, f"{action.value} is not a value for {field.bits} bits of {action.field}")
        if (action.field in DOWNLOAD_FIELDS) != (step.stage is Stage.SEAL):
            raise PlanOrderError(
                step.id, "the download mode is closed in the seal stage, and nothing else is done there"
            )
        if field.wr_dis_bit in self._locked_bits:
            raise PlanOrderError(step.id, f"{action.field} is write-protected by an earlier step")
        if field_in_data(self._chip, action.field, self._steps):
            raise PlanOrderError(step.id, f"{action.field} lies in what is burned as data")
        if action.field == self._chip.crypt_count.name:
            self._check_turning_flash_encryption_on(step)
        if action.field == self._chip.secure_boot_enable.name:
            self._check_turning_secure_boot_on(step)
        if action.field.startswith("SECURE_BOOT_KEY_REVOKE"):
            self._check_revocation(step, action.field)
        if is_bootloader_efuse(action.field):
            self._check_images_are_written(step)

    def _check_turning_flash_encryption_on(self, step: Step) -> None:
        if not self._has_flash_key:
            raise PlanOrderError(step.id, "flash encryption without its key bricks the chip")
        if "FLASH_CRYPT_CONFIG" in self._chip.efuses.fields and "FLASH_CRYPT_CONFIG" not in self._burned:
            raise PlanOrderError(step.id, "FLASH_CRYPT_CONFIG decides how the key is used, it comes first")
        self._check_images_are_written(step)

    def _check_turning_secure_boot_on(self, step: Step) -> None:
        if not any(key.role in _DIGESTS for key in self._keys):
            raise PlanOrderError(step.id, "secure boot without a digest bricks the chip")
        self._check_images_are_written(step)

    def _check_images_are_written(self, step: Step) -> None:
        if not any(isinstance(other.action, WriteImages) for other in self._steps):
            raise PlanOrderError(step.id, "the images have to be in flash first")

    def _check_revocation(self, step: Step, field: str) -> None:
        digests = [key.role for key in self._keys if key.role in _DIGESTS]
        if not digests:
            raise PlanOrderError(step.id, "slots are revoked after the digests are burned")
        if _DIGESTS[int(field[-1])] in digests:
            raise PlanOrderError(step.id, "this slot holds a key")

    def _check_write_protect(self, step: Step, action: WriteProtect) -> None:
        if step.stage is not Stage.BURN:
            raise PlanOrderError(step.id, "write protections are burned in the burn stage")
        if self._chip.efuses.require(action.field).wr_dis_bit != action.wr_dis_bit:
            raise PlanOrderError(step.id, f"WR_DIS bit {action.wr_dis_bit} does not protect {action.field}")
        if action.wr_dis_bit in self._locked_bits:
            raise PlanOrderError(step.id, f"{action.field} is write-protected already")

    def _is_locked(self, field: str) -> bool:
        return self._chip.efuses.require(field).wr_dis_bit in self._locked_bits
