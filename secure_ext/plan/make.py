# SPDX-License-Identifier: Apache-2.0
"""From chip and policy to the plan: which eFuses, in which order, and why.

The lists follow ESP-IDF's ``docs/en/security/security-features-enablement-workflows.rst`` (called "workflows" in the
reasons) and what its bootloader burns (``components/bootloader_support/src/<chip>/*_secure_features.c``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from secure_ext.chips.chip import Chip
from secure_ext.chips.user_block import user_block
from secure_ext.errors import CheckError
from secure_ext.plan.block_data import data_steps
from secure_ext.plan.bootloader_efuses import BootloaderEfuses, burned_for_bootloaders
from secure_ext.plan.carried import carried_blocks
from secure_ext.plan.demands import erase_start, least_revision, must_be_clear, step_revision
from secure_ext.plan.erased import erased_around
from secure_ext.plan.further_efuses import further_efuses
from secure_ext.plan.key_blocks import assign_key_blocks, extra_key_roles, key_places
from secure_ext.plan.key_words import KEY_TITLES, key_origin, key_reason
from secure_ext.plan.order import PlanBuilder
from secure_ext.plan.steps import (
    BlockPart,
    BurnField,
    EraseFlash,
    KeepFlash,
    Plan,
    Stage,
    Step,
    WriteImages,
    WriteProtect,
)
from secure_ext.policy.policy import DownloadMode, JtagAccess, NvsScheme, Policy
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.efuse_features import DOWNLOAD_FIELDS, JTAG_FIELDS
from secure_ext.station.plan_document import BoardRequirements

_NOTHING_TOLD = BootloaderEfuses()


def make_plan(
    chip: Chip,
    policy: Policy,
    *,
    min_revision: int,
    max_revision: int | None,
    has_images: bool = True,
    requirements: BoardRequirements | None = None,
    kept: tuple[KeepFlash, ...] = (),
    bootloaders: BootloaderEfuses = _NOTHING_TOLD,
) -> Plan:
    """The plan for a chip.

    Args:
        chip: the chip, loaded for the build's least revision.
        policy: what the user wants.
        min_revision: least chip revision of the build, major * 100 + minor.
        max_revision: greatest one, None if unknown.
        has_images: False to plan the eFuses alone (for tests of the order).
        requirements: what the firmware asks of the board.
        kept: what stays in flash, by address.
        bootloaders: what the ROM is told of them.

    Raises CheckError SE403 when there is nothing to do; UsageError SE402, SE406, SE408, SE432, SE433, ToolError SE201.
    """
    burns_data = bool(policy.efuses or policy.extra_keys) or policy.user_block.is_wanted
    if not policy.locks_down and policy.nvs.scheme is not NvsScheme.HMAC and not burns_data:
        raise CheckError(
            "SE403",
            "neither flash encryption nor secure boot nor an NVS key is wanted: there is nothing to provision",
            cure="give --flash-encryption release and --secure-boot, or enable them in menuconfig (Security features), "
            "or in a profile: `secure-provision profile --init profile.yaml` writes one",
        )
    builder = PlanBuilder(chip)
    planner = _Planner(chip, policy, kept, requirements)
    steps: list[Step] = []
    if has_images:
        steps += planner.flash()
    steps += planner.keys()
    steps += data_steps(chip, policy, planner.secure_version)
    steps += planner.fields()
    steps += [burn_field(*burned) for burned in burned_for_bootloaders(chip, bootloaders)]
    steps += planner.enabling()
    steps += planner.write_protections()
    steps += planner.seal()
    for step in steps:
        builder.add(step)
    plan = builder.build(
        min_revision=max(min_revision, least_revision(chip, steps)),
        max_revision=max_revision,
        must_be_clear=tuple(must_be_clear(chip, steps)),
    )
    return replace(
        plan,
        requirements=requirements,
        carried=carried_blocks(chip, policy),
        places=key_places(chip, policy.reserved_key_blocks) if policy.placed_at_station else None,
    )


class _Planner:
    def __init__(
        self, chip: Chip, policy: Policy, kept: tuple[KeepFlash, ...], requirements: BoardRequirements | None
    ) -> None:
        self.chip = chip
        self.secure_version = requirements.secure_version if requirements else None
        self.kept = kept
        self.policy = policy
        self.flash_encryption = policy.flash_encryption
        self.secure_boot = policy.secure_boot

    def flash(self) -> Iterator[Step]:
        for number, keep in enumerate(self.kept):
            how = "encrypt what is there, as the chip will decrypt it" if keep.encrypt else "leave it as it is"
            yield Step(
                f"keep-flash-{number}",
                Stage.FLASH,
                keep,
                f"Keep {keep.label} (0x{keep.offset:x} to 0x{keep.end:x}): {how}",
                "boards come with it, and it cannot be made again",
                self.policy.origin("keep"),
            )
        for number, erase in enumerate(erased_around(self.kept, erase_start(self.chip))):
            yield Step(
                f"erase-flash-{number}" if number else "erase-flash",
                Stage.FLASH,
                erase,
                _erase_title(erase),
                "no plaintext of an earlier firmware may stay readable",
                "workflows, flash encryption step 1",
            )
        yield Step(
            "write-images",
            Stage.FLASH,
            WriteImages(),
            "Write the images and compare their MD5 on the chip",
            "flash can only be written freely while the chip is open, before its eFuses are burned",
            "workflows, step 7",
        )

    def keys(self) -> Iterator[Step]:
        digests = iter(self.secure_boot.keys)
        extras = dict(extra_key_roles(self.policy.extra_keys))
        for assigned in assign_key_blocks(self.chip, self.policy):
            key = assigned if assigned.role.is_secret else replace(assigned, signs=next(digests).signs)
            title = f"key {extras[key.role].name} ({key.purpose})" if key.role in extras else KEY_TITLES[key.role]
            half = "" if key.part is BlockPart.WHOLE else f" ({key.part.value} half)"
            protections = "read- and write-protected" if key.role.is_secret else "write-protected, readable"
            yield Step(
                "burn-key-" + key.role.value.replace("_", "-"),
                Stage.BURN,
                key,
                f"Burn the {title} into {key.block.name}{half}, {protections}",
                key_reason(key),
                f"profile: {extras[key.role].setting}" if key.role in extras else self.policy.origin(key_origin(key)),
            )

    def fields(self) -> Iterator[Step]:
        done: set[str] = set()
        for step in self._all_fields():
            if step.id not in done:
                done.add(step.id)
                yield step

    def _all_fields(self) -> Iterator[Step]:
        if self.flash_encryption.enabled:
            yield from self._flash_encryption_fields()
        if self.policy.locks_down:
            yield from self._common_fields()
        if self.secure_boot.enabled:
            yield from self._secure_boot_fields()
        flag = user_block(self.chip).mac_flag
        if flag is not None and self.policy.user_block.has_mac:
            yield burn_field(flag, 1, "it says that there is a custom MAC address", "espefuse, burn-custom-mac")
        for name, value in further_efuses(self.chip, self.policy, self.secure_version):
            yield burn_field(name, value, "the profile asks for it", f"profile: efuses.{name}")

    def _field(self, name: str, value: int, why: str, source: str) -> Iterator[Step]:
        if self.chip.uses(name):
            yield burn_field(name, value, why, source, step_revision(self.chip, name))

    def _flash_encryption_fields(self) -> Iterator[Step]:
        source = "workflows, flash encryption step 5A"
        if not self.chip.facts.has_xts:
            yield from self._field(
                "FLASH_CRYPT_CONFIG", 0xF, "every bit of the key depends on the flash address", "workflows, step 4"
            )
        if self.chip.has_one_key_block and self.flash_encryption.key_size is KeySize.XTS_128:
            yield from self._field(
                "XTS_KEY_LENGTH_256", 1, "the key fills the whole block", "espefuse, burn-key with XTS_AES_128_KEY"
            )
        if not self.flash_encryption.uart_encryption_allowed:
            for name in ("DISABLE_DL_ENCRYPT", "DIS_DOWNLOAD_MANUAL_ENCRYPT"):
                yield from self._field(name, 1, "nobody can have the ROM encrypt flash of their choice", source)
        if not self.flash_encryption.uart_decryption_allowed:
            yield from self._field("DISABLE_DL_DECRYPT", 1, "nobody can have the ROM decrypt the flash", source)
        if not self.flash_encryption.uart_cache_allowed:
            for name in ("DISABLE_DL_CACHE", "DIS_DOWNLOAD_ICACHE", "DIS_DOWNLOAD_DCACHE", "SPI_DOWNLOAD_MSPI_DIS"):
                yield from self._field(name, 1, "nobody can read decrypted flash in download mode", source)
        if self.flash_encryption.pseudo_round:
            yield from self._field(
                "XTS_DPA_PSEUDO_LEVEL",
                self.flash_encryption.pseudo_round,
                "dummy rounds hide the key from power analysis",
                self.policy.origin("flash_encryption.pseudo_round"),
            )

    def _common_fields(self) -> Iterator[Step]:
        source = "workflows, step 5A"
        jtag, soft = self.policy.lockdown.jtag, self.chip.efuses.find("SOFT_DIS_JTAG")
        if jtag is JtagAccess.DISABLED:
            for name in JTAG_FIELDS:
                yield from self._field(name, 1, "a debugger could read keys and memory", source)
        if jtag is JtagAccess.BY_HMAC and soft is not None:
            why = "JTAG is closed until firmware with the token opens it"
            yield from self._field(soft.name, (1 << soft.bits) - 1, why, self.policy.origin("lockdown.jtag"))
        if self.policy.lockdown.rom_basic_disabled:
            yield from self._field(
                "CONSOLE_DEBUG_DISABLE", 1, "the ROM must not fall back to its BASIC interpreter", "flash_encrypt.c"
            )
        for name in ("DIS_DIRECT_BOOT", "DIS_LEGACY_SPI_BOOT"):
            yield from self._field(name, 1, "legacy boot modes run code that nothing verified", source)
        yield from self._field("DIS_BOOT_REMAP", 1, "ROM must not be remapped to RAM", source)
        if self.policy.lockdown.download_mode is DownloadMode.SECURE:
            yield from self._field(
                "DOWNLOAD_MODE_XPD_ON",
                1,
                "the ROM powers the flash in download mode, or it could not be written once the chip is sealed",
                "esptool, espefuse/efuse/esp32p4/fields.py",
            )

    def _secure_boot_fields(self) -> Iterator[Step]:
        source = "workflows, secure boot step 5A"
        soft = self.chip.efuses.find("SOFT_DIS_JTAG")
        if self.policy.lockdown.jtag is JtagAccess.DISABLED and soft is not None:
            yield from self._field(soft.name, (1 << soft.bits) - 1, "software must not turn JTAG on again", source)
        if self.secure_boot.aggressive_revoke:
            yield from self._field(
                "SECURE_BOOT_AGGRESSIVE_REVOKE",
                1,
                "a key is revoked the first time its signature fails",
                self.policy.origin("secure_boot.aggressive_revoke"),
            )
        if self.secure_boot.scheme == "ecdsa384":
            self.chip.efuses.require("SECURE_BOOT_SHA384_EN")
            yield from self._field(
                "SECURE_BOOT_SHA384_EN", 1, "ECDSA-384 signatures are made over SHA-384", "workflows, step 4"
            )
        if self.secure_boot.ecc_constant_time:
            yield from self._field(
                "ECC_FORCE_CONST_TIME",
                1,
                "the firmware burns it at its first boot, which the write protections here would make fail",
                "CONFIG_ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL",
            )
        if self.secure_boot.revoke_unused:
            for slot in range(len(self.secure_boot.keys), self.chip.facts.digest_slots):
                yield from self._field(
                    f"SECURE_BOOT_KEY_REVOKE{slot}",
                    1,
                    f"nobody can add a signing key in the free slot {slot + 1}",
                    self.policy.origin("secure_boot.revoke_unused"),
                )

    def enabling(self) -> Iterator[Step]:
        if self.flash_encryption.enabled:
            count = self.chip.crypt_count
            release = self.flash_encryption.release
            yield burn_field(
                count.name,
                (1 << count.bits) - 1 if release else 1,
                "turns flash encryption on, for ever" if release else "turns flash encryption on (development mode)",
                self.policy.origin("flash_encryption.mode"),
            )
        if self.secure_boot.enabled:
            yield burn_field(
                self.chip.secure_boot_enable.name,
                1,
                "turns Secure Boot V2 on: only firmware signed by these keys boots, for ever",
                self.policy.origin("secure_boot.enabled"),
            )

    def write_protections(self) -> Iterator[Step]:
        if self._locks_cache():
            for name in ("DIS_CACHE", "DIS_ICACHE"):
                if self.chip.efuses.find(name):
                    yield self._write_protect(
                        name, "nobody can turn the cache off and brick the chip", "workflows, step 5B"
                    )
        if self.flash_encryption.release and self.chip.has_one_key_block:
            yield self._write_protect(
                self.chip.crypt_count.name,
                "XTS_KEY_LENGTH_256 must not change any more, or the key would be read wrongly",
                "flash_encrypt.c (esp_flash_encryption_set_release_mode)",
            )
        if self.policy.user_block.write_protect:
            yield self._write_protect(
                user_block(self.chip).protected_as,
                "nobody can burn more bits of the block of user data, and spoil what it holds",
                "profile: write_protect_user_block",
            )
        if not self.secure_boot.enabled:
            return
        if self.chip.efuses.find("ECDSA_CURVE_MODE") and not self.secure_boot.p192_curve:
            yield self._write_protect(
                "ECDSA_CURVE_MODE",
                "nobody can switch the curve",
                "workflows, secure boot step 5A",
            )
        sha384 = self.chip.efuses.find("SECURE_BOOT_SHA384_EN")
        wanted = self.secure_boot.scheme != "ecdsa384" and not self.secure_boot.sha384_write_protection_skipped
        if wanted and sha384 is not None and sha384.wr_dis_bit is not None:
            yield self._write_protect(
                sha384.name, "nobody can switch the hash and stop the chip", "workflows, secure boot step 5A"
            )
        if not self.secure_boot.read_protection_stays_writable:
            yield self._write_protect(
                "RD_DIS", "nobody can hide the digest and stop the chip", "workflows, secure boot step 5B"
            )

    def _locks_cache(self) -> bool:
        """As ESP-IDF's bootloader: the bit also locks JTAG and download fields, so not while these stay open."""
        flash_encryption = self.flash_encryption
        return (
            flash_encryption.enabled
            and not flash_encryption.cache_write_protection_skipped
            and not flash_encryption.uart_encryption_allowed
            and not flash_encryption.uart_cache_allowed
            and self.policy.lockdown.jtag is not JtagAccess.OPEN
        )

    def _write_protect(self, name: str, why: str, source: str) -> Step:
        field = self.chip.efuses.require(name)
        if field.wr_dis_bit is None:
            raise AssertionError(f"{name} has no write protection")
        shared = [other for other in self.chip.fields_sharing_write_protection(field) if other != name]
        also = f" (with {', '.join(shared)})" if shared else ""
        return Step(
            "write-protect-" + name.lower().replace("_", "-"),
            Stage.BURN,
            WriteProtect(name, field.wr_dis_bit),
            f"Write-protect {name}{also}",
            why,
            source,
            step_revision(self.chip, name),
        )

    def seal(self) -> Iterator[Step]:
        if not self.policy.locks_down:
            return
        source = self.policy.origin("lockdown.download_mode")
        mode = self.policy.lockdown.download_mode
        if mode is DownloadMode.SECURE:
            yield burn_field(
                "ENABLE_SECURITY_DOWNLOAD", 1, "esptool can then only write flash; espefuse can do nothing", source
            )
        elif mode is DownloadMode.DISABLED and self.chip.facts.download_off == "UART_DOWNLOAD_DIS":
            yield burn_field(
                "UART_DOWNLOAD_DIS",
                1,
                "no serial access to the ROM any more",
                source,
                step_revision(self.chip, "UART_DOWNLOAD_DIS"),
            )
        elif mode is DownloadMode.DISABLED:
            yield burn_field("DIS_DOWNLOAD_MODE", 1, "no serial access to the ROM any more", source)


def _erase_title(erase: EraseFlash) -> str:
    if erase.size is not None:
        return f"Erase the flash from 0x{erase.offset:x} to 0x{erase.offset + erase.size:x}"
    return f"Erase the flash from 0x{erase.offset:x} to its end" if erase.offset else "Erase the whole flash"


def burn_field(name: str, value: int, why: str, source: str, min_revision: int = 0) -> Step:
    """The step that burns `value` into `name`, in the stage the field belongs to."""
    sealing = name in DOWNLOAD_FIELDS
    return Step(
        "burn-" + name.lower().replace("_", "-"),
        Stage.SEAL if sealing else Stage.BURN,
        BurnField(name, value),
        f"Burn {name} = {value}",
        why,
        source,
        min_revision,
    )
