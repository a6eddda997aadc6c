# SPDX-License-Identifier: Apache-2.0
"""Chips, policies and plans as hypothesis draws them: of every chip, with every setting given or left to sdkconfig."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from secure_ext.chips.chip import Chip, load_chip
from secure_ext.errors import UsageError
from secure_ext.plan.bootloader_efuses import BootloaderEfuses, can_compare_versions, can_have_recovery
from secure_ext.plan.further_efuses import SAFE
from secure_ext.plan.make import make_plan
from secure_ext.plan.steps import (
    KeepFlash,
    Plan,
)
from secure_ext.policy.extra_key import HMAC_PURPOSES
from secure_ext.policy.policy import NvsScheme, Policy
from secure_ext.policy.profile import check_profile
from secure_ext.policy.resolve import resolve_policy
from secure_ext.policy.user_block import UserBlockPolicy
from secure_ext.station.chip_facts import ChipFacts

PROFILE = Path("profile.yaml")
REVISIONS = {
    "esp32": (0, 100, 300, 301),
    "esp32c3": (3, 101),
    "esp32h2": (0, 102),
    "esp32p4": (100, 300, 301, 302),
}
PSEUDO_ROUNDS = ("esp32c5", "esp32c61", "esp32h2", "esp32p4", "esp32h21", "esp32h4", "esp32s31")
SYMBOLS = (
    "SECURE_BOOT",
    "SECURE_BOOT_V2_ENABLED",
    "SECURE_SIGNED_APPS_RSA_SCHEME",
    "SECURE_SIGNED_APPS_ECDSA_V2_SCHEME",
    "SECURE_BOOT_ECDSA_KEY_LEN_384_BITS",
    "SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS",
    "SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE",
    "SECURE_BOOT_V2_ALLOW_EFUSE_RD_DIS",
    "SECURE_BOOT_SKIP_WRITE_PROTECTION_SCA",
    "SECURE_BOOT_ALLOW_JTAG",
    "SECURE_BOOT_ALLOW_ROM_BASIC",
    "SECURE_FLASH_ENC_ENABLED",
    "SECURE_FLASH_ENCRYPTION_MODE_RELEASE",
    "SECURE_FLASH_ENCRYPTION_MODE_DEVELOPMENT",
    "SECURE_FLASH_ENCRYPTION_AES256",
    "SECURE_FLASH_ENCRYPTION_AES128_DERIVED",
    "SECURE_FLASH_ENCRYPTION_AES128",
    "SECURE_FLASH_PSEUDO_ROUND_FUNC",
    "SECURE_FLASH_UART_BOOTLOADER_ALLOW_ENC",
    "SECURE_FLASH_UART_BOOTLOADER_ALLOW_DEC",
    "SECURE_FLASH_UART_BOOTLOADER_ALLOW_CACHE",
    "SECURE_FLASH_SKIP_WRITE_PROTECTION_CACHE",
    "NVS_ENCRYPTION",
    "NVS_SEC_KEY_PROTECT_USING_HMAC",
    "NVS_SEC_KEY_PROTECT_USING_FLASH_ENC",
    "SECURE_DISABLE_ROM_DL_MODE",
    "SECURE_ENABLE_SECURE_ROM_DL_MODE",
    "SECURE_INSECURE_ALLOW_DL_MODE",
)
NUMBERS = {"SECURE_FLASH_PSEUDO_ROUND_FUNC_STRENGTH": (1, 3), "NVS_SEC_HMAC_EFUSE_KEY_ID": (-1, 5)}


class StubConfig:
    """An sdkconfig made of a few symbols."""

    def __init__(self, symbols: dict[str, Any]) -> None:
        self.symbols = symbols

    def enabled(self, name: str) -> bool:
        return self.symbols.get(name) is True

    def integer(self, name: str) -> int | None:
        value = self.symbols.get(name)
        return value if type(value) is int else None

    def text(self, name: str) -> str | None:
        value = self.symbols.get(name)
        return value if isinstance(value, str) else None


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def mostly(usual: Sequence[str], every: Sequence[str]) -> st.SearchStrategy[str | None]:
    """Mostly one of what the chip has; now and then anything, or nothing."""
    return st.sampled_from([*(list(usual) * 12)[:12], *every, None] if usual else [*every, None])


@st.composite
def profiles(draw: st.DrawFn, facts: ChipFacts) -> dict[str, Any]:
    """A profile in which each setting is given or left to sdkconfig."""
    download_modes = ["secure", "disabled", "open"][0 if facts.secure_download_mode else 1 :]
    sizes = [size.value for size in facts.key_sizes]
    wished: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "flash_encryption": {
            "mode": st.sampled_from(["off", "development", "release", "release"]),
            "key_size": mostly(sizes, ["128", "256", "128-derived", "esp32"]),
            "pseudo_round": st.sampled_from([0, 0, 1, 2, 3] if facts.name in PSEUDO_ROUNDS else [0, 0, 0, 1]),
        },
        "secure_boot": {
            "enabled": st.sampled_from([True, True, False] if facts.schemes else [False, False, False, True]),
            "scheme": mostly(facts.schemes, ["rsa3072", "ecdsa256", "ecdsa384"]),
            "revoke_unused": st.booleans(),
            "aggressive_revoke": st.booleans(),
            "keep_read_protection_writable": st.booleans(),
        },
        "nvs": {
            "scheme": mostly(["off", "hmac"] if facts.hmac else ["off"], ["off", "hmac", "flash-encryption"]),
            "key_id": st.integers(0, 5),
        },
        "lockdown": {
            "download_mode": mostly(download_modes, ["secure", "disabled", "open"]),
            "jtag": st.sampled_from(["disabled", "open", "hmac"]),
            "rom_basic": st.sampled_from(["disabled", "open"]),
        },
    }
    document: dict[str, Any] = {"schema": 1}
    for section, keys in wished.items():
        drawn = {name: draw(optional(strategy)) for name, strategy in keys.items()}
        document[section] = {name: value for name, value in drawn.items() if value is not None}
    purposes = [*facts.ecdsa_curves, *(HMAC_PURPOSES if facts.hmac else [])]
    extra = draw(st.lists(st.sampled_from(purposes), max_size=2)) if purposes else []
    document["extra_keys"] = {f"k{number}": {"purpose": one, "key": "generate"} for number, one in enumerate(extra)}
    number_of_keys = draw(st.sampled_from([1, 1, facts.digest_slots, 2, 3]))
    document["secure_boot"]["keys"] = [f"key{number}.pem" for number in range(number_of_keys)]
    return document


@st.composite
def configs(draw: st.DrawFn) -> StubConfig:
    symbols: dict[str, Any] = dict.fromkeys(draw(st.sets(st.sampled_from(SYMBOLS))), True)
    for name, (low, high) in NUMBERS.items():
        symbols[name] = draw(st.integers(low, high))
    return StubConfig(symbols)


USER_BLOCKS = st.sampled_from(
    [
        UserBlockPolicy(),
        UserBlockPolicy(custom_mac=b"\2\0\0\0\0\1"),
        UserBlockPolicy(user_data=bytes(8) + b"\1", write_protect=True),
        UserBlockPolicy(custom_mac=b"\2\0\0\0\0\1", user_data=bytes(8) + b"\1", write_protect=True),
    ]
)


@st.composite
def policies(draw: st.DrawFn, name: str) -> tuple[Chip, Policy]:
    """A chip and a policy for it; what is refused by a UsageError is left out."""
    chip = load_chip(name, draw(st.sampled_from(REVISIONS.get(name, (0, 100)))))
    names = sorted(SAFE & chip.efuses.fields.keys())
    wished = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    profile = check_profile(draw(profiles(chip.facts)) | {"efuses": dict.fromkeys(wished, 1)}, PROFILE)
    try:
        policy = resolve_policy(draw(configs()), chip, profile, None)
        return chip, replace(policy, user_block=draw(USER_BLOCKS))
    except UsageError as error:
        assert error.code.startswith("SE3"), error
        assume(False)
        raise


@st.composite
def kept_parts(draw: st.DrawFn) -> tuple[KeepFlash, ...]:
    """Mostly nothing; else up to three parts of the flash, one behind the other or apart."""
    ends = draw(st.lists(st.integers(4, 4000), unique=True, max_size=draw(st.sampled_from([0, 0, 6]))).map(sorted))
    return tuple(
        KeepFlash(f"part {start}", start * 0x1000, (end - start) * 0x1000, draw(st.booleans()))
        for start, end in zip(ends[::2], ends[1::2], strict=False)
    )


@st.composite
def bootloaders(draw: st.DrawFn, chip: Chip) -> BootloaderEfuses:
    """What the ROM is told of them, of what the chip has eFuses for."""
    offset = draw(st.none() | st.integers(1, 0xFFE).map(lambda sector: sector * 0x1000))
    version = draw(st.none() | st.integers(0, 4))
    return BootloaderEfuses(
        offset if can_have_recovery(chip) else None, version if can_compare_versions(chip) else None
    )


@st.composite
def plans(draw: st.DrawFn, name: str) -> tuple[Chip, Policy, Plan]:
    """A chip, a policy, and the plan for both."""
    chip, policy = draw(policies(name))
    assume(policy.locks_down or policy.nvs.scheme is NvsScheme.HMAC)
    try:
        plan = make_plan(
            chip,
            policy,
            min_revision=chip.revision,
            max_revision=None,
            kept=draw(kept_parts()),
            bootloaders=draw(bootloaders(chip)),
        )
    except UsageError as error:
        assert error.code == "SE402", error
        assume(False)
        raise
    return chip, policy, plan
