# SPDX-License-Identifier: Apache-2.0
"""What the user wants, as one immutable value: the only input of planning besides the chip and the build."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from secure_ext.policy.identity import IdentityPolicy
from secure_ext.policy.key_uri import KeyUri
from secure_ext.policy.signing_entry import Signs
from secure_ext.policy.user_block import UserBlockPolicy
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.frozen import frozen


class FlashEncryptionMode(str, enum.Enum):
    """ESP-IDF's usage modes of flash encryption."""

    OFF = "off"
    DEVELOPMENT = "development"
    RELEASE = "release"


class DownloadMode(str, enum.Enum):
    """What the UART ROM download mode can do once the device is sealed."""

    OPEN = "open"
    SECURE = "secure"
    DISABLED = "disabled"


class NvsScheme(str, enum.Enum):
    """How the keys of NVS encryption are protected."""

    OFF = "off"
    HMAC = "hmac"
    FLASH_ENCRYPTION = "flash-encryption"


class BlankContent(str, enum.Enum):
    """What an encrypted partition without an image holds."""

    ERASED = "erased"
    ENCRYPTED = "encrypted"


@frozen
class KeySource:
    """Where a key comes from: a file, a URI, made anew for each device, or else generated for the bundle.

    Attributes:
        by_device: the device makes it itself, at its first boot.
        digest: all that is known of a signing key that signs nothing: the secure boot digest of its public half.
        signs: what a signing key signs.
        is_missing: a signing key is needed, and none is given: good enough to look at the plan, not to carry it out.
    """

    path: Path | None = None
    uri: KeyUri | None = None
    per_device: bool = False
    by_device: bool = False
    digest: bytes | None = None
    signs: Signs = Signs.ALL
    is_missing: bool = False

    def describe(self) -> str:
        """For messages: the file's name, the token's URI (without a PIN), or how it is made."""
        if self.path is not None:
            return self.path.name
        if self.uri is not None:
            return str(self.uri)
        if self.by_device:
            return "made by the device"
        if self.digest is not None:
            return f"digest {self.digest.hex()}"
        if self.is_missing:
            return "not given"
        return "per-device" if self.per_device else "generated"


@frozen
class FlashEncryptionPolicy:
    """Flash encryption. The three ``uart_*`` flags are ESP-IDF's SECURE_FLASH_UART_BOOTLOADER_ALLOW_* options."""

    mode: FlashEncryptionMode
    key_size: KeySize
    key: KeySource
    pseudo_round: int
    uart_encryption_allowed: bool
    uart_decryption_allowed: bool
    uart_cache_allowed: bool
    cache_write_protection_skipped: bool

    @property
    def enabled(self) -> bool:
        """True in development and release mode."""
        return self.mode is not FlashEncryptionMode.OFF

    @property
    def release(self) -> bool:
        """True in release mode."""
        return self.mode is FlashEncryptionMode.RELEASE


@frozen
class SecureBootPolicy:
    """Secure Boot V2. `ecc_constant_time`, `p192_curve`: the firmware burns these eFuses at its first boot."""

    enabled: bool
    scheme: str
    keys: tuple[KeySource, ...]
    revoke_unused: bool
    aggressive_revoke: bool
    read_protection_stays_writable: bool
    sha384_write_protection_skipped: bool
    ecc_constant_time: bool
    p192_curve: bool


@frozen
class NvsPolicy:
    """NVS encryption.

    Attributes:
        scheme: how its keys are protected.
        key: the HMAC key, or with the flash encryption scheme the NVS keys themselves.
        key_id: number of the key block of the HMAC key, None for the first free one.
        images: partition label to CSV, for NVS images that are made here.
    """

    scheme: NvsScheme
    key: KeySource
    key_id: int | None
    images: Mapping[str, Path] = field(default_factory=dict)

    @property
    def has_keys_partition(self) -> bool:
        """Whether the bundle brings the content of the nvs_keys partition."""
        return self.scheme is NvsScheme.FLASH_ENCRYPTION and not self.key.by_device


