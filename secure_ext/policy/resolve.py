# SPDX-License-Identifier: Apache-2.0
"""From sdkconfig and profile to the policy: sdkconfig gives the defaults, the profile overrides them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from secure_ext.chips.chip import Chip
from secure_ext.errors import UsageError
from secure_ext.policy.choices import Choices
from secure_ext.policy.extra_keys import extra_key_policies, identity_keys
from secure_ext.policy.identity import identity_policy
from secure_ext.policy.lockdown import lockdown_policy
from secure_ext.policy.paths import given_path
from secure_ext.policy.per_device import per_device_policy
from secure_ext.policy.policy import (
    BlankContent,
    FlashEncryptionMode,
    FlashEncryptionPolicy,
    KeySource,
    NvsPolicy,
    NvsScheme,
    Policy,
    SecureBootPolicy,
)
from secure_ext.policy.profile import Profile
from secure_ext.policy.refusals import (
    Config,
    refuse_nvs_keys_that_come_too_late,
    refuse_signing_keys,
    refuse_what_is_not_supported,
)
from secure_ext.policy.signing_entry import SigningEntry
from secure_ext.policy.user_block import user_block_policy
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.revision import revision_text


def resolve_policy(
    config: Config, chip: Chip, profile: Profile, project_dir: Path | None, *, key_may_be_missing: bool = False
) -> Policy:
    """The policy for a build.

    Args:
        config: what was built.
        chip: the target.
        profile: the user's overrides; may be empty.
        project_dir: what CONFIG_SECURE_BOOT_SIGNING_KEY is relative to; None if unknown.
        key_may_be_missing: resolve without a signing key as if there were one, which then `is_missing`.

    Raises InputError SE310, SE311, UsageError SE312 to SE317, SE319 to SE326, SE337, SE339, SE430, SE450, SE451, SE545,
    SE680 for what is recognised but cannot be done, by name; InputError SE318 when a signing key is missing, SE431 for
    user data that cannot be read, SE452 for the CA; UsageError SE642, SE643 for a bad PKCS#11 URI.
    """
    refuse_what_is_not_supported(config, profile)
    resolver = _Resolver(config, chip, profile, project_dir=project_dir, key_may_be_missing=key_may_be_missing)
    secure_boot = resolver.secure_boot()
    flash_encryption = resolver.flash_encryption(with_secure_boot=secure_boot.enabled)
    nvs = resolver.nvs()
    refuse_nvs_keys_that_come_too_late(flash_encryption, nvs)
    identity = identity_policy(chip, profile)
    extra_keys = (*extra_key_policies(resolver), *identity_keys(profile, identity))
    home = profile.text("keys.home")
    return Policy(
        flash_encryption=flash_encryption,
        secure_boot=secure_boot,
        nvs=nvs,
        lockdown=lockdown_policy(resolver, flash_encryption, secure_boot, extra_keys),
        images={label: given_path(profile.folder, name) for label, name in profile.mapping("images").items()},
        blank_partitions={label: BlankContent(value) for label, value in profile.mapping("blank_partitions").items()},
        accepted_findings=frozenset(profile.texts("doctor.accept") or ()),
        origins=resolver.origins,
        per_device=per_device_policy(profile),
        key_home=given_path(profile.folder, home) if home else None,
        key_blocks=profile.mapping("key_blocks"),
        reserved_key_blocks=frozenset(profile.texts("reserved_key_blocks") or ()),
        keep=profile.texts("keep"),
        efuses=profile.numbers("efuses"),
        boot=profile.text("boot"),
        extra_keys=extra_keys,
        placed_at_station=_placed_at_station(chip, profile),
        user_block=user_block_policy(profile),
        identity=identity,
    )


def _placed_at_station(chip: Chip, profile: Profile) -> bool:
    if profile.text("place") != "station":
        return False
    if profile.texts("keep") is None or any(block.purpose_field is None for block in chip.key_blocks):
        raise UsageError(
            "SE326",
            "keys are placed at the station where boards carry keys, and the profile does not say what such boards keep"
            if profile.texts("keep") is None
            else f"{chip.name} has fixed key blocks: nothing can be placed elsewhere",
            cure="say it with keep; `keep: []` if nothing in their flash belongs to them"
            if profile.texts("keep") is None
            else "take place out of the profile",
            place="place",
        )
    return True


@dataclass
class _Resolver(Choices):
    project_dir: Path | None = None
    key_may_be_missing: bool = False

    def flash_encryption(self, *, with_secure_boot: bool) -> FlashEncryptionPolicy:
        config, facts = self.config, self.chip.facts
        built_mode = self.first_enabled(
            {
                "SECURE_FLASH_ENCRYPTION_MODE_RELEASE": FlashEncryptionMode.RELEASE,
                "SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT": FlashEncryptionMode.DEVELOPMENT,
            }
        )
        given_mode = self.profile.text("flash_encryption.mode")
        mode = self.choose(
            "flash_encryption.mode",
            FlashEncryptionMode(given_mode) if given_mode else None,
            built_mode if config.enabled("SECURE_FLASH_ENC_ENABLED") else ("", None),
            FlashEncryptionMode.OFF,
        )
        built_size = self.first_enabled(
            {
                "SECURE_FLASH_ENCRYPTION_AES256": KeySize.XTS_256,
                "SECURE_FLASH_ENCRYPTION_AES128_DERIVED": KeySize.XTS_128_DERIVED,
                "SECURE_FLASH_ENCRYPTION_AES128": KeySize.XTS_128,
            }
        )
        default_size = facts.key_sizes[0]
        if self.chip.has_one_key_block and with_secure_boot:
            default_size = KeySize.XTS_128_DERIVED
        given_size = self.profile.text("flash_encryption.key_size")
        size = self.choose(
            "flash_encryption.key_size", KeySize(given_size) if given_size else None, built_size, default_size
        )
        if mode is not FlashEncryptionMode.OFF and size not in facts.key_sizes:
            raise UsageError(
                "SE314",
                f"{facts.name} has no flash encryption key of kind {size.value}",
                cure="its kinds are: " + ", ".join(kind.value for kind in facts.key_sizes),
                place=self.origins.get("flash_encryption.key_size", "flash_encryption.key_size"),
            )
        if mode is not FlashEncryptionMode.OFF and size is KeySize.XTS_128 and with_secure_boot:
            self.refuse_full_key_beside_digest()
        development = mode is FlashEncryptionMode.DEVELOPMENT
        return FlashEncryptionPolicy(
            mode=mode,
            key_size=size,
            key=self.key_source(self.profile.text("flash_encryption.key") or "generate"),
            pseudo_round=self.pseudo_round(mode),
            uart_encryption_allowed=development
            and self.built_flag("SECURE_FLASH_UART_BOOTLOADER_ALLOW_ENC", default=True),
            uart_decryption_allowed=development and config.enabled("SECURE_FLASH_UART_BOOTLOADER_ALLOW_DEC"),
            uart_cache_allowed=development and config.enabled("SECURE_FLASH_UART_BOOTLOADER_ALLOW_CACHE"),
            cache_write_protection_skipped=development
            and self.built_flag("SECURE_FLASH_SKIP_WRITE_PROTECTION_CACHE", default=True),
        )

    def built_flag(self, symbol: str, *, default: bool) -> bool:
        """The symbol as built, `default` when the build has no flash encryption at all and so does not say."""
        return self.config.enabled(symbol) if self.config.enabled("SECURE_FLASH_ENC_ENABLED") else default

    def refuse_full_key_beside_digest(self) -> None:
        if self.chip.has_one_key_block:
            raise UsageError(
                "SE315",
                f"{self.chip.name} has one key block: a 256-bit flash encryption key leaves no room for the digest",
                cure="use flash_encryption.key_size: 128-derived together with secure boot",
                place=self.origins.get("flash_encryption.key_size", "flash_encryption.key_size"),
            )

    def pseudo_round(self, mode: FlashEncryptionMode) -> int:
        if not self.chip.uses("XTS_DPA_PSEUDO_LEVEL"):
            if self.profile.integer("flash_encryption.pseudo_round"):
                raise UsageError(
                    "SE316",
                    f"{self.chip.name} has no pseudo rounds",
                    cure="take flash_encryption.pseudo_round out of the profile",
                    place="flash_encryption.pseudo_round",
                )
            return 0
        built: int | None = None
        if self.config.enabled("SECURE_FLASH_PSEUDO_ROUND_FUNC"):
            built = self.config.integer("SECURE_FLASH_PSEUDO_ROUND_FUNC_STRENGTH")
        return self.choose(
            "flash_encryption.pseudo_round",
            self.profile.integer("flash_encryption.pseudo_round"),
            ("SECURE_FLASH_PSEUDO_ROUND_FUNC_STRENGTH", built),
            1 if mode is FlashEncryptionMode.RELEASE else 0,
        )

    def secure_boot(self) -> SecureBootPolicy:
        config, facts = self.config, self.chip.facts
        built_on = config.enabled("SECURE_BOOT") and config.enabled("SECURE_BOOT_V2_ENABLED")
        enabled = self.choose(
            "secure_boot.enabled",
            self.profile.flag("secure_boot.enabled"),
            ("SECURE_BOOT_V2_ENABLED", built_on or None),
            default=False,
        )
        ecdsa = "ecdsa384" if config.enabled("SECURE_BOOT_ECDSA_KEY_LEN_384_BITS") else "ecdsa256"
        scheme = self.choose(
            "secure_boot.scheme",
            self.profile.text("secure_boot.scheme"),
            self.first_enabled(
                {"SECURE_SIGNED_APPS_RSA_SCHEME": "rsa3072", "SECURE_SIGNED_APPS_ECDSA_V2_SCHEME": ecdsa}
            ),
            facts.schemes[0] if facts.schemes else "rsa3072",
        )
        if enabled and scheme not in facts.schemes:
            raise UsageError(
                "SE317",
                f"{facts.name} cannot verify {scheme} signatures"
                if facts.schemes
                else f"ESP-IDF does not support secure boot on {facts.name} yet",
                cure="its schemes are: " + ", ".join(facts.schemes)
                if facts.schemes
                else "leave secure boot off for this chip",
                place=self.origins.get("secure_boot.scheme", "secure_boot.scheme"),
            )
        if enabled and scheme == "ecdsa384" and self.chip.revision < facts.sha384_revision:
            needed = f"{revision_text(facts.sha384_revision)}"
            raise UsageError(
                "SE322",
                f"the build is for {facts.name} chips before {needed}, which cannot verify ecdsa384 signatures",
                cure=f"set the minimum chip revision to {needed} in menuconfig and build again, or use ecdsa256",
                place=self.origins.get("secure_boot.scheme", "secure_boot.scheme"),
            )
        return SecureBootPolicy(
            enabled=enabled,
            scheme=scheme,
            keys=self.signing_keys() if enabled else (),
            revoke_unused=self.choose(
                "secure_boot.revoke_unused",
                self.profile.flag("secure_boot.revoke_unused"),
                (
                    "SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS",
                    False if config.enabled("SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS") else None,
                ),
                default=True,
            ),
            aggressive_revoke=self.choose(
                "secure_boot.aggressive_revoke",
                self.profile.flag("secure_boot.aggressive_revoke"),
                (
                    "SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE",
                    config.enabled("SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE") or None,
                ),
                default=False,
            ),
            read_protection_stays_writable=self.choose(
                "secure_boot.keep_read_protection_writable",
                self.profile.flag("secure_boot.keep_read_protection_writable"),
                ("SECURE_BOOT_V2_ALLOW_EFUSE_RD_DIS", config.enabled("SECURE_BOOT_V2_ALLOW_EFUSE_RD_DIS") or None),
                default=False,
            ),
            sha384_write_protection_skipped=config.enabled("SECURE_BOOT_SKIP_WRITE_PROTECTION_SCA"),
            ecc_constant_time=config.enabled("ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL"),
            p192_curve=config.enabled("ESP_ECDSA_ENABLE_P192_CURVE"),
        )

    def signing_keys(self) -> tuple[KeySource, ...]:
        given = self.profile.signing_entries("secure_boot.keys")
        built: tuple[KeySource, ...] | None = None
        configured = self.config.text("SECURE_BOOT_SIGNING_KEY")
        if self.config.enabled("SECURE_BOOT_BUILD_SIGNED_BINARIES") and configured and self.project_dir:
            built = (KeySource(self.project_dir / configured),)
        keys = self.choose(
            "secure_boot.keys",
            tuple(self.signing_key(entry) for entry in given) if given else None,
            ("SECURE_BOOT_SIGNING_KEY", built),
            default=(),
        )
        if not keys and self.key_may_be_missing:
            return (KeySource(is_missing=True),)
        refuse_signing_keys(keys, self.chip.name, self.chip.facts.digest_slots)
        return keys

    def signing_key(self, entry: SigningEntry) -> KeySource:
        if entry.digest:
            return KeySource(digest=bytes.fromhex(entry.digest), signs=entry.signs)
        return replace(self.key_source(entry.key), signs=entry.signs)

    def nvs(self) -> NvsPolicy:
        built = self.first_enabled(
            {
                "NVS_SEC_KEY_PROTECT_USING_HMAC": NvsScheme.HMAC,
                "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC": NvsScheme.FLASH_ENCRYPTION,
                "NVS_SEC_KEY_PROTECT_NONE": NvsScheme.OFF,
                "NVS_ENCRYPTION": NvsScheme.FLASH_ENCRYPTION,  # before ESP-IDF 5.2 there was no other
            }
        )
        given = self.profile.text("nvs.scheme")
        scheme = self.choose(
            "nvs.scheme",
            NvsScheme(given) if given else None,
            built if self.config.enabled("NVS_ENCRYPTION") else ("", None),
            NvsScheme.OFF,
        )
        if scheme is NvsScheme.HMAC and not self.chip.facts.hmac:
            raise UsageError(
                "SE320",
                f"{self.chip.name} has no HMAC peripheral to protect NVS keys with",
                cure="use nvs.scheme: flash-encryption",
                place=self.origins.get("nvs.scheme", "nvs.scheme"),
            )
        built_id = self.config.integer("NVS_SEC_HMAC_EFUSE_KEY_ID")
        key_id = self.choose(
            "nvs.key_id",
            self.profile.integer("nvs.key_id"),
            ("NVS_SEC_HMAC_EFUSE_KEY_ID", built_id if built_id is not None and built_id >= 0 else None),
            None,
        )
        images = {
            label: given_path(self.profile.folder, name) for label, name in self.profile.mapping("nvs.images").items()
        }
        return NvsPolicy(scheme, self.nvs_key(scheme, with_images=bool(images)), key_id, images)

    def nvs_key(self, scheme: NvsScheme, *, with_images: bool) -> KeySource:
        given = self.profile.text("nvs.key")
        if scheme is NvsScheme.HMAC and given == "device":
            raise UsageError(
                "SE337",
                "the HMAC key of NVS cannot be left to the device: once secure boot has write-protected RD_DIS, "
                "the firmware can no longer read-protect a key of its own",
                cure="use nvs.key: generate, or a key file",
                place="nvs.key",
            )
        by_device = scheme is NvsScheme.FLASH_ENCRYPTION and given is None and not with_images
        if by_device or given == "device":
            return KeySource(by_device=True)
        return self.key_source(given or "generate")
