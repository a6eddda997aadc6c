# SPDX-License-Identifier: Apache-2.0
"""The boards in the field, as the bundle tells that they were made with: what an update of them must fit.

The fleet's plan is the policy of its updates. What a bundle of an earlier version does not record is None here: a rule
that needs it says that it cannot be seen, and never that it is fine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secure_ext.build.build import Role
from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.chips.chip import Chip, load_chip
from secure_ext.formats.app_description import AppDescription, read_app_description
from secure_ext.formats.partition_table import PartitionTable
from secure_ext.formats.secure_boot import read_signature_blocks
from secure_ext.formats.signature_block import SignatureBlock
from secure_ext.plan.read_document import plan_of
from secure_ext.plan.steps import BurnField, KeyRole, Plan
from secure_ext.plan.trusted_keys import Slot, digest_slots
from secure_ext.policy.policy import (
    DownloadMode,
    FlashEncryptionMode,
    FlashEncryptionPolicy,
    JtagAccess,
    KeySource,
    LockdownPolicy,
    NvsPolicy,
    NvsScheme,
    Policy,
    SecureBootPolicy,
)
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import PlanDocument


@frozen
class FleetImage:
    """An image of the bundle; `content` is what the chip reads of it, None if nobody can read it here.

    `starts_first`: the bundle says that a new board starts this app.
    """

    role: Role
    offset: int
    content: bytes | None
    has_nvs_keys: bool = False
    starts_first: bool = False


@frozen
class Fleet:
    """What an update must fit.

    Attributes:
        chip: the boards' chip.
        plan: what was done to them.
        policy: the same as wishes; its NVS scheme is off if `nvs` is None.
        slots: what their digest slots hold; empty without secure boot.
        table: their partition table, None if it is encrypted and the key is not given.
        table_offset: its flash address.
        nvs: how they encrypt NVS, None if that is not recorded.
        settings: Kconfig symbols of their firmware (see `secure_ext.bundle.settings`), None if not recorded.
        idf_version: of their firmware; None if unknown.
        flash_size: bytes of flash that their bootloader believes in, None if not known.
        app: what their own app says, None if it cannot be read.
        app_blocks: the signatures of that app, None if it cannot be read.
        least_secure_version: what anti-rollback on the boards wants at least, None if it is not known.
    """

    chip: Chip
    plan: Plan
    policy: Policy
    slots: tuple[Slot, ...]
    table: PartitionTable | None
    table_offset: int
    nvs: NvsPolicy | None
    settings: SdkConfig | None
    idf_version: str | None
    flash_size: int | None
    app: AppDescription | None
    app_blocks: tuple[SignatureBlock, ...] | None
    least_secure_version: int | None

    @property
    def block_revisions(self) -> tuple[int, int | None] | None:
        """Least and greatest eFuse block revision that their own app starts on; None if nothing tells."""
        needs = self.plan.requirements
        if needs is not None:
            return needs.min_block_revision, needs.max_block_revision
        return None if self.app is None else (self.app.min_block_revision, self.app.max_block_revision)

    def setting(self, symbol: str) -> bool | None:
        """Whether their firmware was built with the symbol; None if that is not recorded."""
        return None if self.settings is None else self.settings.enabled(symbol)


def read_fleet_facts(
    document: PlanDocument,
    images: Sequence[FleetImage],
    *,
    table: PartitionTable | None,
    settings: Mapping[str, Any] | None,
    idf_version: str | None,
    flash_size: int | None,
    revoked: frozenset[int] = frozenset(),
    least_secure_version: int | None = None,
) -> Fleet:
    """The facts of a fleet, from its plan's `document` and the images of its bundle.

    Args:
        document: a valid plan document.
        images: of the bundle; one is the partition table.
        table: the partition table, if it can be read.
        settings: the manifest's member of that name, None in bundles of earlier versions.
        idf_version: of the manifest.
        flash_size: likewise, for plans without requirements.
        revoked: digest slots that were revoked since.
        least_secure_version: what the user says that the boards want; None takes that of the fleet's own app.

    Raises the ToolErrors of `load_chip`, and the errors of `read_signature_blocks`.
    """
    chip = load_chip(document.chip, document.min_revision)
    plan = plan_of(document, chip)
    config = None if settings is None else SdkConfig(dict(settings))
    nvs = _nvs(plan, config, images)
    apps = [image for image in images if image.role is Role.APP and _describes_itself(image)]
    app = next((image for image in apps if image.starts_first), apps[0] if apps else None)
    description = read_app_description(app.content) if app is not None and app.content is not None else None
    blocks = read_signature_blocks(app.content, "the fleet's app") if app is not None and app.content else None
    needs = plan.requirements
    return Fleet(
        chip=chip,
        plan=plan,
        policy=_policy(plan, chip, nvs, _scheme(chip, config, blocks)),
        slots=digest_slots(document, revoked),
        table=table,
        table_offset=next(image.offset for image in images if image.role is Role.PARTITION_TABLE),
        nvs=nvs,
        settings=config,
        idf_version=idf_version,
        flash_size=flash_size if needs is None else needs.flash_size,
        app=description,
        app_blocks=blocks,
        least_secure_version=_least(least_secure_version, description),
    )


def signature_scheme(config: SdkConfig) -> str | None:
    """The scheme that firmware built so verifies, as ``secure_boot.scheme`` names it; None if it verifies nothing."""
    if config.enabled("SECURE_SIGNED_APPS_RSA_SCHEME"):
        return "rsa3072"
    if not config.enabled("SECURE_SIGNED_APPS_ECDSA_V2_SCHEME"):
        return None
    sizes = (bits for bits in (384, 192) if config.enabled(f"SECURE_BOOT_ECDSA_KEY_LEN_{bits}_BITS"))
    return f"ecdsa{next(sizes, 256)}"


def nvs_scheme(config: SdkConfig) -> NvsScheme:
    """How firmware built so protects the keys of its default NVS partition."""
    if not config.enabled("NVS_ENCRYPTION"):
        return NvsScheme.OFF
    return NvsScheme.HMAC if config.enabled("NVS_SEC_KEY_PROTECT_USING_HMAC") else NvsScheme.FLASH_ENCRYPTION


def signs_in_software(config: SdkConfig) -> bool:
    """Whether an app built so verifies updates with its own key, without secure boot."""
    schemes = ("SECURE_SIGNED_APPS_RSA_SCHEME", "SECURE_SIGNED_APPS_ECDSA_V2_SCHEME")
    return config.enabled("SECURE_SIGNED_ON_UPDATE_NO_SECURE_BOOT") and any(map(config.enabled, schemes))


def _describes_itself(image: FleetImage) -> bool:
    return image.content is not None and read_app_description(image.content) is not None


def _least(given: int | None, app: AppDescription | None) -> int | None:
    return app.secure_version if given is None and app is not None else given


def _nvs(plan: Plan, config: SdkConfig | None, images: Sequence[FleetImage]) -> NvsPolicy | None:
    burned = next((key for key in plan.keys if key.role is KeyRole.NVS_HMAC), None)
    if burned is not None:
        return NvsPolicy(NvsScheme.HMAC, KeySource(), int(burned.block.name[-1]))
    if any(image.has_nvs_keys for image in images):
        return NvsPolicy(NvsScheme.FLASH_ENCRYPTION, KeySource(), None)
    if config is None:
        return None
    return NvsPolicy(nvs_scheme(config), KeySource(by_device=True), config.integer("NVS_SEC_HMAC_EFUSE_KEY_ID"))


def _policy(plan: Plan, chip: Chip, nvs: NvsPolicy | None, scheme: str | None) -> Policy:
    """The wishes that such a plan comes of, as far as an update has to do with them."""
    fields = {step.action.field: step.action.value for step in plan.steps if isinstance(step.action, BurnField)}
    count, roles = chip.crypt_count, {key.role for key in plan.keys}
    mode = FlashEncryptionMode.OFF
    if count.name in fields:
        full = fields[count.name] == (1 << count.bits) - 1
        mode = FlashEncryptionMode.RELEASE if full else FlashEncryptionMode.DEVELOPMENT
    download = DownloadMode.SECURE if "ENABLE_SECURITY_DOWNLOAD" in fields else DownloadMode.OPEN
    closed = "DIS_DOWNLOAD_MODE" in fields or "UART_DOWNLOAD_DIS" in fields
    return Policy(
        FlashEncryptionPolicy(
            mode=mode,
            key_size=KeySize.XTS_256 if KeyRole.FLASH_ENCRYPTION_1 in roles else chip.facts.key_sizes[0],
            key=KeySource(),
            pseudo_round=fields.get("XTS_DPA_PSEUDO_LEVEL", 0),
            uart_encryption_allowed=False,
            uart_decryption_allowed=False,
            uart_cache_allowed=False,
            cache_write_protection_skipped=False,
        ),
        SecureBootPolicy(
            enabled=chip.secure_boot_enable.name in fields,
            scheme="ecdsa384" if "SECURE_BOOT_SHA384_EN" in fields else scheme or "",
            keys=(),
            revoke_unused=False,
            aggressive_revoke="SECURE_BOOT_AGGRESSIVE_REVOKE" in fields,
            read_protection_stays_writable=False,
            sha384_write_protection_skipped=False,
            ecc_constant_time=False,
            p192_curve=False,
        ),
        nvs or NvsPolicy(NvsScheme.OFF, KeySource(), None),
        LockdownPolicy(DownloadMode.DISABLED if closed else download, jtag=JtagAccess.OPEN, rom_basic_disabled=False),
    )


def _scheme(chip: Chip, config: SdkConfig | None, blocks: tuple[SignatureBlock, ...] | None) -> str | None:
    """The scheme of the boards' signatures; None if nothing tells."""
    if config is not None:
        return signature_scheme(config)
    if blocks:
        return blocks[0].scheme.value
    return chip.facts.schemes[0] if len(chip.facts.schemes) == 1 else None
