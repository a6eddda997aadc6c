# SPDX-License-Identifier: Apache-2.0
"""From sdkconfig and profile to the policy: defaults, what overrides what, and every refusal by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.chips.chip import load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.errors import InputError, SecureProvisionError, UsageError
from secure_ext.policy.policy import (
    BlankContent,
    DownloadMode,
    FlashEncryptionMode,
    JtagAccess,
    KeySource,
    NvsScheme,
    Policy,
)
from secure_ext.policy.profile import check_profile
from secure_ext.policy.resolve import resolve_policy
from secure_ext.station.chip_facts import KeySize

KEYS = {"keys": ["key.pem"]}
RELEASE = {"SECURE_FLASH_ENC_ENABLED": True, "SECURE_FLASH_ENCRYPTION_MODE_RELEASE": True}
DEVELOPMENT = {"SECURE_FLASH_ENC_ENABLED": True, "SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT": True}
SECURE_BOOT = {"SECURE_BOOT": True, "SECURE_BOOT_V2_ENABLED": True, "SECURE_SIGNED_APPS_RSA_SCHEME": True}


def resolve(
    chip: str, config: dict[str, Any] | None = None, project_dir: Path | None = None, **profile: dict[str, Any]
) -> Policy:
    loaded = check_profile({"schema": 1, **profile}, Path("/profiles/profile.yaml"))
    return resolve_policy(SdkConfig(config or {}), load_chip(chip, 0), loaded, project_dir)


def refusal(*arguments: Any, **profile: Any) -> SecureProvisionError:
    with pytest.raises(SecureProvisionError) as caught:
        resolve(*arguments, **profile)
    assert caught.value.cause and caught.value.cure and caught.value.place
    return caught.value


@pytest.mark.parametrize("chip", CHIP_NAMES)
def test_without_any_wish_nothing_is_locked(chip: str) -> None:
    policy = resolve(chip)
    assert not policy.locks_down
    assert policy.nvs.scheme is NvsScheme.OFF
    assert policy.lockdown.download_mode is DownloadMode.OPEN
    assert policy.secure_boot.keys == ()
    assert policy.origins == {}
    assert policy.origin("flash_encryption.mode") == "default"


@pytest.mark.parametrize("chip", CHIP_NAMES)
def test_defaults_of_release_mode(chip: str) -> None:
    policy = resolve(chip, flash_encryption={"mode": "release"})
    facts = load_chip(chip, 0).facts
    assert policy.flash_encryption.release
    assert policy.flash_encryption.key_size is facts.key_sizes[0]
    assert policy.flash_encryption.key == KeySource(None)
    assert not policy.flash_encryption.uart_encryption_allowed
    assert policy.lockdown.jtag is JtagAccess.DISABLED and policy.lockdown.rom_basic_disabled
    closed = DownloadMode.SECURE if facts.secure_download_mode else DownloadMode.DISABLED
    assert policy.lockdown.download_mode is closed
    assert policy.flash_encryption.pseudo_round == int(load_chip(chip, 0).uses("XTS_DPA_PSEUDO_LEVEL"))


def test_sdkconfig_gives_the_defaults() -> None:
    config = {
        **RELEASE,
        **SECURE_BOOT,
        "SECURE_FLASH_ENCRYPTION_AES256": True,
        "SECURE_BOOT_BUILD_SIGNED_BINARIES": True,
        "SECURE_BOOT_SIGNING_KEY": "keys/signing.pem",
        "SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS": True,
        "SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE": True,
        "SECURE_BOOT_V2_ALLOW_EFUSE_RD_DIS": True,
        "SECURE_BOOT_ALLOW_JTAG": True,
        "SECURE_DISABLE_ROM_DL_MODE": True,
        "NVS_ENCRYPTION": True,
        "NVS_SEC_KEY_PROTECT_USING_HMAC": True,
        "NVS_SEC_HMAC_EFUSE_KEY_ID": 4,
    }
    policy = resolve("esp32s3", config, Path("/project"))
    assert policy.flash_encryption.mode is FlashEncryptionMode.RELEASE
    assert policy.flash_encryption.key_size is KeySize.XTS_256
    assert policy.secure_boot.keys == (KeySource(Path("/project/keys/signing.pem")),)
    assert not policy.secure_boot.revoke_unused
    assert policy.secure_boot.aggressive_revoke
    assert policy.secure_boot.read_protection_stays_writable
    assert policy.lockdown.jtag is JtagAccess.OPEN
    assert policy.lockdown.download_mode is DownloadMode.DISABLED
    assert (policy.nvs.scheme, policy.nvs.key_id) == (NvsScheme.HMAC, 4)
    assert policy.origin("flash_encryption.mode") == "CONFIG_SECURE_FLASH_ENCRYPTION_MODE_RELEASE"
    assert policy.origin("secure_boot.keys") == "CONFIG_SECURE_BOOT_SIGNING_KEY"
    assert policy.origin("nvs.scheme") == "CONFIG_NVS_SEC_KEY_PROTECT_USING_HMAC"
    assert policy.origin("lockdown.download_mode") == "CONFIG_SECURE_DISABLE_ROM_DL_MODE"


def test_profile_overrides_sdkconfig() -> None:
    config = {
        **RELEASE,
        **SECURE_BOOT,
        "SECURE_FLASH_ENCRYPTION_AES128": True,
        "SECURE_BOOT_BUILD_SIGNED_BINARIES": True,
        "SECURE_BOOT_SIGNING_KEY": "built.pem",
        "SECURE_BOOT_ALLOW_JTAG": True,
        "SECURE_ENABLE_SECURE_ROM_DL_MODE": True,
        "NVS_ENCRYPTION": True,
        "NVS_SEC_KEY_PROTECT_USING_HMAC": True,
        "NVS_SEC_HMAC_EFUSE_KEY_ID": 4,
    }
    policy = resolve(
        "esp32s3",
        config,
        Path("/project"),
        flash_encryption={"mode": "development", "key_size": 256, "key": "flash.bin"},
        secure_boot={"keys": ["a.pem", "generate"], "revoke_unused": False},
        nvs={"scheme": "off", "key_id": 0},
        lockdown={"download_mode": "open", "jtag": "disabled", "rom_basic": "open"},
        images={"storage": "data/storage.bin"},
        blank_partitions={"other": "encrypted"},
        doctor={"accept": ["SP020"]},
    )
    assert policy.flash_encryption.mode is FlashEncryptionMode.DEVELOPMENT
    assert policy.flash_encryption.key_size is KeySize.XTS_256
    assert policy.flash_encryption.key == KeySource(Path("/profiles/flash.bin"))
    assert policy.secure_boot.keys == (KeySource(Path("/profiles/a.pem")), KeySource(None))
    assert not policy.secure_boot.revoke_unused
    assert (policy.nvs.scheme, policy.nvs.key_id) == (NvsScheme.OFF, 0)
    assert policy.lockdown.download_mode is DownloadMode.OPEN
    assert policy.lockdown.jtag is JtagAccess.DISABLED and not policy.lockdown.rom_basic_disabled
    assert policy.images == {"storage": Path("/profiles/data/storage.bin")}
    assert policy.blank_partitions == {"other": BlankContent.ENCRYPTED}
    assert policy.accepted_findings == {"SP020"}
    assert policy.origin("flash_encryption.mode") == "profile: flash_encryption.mode"
    assert policy.origin("secure_boot.keys") == "profile: secure_boot.keys"


def test_profile_turns_off_what_is_built_in() -> None:
    policy = resolve(
        "esp32c3", {**RELEASE, **SECURE_BOOT}, flash_encryption={"mode": False}, secure_boot={"enabled": False}
    )
    assert not policy.locks_down
    assert policy.secure_boot.keys == ()


def test_development_mode_follows_the_build() -> None:
    built = resolve("esp32c3", {**DEVELOPMENT, "SECURE_FLASH_UART_BOOTLOADER_ALLOW_DEC": True})
    flags = built.flash_encryption
    assert (flags.uart_encryption_allowed, flags.uart_decryption_allowed, flags.uart_cache_allowed) == (
        False,
        True,
        False,
    )
    assert not flags.cache_write_protection_skipped
    # a build without flash encryption says nothing: ESP-IDF's defaults hold
    wished = resolve("esp32c3", flash_encryption={"mode": "development"}).flash_encryption
    assert (wished.uart_encryption_allowed, wished.uart_decryption_allowed, wished.uart_cache_allowed) == (
        True,
        False,
        False,
    )
    assert wished.cache_write_protection_skipped
    assert built.lockdown.download_mode is DownloadMode.OPEN


def test_release_mode_ignores_what_only_development_mode_allows() -> None:
    config = {
        **RELEASE,
        "SECURE_FLASH_UART_BOOTLOADER_ALLOW_ENC": True,
        "SECURE_FLASH_UART_BOOTLOADER_ALLOW_DEC": True,
        "SECURE_FLASH_UART_BOOTLOADER_ALLOW_CACHE": True,
        "SECURE_FLASH_SKIP_WRITE_PROTECTION_CACHE": True,
    }
    flags = resolve("esp32c3", config).flash_encryption
    assert not flags.uart_encryption_allowed
    assert not flags.uart_decryption_allowed
    assert not flags.uart_cache_allowed
    assert not flags.cache_write_protection_skipped


def test_mode_symbols_count_only_with_flash_encryption_on() -> None:
    policy = resolve("esp32c3", {"SECURE_FLASH_ENCRYPTION_MODE_RELEASE": True})
    assert policy.flash_encryption.mode is FlashEncryptionMode.OFF


def test_c2_derives_its_key_beside_secure_boot() -> None:
    assert resolve("esp32c2", flash_encryption={"mode": "release"}).flash_encryption.key_size is KeySize.XTS_128
    both = resolve("esp32c2", flash_encryption={"mode": "release"}, secure_boot={"enabled": True, **KEYS})
    assert both.flash_encryption.key_size is KeySize.XTS_128_DERIVED


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, 1),
        ({"SECURE_FLASH_PSEUDO_ROUND_FUNC": True, "SECURE_FLASH_PSEUDO_ROUND_FUNC_STRENGTH": 3}, 3),
        ({"SECURE_FLASH_PSEUDO_ROUND_FUNC": False, "SECURE_FLASH_PSEUDO_ROUND_FUNC_STRENGTH": 3}, 1),
    ],
)
def test_pseudo_rounds(config: dict[str, Any], expected: int) -> None:
    assert resolve("esp32h2", {**RELEASE, **config}).flash_encryption.pseudo_round == expected
    given = resolve("esp32h2", {**RELEASE, **config}, flash_encryption={"pseudo_round": 2})
    assert given.flash_encryption.pseudo_round == 2


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"SECURE_SIGNED_APPS_RSA_SCHEME": True}, "rsa3072"),
        ({"SECURE_SIGNED_APPS_ECDSA_V2_SCHEME": True}, "ecdsa256"),
        ({"SECURE_SIGNED_APPS_ECDSA_V2_SCHEME": True, "SECURE_BOOT_ECDSA_KEY_LEN_384_BITS": True}, "ecdsa384"),
        ({}, "rsa3072"),
    ],
)
def test_scheme_of_the_build(config: dict[str, Any], expected: str) -> None:
    assert resolve("esp32c5", config, secure_boot={"enabled": True, **KEYS}).secure_boot.scheme == expected


def test_negative_key_id_means_none_is_set() -> None:
    config = {"NVS_ENCRYPTION": True, "NVS_SEC_KEY_PROTECT_USING_HMAC": True, "NVS_SEC_HMAC_EFUSE_KEY_ID": -1}
    assert resolve("esp32c3", config).nvs.key_id is None


def test_nvs_encryption_without_a_scheme_is_that_of_older_esp_idf() -> None:
    """Before 5.2 the keys were in the nvs_keys partition, and there was nothing to choose."""
    assert resolve("esp32c3", {"NVS_ENCRYPTION": True}).nvs.scheme is NvsScheme.FLASH_ENCRYPTION
    config = {"NVS_ENCRYPTION": True, "NVS_SEC_KEY_PROTECT_NONE": True}
    assert resolve("esp32c3", config).nvs.scheme is NvsScheme.OFF


FLASH_256: dict[str, Any] = {"mode": "release", "key_size": 256}
RSA_ON: dict[str, Any] = {"enabled": True, **KEYS}


@pytest.mark.parametrize(
    ("code", "kind", "chip", "config", "profile"),
    [
        ("SE310", InputError, "esp32", {"SECURE_BOOT_V1_ENABLED": True}, {}),
        ("SE311", InputError, "esp32c5", {"SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR": True}, {}),
        ("SE312", UsageError, "esp32c3", {}, {"secure_boot": {"enabled": True, "keys": ["per-device"]}}),
        ("SE339", UsageError, "esp32c3", {}, {"nvs": {"scheme": "flash-encryption", "key": "per-device"}}),
        ("SE339", UsageError, "esp32c3", {}, {"nvs": {"scheme": "hmac", "key": "per-device", "images": {"nvs": "a"}}}),
        ("SE680", UsageError, "esp32c3", {}, {"per_device": {"keep": "sealed"}}),
        ("SE680", UsageError, "esp32c3", {}, {"per_device": {"seal_to": "public.pem"}}),
        ("SE642", UsageError, "esp32c3", {}, {"secure_boot": {"enabled": True, "keys": ["pkcs11:token=a"]}}),
        ("SE643", UsageError, "esp32c3", {}, {"secure_boot": {"enabled": True, "keys": ["pkcs11:id=b?pin-value=1"]}}),
        ("SE313", UsageError, "esp32c3", {}, {"flash_encryption": {"key": "pkcs11:object=b"}}),
        ("SE314", UsageError, "esp32c3", {}, {"flash_encryption": FLASH_256}),
        ("SE314", UsageError, "esp32", {}, {"flash_encryption": {"mode": "release", "key_size": 128}}),
        (
            "SE315",
            UsageError,
            "esp32c2",
            {},
            {"flash_encryption": {**FLASH_256, "key_size": 128}, "secure_boot": RSA_ON},
        ),
        ("SE316", UsageError, "esp32c3", {}, {"flash_encryption": {"pseudo_round": 1}}),
        ("SE317", UsageError, "esp32c3", {}, {"secure_boot": {**RSA_ON, "scheme": "ecdsa256"}}),
        ("SE317", UsageError, "esp32h4", {}, {"secure_boot": RSA_ON}),
        ("SE318", InputError, "esp32c3", {}, {"secure_boot": {"enabled": True}}),
        ("SE318", InputError, "esp32c3", {}, {"secure_boot": {"enabled": True, "keys": []}}),
        ("SE319", UsageError, "esp32c3", {}, {"secure_boot": {"enabled": True, "keys": ["a", "b", "c", "d"]}}),
        ("SE319", UsageError, "esp32", {}, {"secure_boot": {"enabled": True, "keys": ["a", "b"]}}),
        ("SE320", UsageError, "esp32c2", {}, {"nvs": {"scheme": "hmac"}}),
        ("SE320", UsageError, "esp32", {"NVS_ENCRYPTION": True, "NVS_SEC_KEY_PROTECT_USING_HMAC": True}, {}),
        ("SE321", UsageError, "esp32", {}, {"lockdown": {"download_mode": "secure"}}),
    ],
)
def test_refusals(
    code: str, kind: type[SecureProvisionError], chip: str, config: dict[str, Any], profile: dict[str, Any]
) -> None:
    if code == "SE315":
        profile = {**profile, "secure_boot": {**profile["secure_boot"], "scheme": "ecdsa256"}}
    error = refusal(chip, config, None, **profile)
    assert (error.code, type(error)) == (code, kind)


def test_a_refusal_names_where_the_wish_comes_from() -> None:
    built = refusal("esp32c3", {**RELEASE, "SECURE_FLASH_ENCRYPTION_AES256": True})
    assert (built.code, built.place) == ("SE314", "CONFIG_SECURE_FLASH_ENCRYPTION_AES256")
    wished = refusal("esp32c3", {}, None, flash_encryption=FLASH_256)
    assert wished.place == "profile: flash_encryption.key_size"


def test_key_sizes_do_not_matter_while_flash_encryption_is_off() -> None:
    assert not resolve("esp32c3", flash_encryption={"mode": "off", "key_size": 256}).flash_encryption.enabled
    assert not resolve("esp32c3", secure_boot={"enabled": False, "scheme": "ecdsa256"}).secure_boot.enabled


def test_the_signing_key_of_a_build_counts_only_when_the_build_signs() -> None:
    config = {**SECURE_BOOT, "SECURE_BOOT_SIGNING_KEY": "key.pem"}
    assert refusal("esp32c3", config, Path("/project")).code == "SE318"
    config["SECURE_BOOT_BUILD_SIGNED_BINARIES"] = True
    assert refusal("esp32c3", config).code == "SE318"
    assert resolve("esp32c3", config, Path("/project")).secure_boot.keys == (KeySource(Path("/project/key.pem")),)


def test_a_key_source_is_described_without_its_folder() -> None:
    assert KeySource(Path("/secret/place/key.pem")).describe() == "key.pem"
    assert KeySource().describe() == "generated"
