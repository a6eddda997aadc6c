# SPDX-License-Identifier: Apache-2.0
"""Wishes as Kconfig symbols, each after those that it depends on.

Source: ESP-IDF ``components/bootloader/Kconfig.projbuild`` (menu "Security features"), ``components/nvs_sec_provider/
Kconfig``, ``components/esp_hw_support/port/<chip>/Kconfig.hw_support`` (minimum revision).
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.kconfig_tree import KconfigTree
from secure_ext.build.sdkconfig import Value
from secure_ext.chips.chip import load_chip
from secure_ext.chips.facts import chip_facts
from secure_ext.configure.wishes import Wishes
from secure_ext.errors import UsageError
from secure_ext.station.frozen import frozen

_KEY_SIZES = {
    "128": "SECURE_FLASH_ENCRYPTION_AES128",
    "256": "SECURE_FLASH_ENCRYPTION_AES256",
    "128-derived": "SECURE_FLASH_ENCRYPTION_AES128_DERIVED",
}
_NVS_SCHEMES = {"hmac": "NVS_SEC_KEY_PROTECT_USING_HMAC", "flash-encryption": "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC"}
_DOWNLOAD_MODES = {
    "secure": ("SECURE_ENABLE_SECURE_ROM_DL_MODE", "for ever: esptool can still write the flash, and read nothing"),
    "disabled": ("SECURE_DISABLE_ROM_DL_MODE", "for ever: nobody reaches the board through its UART any more"),
    "open": ("SECURE_INSECURE_ALLOW_DL_MODE", "everybody who has the board can read and write its flash"),
}


@frozen
class Setting:
    """A symbol, the value it shall have, and why.

    Attributes:
        is_wished: somebody asked for it; what is only recommended is left out where it cannot be had.
    """

    symbol: str
    value: Value
    reason: str
    is_wished: bool = True


def settings_for(wishes: Wishes, chip: str, tree: KconfigTree) -> tuple[Setting, ...]:
    """What to set, in this order; `tree` tells which symbols this ESP-IDF has."""
    facts = chip_facts(chip)
    sound = [scheme for scheme in facts.schemes if scheme not in facts.schemes_with_errata]
    has_secure_boot = wishes.secure_boot
    if has_secure_boot is None:  # an early ESP-IDF may not have it yet for a chip
        has_secure_boot = bool(sound) and bool(tree.value("SOC_SECURE_BOOT_SUPPORTED"))
    mode = wishes.flash_encryption or ("release" if tree.value("SOC_FLASH_ENC_SUPPORTED") else "off")
    _refuse_contradictions(wishes, has_secure_boot=has_secure_boot, mode=mode)
    return (
        *_secure_boot(wishes, chip, tree, wanted=has_secure_boot),
        *_flash_encryption(wishes, mode, one_key_block=len(facts.key_sizes) > 1 and has_secure_boot),
        *(_download_mode(wishes, tree) if has_secure_boot or mode != "off" else ()),
        *_nvs(
            wishes,
            tree,
            has_hmac=facts.hmac and bool(tree.value("SOC_HMAC_SUPPORTED")),
            last_key_id=len(load_chip(chip, facts.least_revision).key_blocks) - 1,
            has_flash_encryption=mode != "off",
        ),
        *_rollback(wishes),
    )


def _secure_boot(wishes: Wishes, chip: str, tree: KconfigTree, *, wanted: bool) -> Iterator[Setting]:
    if not wanted:
        if wishes.secure_boot is False:
            yield Setting("SECURE_BOOT", False, "secure boot is not wanted")
        return
    facts = chip_facts(chip)
    needed, current = facts.secure_boot_revision, tree.value(f"{chip.upper()}_REV_MIN_FULL")
    revision = f"{chip.upper()}_REV_MIN_{needed // 100 or needed}"  # ESP32_REV_MIN_3 is v3.0, ESP32C3_REV_MIN_3 is v0.3
    is_lower = tree.defines(revision) and isinstance(current, int) and current < needed
    if needed and (is_lower or tree.value(revision)):
        reason = "older revisions of the chip have no Secure Boot V2; the firmware will not start on them"
        yield Setting(revision, True, reason)
    yield Setting("SECURE_BOOT", True, "only firmware that you signed boots")
    yield Setting("SECURE_BOOT_V2_ENABLED", True, "version 1 has no protection against a stolen reflashing key")
    scheme = wishes.scheme or _present_scheme(tree) or next(iter(facts.schemes), "rsa3072")
    if scheme == "rsa3072":
        yield Setting("SECURE_SIGNED_APPS_RSA_SCHEME", True, "signatures are RSA-3072")
    else:
        bits = scheme.removeprefix("ecdsa")
        yield Setting("SECURE_SIGNED_APPS_ECDSA_V2_SCHEME", True, "signatures are ECDSA")
        yield Setting(f"SECURE_BOOT_ECDSA_KEY_LEN_{bits}_BITS", True, f"over NIST P-{bits}")
    if wishes.build_signs_with:
        yield Setting("SECURE_BOOT_BUILD_SIGNED_BINARIES", True, "the build signs")
        yield Setting("SECURE_BOOT_SIGNING_KEY", wishes.build_signs_with, "with this key")
    elif not (tree.value("SECURE_BOOT") and tree.value("SECURE_BOOT_BUILD_SIGNED_BINARIES")):
        yield Setting("SECURE_BOOT_BUILD_SIGNED_BINARIES", False, "the bundle signs: no build needs the key")
    if wishes.flash_encryption in (None, "release") and not tree.value("SECURE_BOOT_V2_FORCE_ENABLE_ECDSA"):
        yield Setting("SECURE_BOOT_INSECURE", False, "each option under it opens something")


def _present_scheme(tree: KconfigTree) -> str:
    """The one that a project with secure boot has: boards in the field take no other."""
    if not tree.value("SECURE_BOOT") or not tree.value("SECURE_SIGNED_APPS_ECDSA_V2_SCHEME"):
        return ""
    return "ecdsa384" if tree.value("SECURE_BOOT_ECDSA_KEY_LEN_384_BITS") else "ecdsa256"


def _flash_encryption(wishes: Wishes, mode: str, *, one_key_block: bool) -> Iterator[Setting]:
    if mode == "off":
        yield Setting("SECURE_FLASH_ENC_ENABLED", False, "flash encryption is not wanted")
        return
    yield Setting("SECURE_FLASH_ENC_ENABLED", True, "nobody reads the firmware out of the flash")
    size = wishes.key_size or ("128-derived" if one_key_block else None)
    if mode == "release":
        reason = "cannot be turned off any more"
        yield Setting("SECURE_FLASH_ENCRYPTION_MODE_RELEASE", True, reason)
    else:
        reason = "can be turned off again, NOT for production"
        yield Setting("SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT", True, reason)
    if size is not None:
        yield Setting(_KEY_SIZES[size], True, f"the key is of the kind {size}", is_wished=wishes.key_size is not None)


def _download_mode(wishes: Wishes, tree: KconfigTree) -> Iterator[Setting]:
    """Each but ``open`` is for ever: without a wish it stays open in development, and disabled where it is."""
    mode = wishes.download_mode
    if mode is None:
        if wishes.flash_encryption == "development":
            return
        can_be_secure = tree.value("SOC_SUPPORTS_SECURE_DL_MODE") and not tree.value("SECURE_DISABLE_ROM_DL_MODE")
        mode = "secure" if can_be_secure else "disabled"
    symbol, reason = _DOWNLOAD_MODES[mode]
    yield Setting(symbol, True, reason, is_wished=wishes.download_mode is not None)


def _nvs(
    wishes: Wishes, tree: KconfigTree, *, has_hmac: bool, last_key_id: int, has_flash_encryption: bool
) -> Iterator[Setting]:
    """Firmware with NVS must encrypt it in one way or another: only without NVS it may be left out."""
    is_wished = wishes.nvs is not None or tree.defines("NVS_ENCRYPTION")
    scheme = wishes.nvs
    if scheme is None and tree.value("NVS_ENCRYPTION"):  # boards in the field have it
        scheme = next((name for name, symbol in _NVS_SCHEMES.items() if tree.value(symbol)), None)
    if scheme is None:
        scheme = "hmac" if has_hmac else "flash-encryption" if has_flash_encryption else "off"
    if scheme == "off":
        yield Setting("NVS_ENCRYPTION", False, "NVS is not encrypted", is_wished=is_wished)
        return
    yield Setting("NVS_ENCRYPTION", True, "flash encryption leaves NVS out: it encrypts itself", is_wished=is_wished)
    reason = "its keys come from a key in eFuse" if scheme == "hmac" else "its keys lie in the partition nvs_keys"
    yield Setting(_NVS_SCHEMES[scheme], True, reason, is_wished=is_wished)
    if scheme == "hmac":
        key_id = _key_id(tree, last_key_id) if wishes.nvs_key_id is None else wishes.nvs_key_id
        yield Setting("NVS_SEC_HMAC_EFUSE_KEY_ID", key_id, "the key block of that key", is_wished=is_wished)


def _key_id(tree: KconfigTree, last: int) -> int:
    """The key block that the project has; where it says none, ESP-IDF's own default names a block that no chip has."""
    value = tree.value("NVS_SEC_HMAC_EFUSE_KEY_ID")
    return value if isinstance(value, int) and 0 <= value <= last else last


