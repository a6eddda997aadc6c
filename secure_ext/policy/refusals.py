# SPDX-License-Identifier: Apache-2.0
"""What is recognised in sdkconfig and profile, and cannot be done: each refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from secure_ext.errors import InputError, UsageError
from secure_ext.policy.key_uri import is_key_uri
from secure_ext.policy.policy import FlashEncryptionPolicy, KeySource, NvsPolicy, NvsScheme
from secure_ext.policy.profile import Profile
from secure_ext.policy.signing_entry import Signs


class Config(Protocol):
    """What is read of the build's sdkconfig (`secure_ext.build.sdkconfig.SdkConfig`)."""

    def enabled(self, name: str) -> bool:
        """True if the symbol is ``y``."""

    def integer(self, name: str) -> int | None:
        """The symbol's number."""

    def text(self, name: str) -> str | None:
        """The symbol's text."""


def refuse_what_is_not_supported(config: Config, profile: Profile) -> None:
    """Refuses features and sources of keys that are known, and not covered.

    Raises InputError SE310, SE311 for what the build asks for; UsageError SE312, SE313 for what the profile does.
    """
    if config.enabled("SECURE_BOOT_V1_ENABLED"):
        raise InputError(
            "SE310",
            "the build uses Secure Boot V1, which signs with a key the device keeps and cannot be prepared on the host",
            cure="use Secure Boot V2: set the minimum chip revision to v3.0, choose V2 in menuconfig and build again",
            place="CONFIG_SECURE_BOOT_V1_ENABLED",
        )
    if config.enabled("SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR"):
        raise InputError(
            "SE311",
            "the build takes the flash encryption key from the Key Manager, whose recovery data only the chip can make",
            cure="choose eFuse Key Block under Flash Encryption Key Source in menuconfig and build again",
            place="CONFIG_SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR",
        )
    keys = [("flash_encryption.key", profile.text("flash_encryption.key")), ("nvs.key", profile.text("nvs.key"))]
    keys += [("secure_boot.keys", entry.key) for entry in profile.signing_entries("secure_boot.keys") or ()]
    for key, value in keys:
        if value == "per-device" and key == "secure_boot.keys":
            raise UsageError(
                "SE312",
                "a signing key per device is not supported: an update would have to be signed for each of them",
                cure="use one signing key for the product; flash_encryption.key and nvs.key can be per-device",
                place=key,
            )
        if value is not None and is_key_uri(value) and key != "secure_boot.keys":
            raise UsageError(
                "SE313",
                "only a signing key can be in a PKCS#11 token: this one is burned into the chip, and a token keeps it",
                cure="give a key file, or `generate`",
                place=key,
            )


def no_signing_key() -> InputError:
    """The error for secure boot without a signing key."""
    return InputError(
        "SE318",
        "secure boot is on, but no signing key is given",
        cure="name it: --signing-key FILE, or secure_boot.keys in the profile; "
        "`secure-provision keys generate` makes one",
        place="secure_boot.keys",
    )


def refuse_signing_keys(keys: Sequence[KeySource], chip: str, slots: int) -> None:
    """Raises InputError SE318 (no key), UsageError SE319 (more than `slots`), SE545 (none signs the app)."""
    if not keys:
        raise no_signing_key()
    if len(keys) > slots:
        raise UsageError(
            "SE319",
            f"{len(keys)} signing keys are given, but {chip} has room for {slots}",
            cure=f"give at most {slots}",
            place="secure_boot.keys",
        )
    if not any(key.signs is Signs.ALL for key in keys):
        raise UsageError(
            "SE545",
            "none of the signing keys signs the app, so no board would start it",
            cure="name the key of the app as well (--signing-key FILE), or let one key in secure_boot.keys have "
            "`signs: all`",
            place="secure_boot.keys",
        )


def refuse_nvs_keys_that_come_too_late(flash_encryption: FlashEncryptionPolicy, nvs: NvsPolicy) -> None:
    """Raises UsageError SE339 when the bundle would need a key that is only made when a device is flashed."""
    if nvs.key.per_device and nvs.scheme is NvsScheme.FLASH_ENCRYPTION:
        raise _too_late("only the HMAC key of NVS can be made for each device by the station", "use nvs.key: device")
    if nvs.key.per_device and nvs.images:
        raise _too_late(
            "values for NVS cannot be encrypted in the bundle with a key that is made for each device",
            "leave nvs.images out, or use nvs.key: generate",
        )
    if flash_encryption.key.per_device and nvs.has_keys_partition:
        raise _too_late(
            "the NVS keys would lie in plaintext in the bundle: each device has its own flash encryption key",
            "use nvs.scheme: hmac; or leave nvs.images out, with nvs.key: device",
        )


def _too_late(cause: str, cure: str) -> UsageError:
    return UsageError("SE339", cause, cure=cure, place="nvs.key")