class JtagAccess(str, enum.Enum):
    """What becomes of JTAG: closed for ever, closed until software opens it with a token, or left alone."""

    DISABLED = "disabled"
    BY_HMAC = "hmac"
    OPEN = "open"


@frozen
class LockdownPolicy:
    """What is closed besides."""

    download_mode: DownloadMode
    jtag: JtagAccess
    rom_basic_disabled: bool


@frozen
class ExtraKeyPolicy:
    """A further key of the firmware.

    Attributes:
        name: the owner's name of it.
        purpose: espefuse's name of the key purpose.
        key: where it comes from.
        block: ``KEY0`` to ``KEY5``; empty for the first that fits.
        is_identity: it is that of the board's identity.
    """

    name: str
    purpose: str
    key: KeySource
    block: str = ""
    is_identity: bool = False

    @property
    def setting(self) -> str:
        """The key of the profile that asks for it."""
        return "identity" if self.is_identity else f"extra_keys.{self.name}"


class KeyKeeping(str, enum.Enum):
    """What becomes of a key that was made for one device, once it is in the device."""

    DESTROY = "destroy"
    SEALED = "sealed"


@frozen
class PerDevicePolicy:
    """Keys that each device has for itself; `seal_to` is the public key (PEM) that sealed copies are encrypted to."""

    keep: KeyKeeping = KeyKeeping.DESTROY
    seal_to: Path | None = None


@frozen
class Policy:
    """Everything the user wants.

    `origins` tells for a profile key where its value comes from. `key_home` is the folder in which generated keys are
    kept; None for the one in the project. `key_blocks` has, for a key that the profile names, its block (``KEY2``);
    `reserved_key_blocks` are left alone. `keep` names partitions and ranges of flash that stay; it is None where boards
    carry nothing, and empty where they do, but not in flash. `efuses` has further eFuses with what they become,
    `user_block` what goes into the eFuse block of user data.
    With `placed_at_station` a key goes into a free block where its own is taken.
    `extra_keys` are burned for the firmware, in the order of the profile, and last that of `identity`, which each board
    has for itself.
    `boot` names the app partition that a new board starts, by label or subtype; None leaves it to the build.
    """

    flash_encryption: FlashEncryptionPolicy
    secure_boot: SecureBootPolicy
    nvs: NvsPolicy
    lockdown: LockdownPolicy
    images: Mapping[str, Path] = field(default_factory=dict)
    blank_partitions: Mapping[str, BlankContent] = field(default_factory=dict)
    accepted_findings: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict)
    per_device: PerDevicePolicy = PerDevicePolicy()
    key_home: Path | None = None
    key_blocks: Mapping[str, str] = field(default_factory=dict)
    reserved_key_blocks: frozenset[str] = frozenset()
    keep: tuple[str, ...] | None = None
    efuses: Mapping[str, int] = field(default_factory=dict)
    boot: str | None = None
    extra_keys: tuple[ExtraKeyPolicy, ...] = ()
    placed_at_station: bool = False
    user_block: UserBlockPolicy = UserBlockPolicy()
    identity: IdentityPolicy | None = None

    @property
    def has_per_device_keys(self) -> bool:
        """True when a key that is burned is made for each device on its own."""
        flash_encryption = self.flash_encryption.enabled and self.flash_encryption.key.per_device
        nvs = self.nvs.scheme is NvsScheme.HMAC and self.nvs.key.per_device
        return flash_encryption or nvs or any(extra.key.per_device for extra in self.extra_keys)

    @property
    def is_per_device(self) -> bool:
        """True when the bundle of each board is made when the board is there: for its own keys, or its own address."""
        return self.has_per_device_keys or self.user_block.macs is not None

    @property
    def locks_down(self) -> bool:
        """True when anything of flash encryption or secure boot is to be enabled."""
        return self.flash_encryption.enabled or self.secure_boot.enabled

    def origin(self, key: str) -> str:
        """Where the value of profile key `key` comes from, for the reasons in the plan."""
        return self.origins.get(key, "default")