def _refuse_contradictions(wishes: Wishes, *, has_secure_boot: bool, mode: str) -> None:
    """Raises UsageError SE414 for a wish that another one makes void."""
    name = wishes.build_signs_with
    is_name = name is None or (bool(name.strip()) and name.isprintable())
    is_open = not has_secure_boot and mode == "off"
    void = (
        ("--scheme", "secure boot", bool(wishes.scheme) and not has_secure_boot),
        ("--signed-by-build", "secure boot", name is not None and not has_secure_boot),
        ("--signed-by-build", "a name that can stand in an sdkconfig", not is_name),
        ("--key-size", "flash encryption", bool(wishes.key_size) and mode == "off"),
        (
            "--download-mode",
            "secure boot or flash encryption",
            bool(wishes.download_mode) and is_open,
        ),
    )
    option, what = next(((option, what) for option, what, is_void in void if is_void), ("", ""))
    if option:
        raise UsageError(
            "SE414",
            f"{option} says something about what is not there: {what}",
            cure=f"leave {option} out (or its setting in the profile), or wish for {what}",
            place=option,
        )


def _rollback(wishes: Wishes) -> Iterator[Setting]:
    if wishes.secure_version is None:
        return
    yield Setting("BOOTLOADER_APP_ROLLBACK_ENABLE", True, "an update that does not start is taken back")
    yield Setting("BOOTLOADER_APP_ANTI_ROLLBACK", True, "an app older than the board's secure version does not boot")
    yield Setting("BOOTLOADER_APP_SECURE_VERSION", wishes.secure_version, "of this app")
