# SPDX-License-Identifier: Apache-2.0
"""From sdkconfig and profile to what is closed besides: the download mode, JTAG, the BASIC in ROM."""

from __future__ import annotations

from collections.abc import Sequence

from secure_ext.errors import UsageError
from secure_ext.policy.choices import Choices
from secure_ext.policy.extra_key import OPENS_JTAG
from secure_ext.policy.policy import (
    DownloadMode,
    ExtraKeyPolicy,
    FlashEncryptionMode,
    FlashEncryptionPolicy,
    JtagAccess,
    LockdownPolicy,
    SecureBootPolicy,
)


def lockdown_policy(
    choices: Choices,
    flash_encryption: FlashEncryptionPolicy,
    secure_boot: SecureBootPolicy,
    extra: Sequence[ExtraKeyPolicy],
) -> LockdownPolicy:
    """What is closed.

    Raises UsageError SE321 for a download mode that the chip does not have, SE323, SE324 for JTAG that cannot be opened
    by HMAC.
    """
    config, facts = choices.config, choices.chip.facts
    closed = DownloadMode.SECURE if facts.secure_download_mode else DownloadMode.DISABLED
    development = flash_encryption.mode is FlashEncryptionMode.DEVELOPMENT
    given = choices.profile.text("lockdown.download_mode")
    mode = choices.choose(
        "lockdown.download_mode",
        DownloadMode(given) if given else None,
        choices.first_enabled(
            {
                "SECURE_DISABLE_ROM_DL_MODE": DownloadMode.DISABLED,
                "SECURE_ENABLE_SECURE_ROM_DL_MODE": DownloadMode.SECURE,
                "SECURE_INSECURE_ALLOW_DL_MODE": DownloadMode.OPEN,
            }
        ),
        DownloadMode.OPEN if development else closed,
    )
    if mode is DownloadMode.SECURE and not facts.secure_download_mode:
        raise UsageError(
            "SE321",
            f"{facts.name} has no secure download mode",
            cure="use lockdown.download_mode: disabled",
            place=choices.origins.get("lockdown.download_mode", "lockdown.download_mode"),
        )
    basic = choices.profile.text("lockdown.rom_basic")
    return LockdownPolicy(
        download_mode=mode if flash_encryption.enabled or secure_boot.enabled else DownloadMode.OPEN,
        jtag=_jtag(choices, extra, is_locked=flash_encryption.enabled or secure_boot.enabled),
        rom_basic_disabled=choices.choose(
            "lockdown.rom_basic",
            None if basic is None else basic == "disabled",
            ("SECURE_BOOT_ALLOW_ROM_BASIC", False if config.enabled("SECURE_BOOT_ALLOW_ROM_BASIC") else None),
            default=True,
        ),
    )


def _jtag(choices: Choices, extra: Sequence[ExtraKeyPolicy], *, is_locked: bool) -> JtagAccess:
    """ESP-IDF, HMAC for Enabling JTAG: the soft disable counts only where nothing has disabled JTAG for ever.

    A plan without flash encryption and secure boot closes nothing.
    """
    given = choices.profile.text("lockdown.jtag")
    jtag = choices.choose(
        "lockdown.jtag",
        None if given is None else JtagAccess(given),
        ("SECURE_BOOT_ALLOW_JTAG", JtagAccess.OPEN if choices.config.enabled("SECURE_BOOT_ALLOW_JTAG") else None),
        default=JtagAccess.DISABLED,
    )
    if jtag is not JtagAccess.BY_HMAC:
        return jtag if is_locked else JtagAccess.OPEN
    if not choices.chip.facts.hmac or not choices.chip.uses("SOFT_DIS_JTAG"):
        raise UsageError(
            "SE323",
            f"JTAG of {choices.chip.name} cannot be opened by HMAC",
            cure="use lockdown.jtag: disabled, or open",
            place="lockdown.jtag",
        )
    if not is_locked:
        raise UsageError(
            "SE324",
            "lockdown.jtag is hmac, and the plan closes nothing",
            cure="turn flash encryption or secure boot on, or take it out of the profile",
            place="lockdown.jtag",
        )
    if not any(key.purpose in OPENS_JTAG for key in extra):
        raise UsageError(
            "SE324",
            "lockdown.jtag is hmac, and no key would open JTAG again",
            cure="add one to the profile: `extra_keys: {jtag: {purpose: HMAC_DOWN_JTAG, key: generate}}`",
            place="lockdown.jtag",
        )
    return jtag
