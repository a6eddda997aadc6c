# SPDX-License-Identifier: Apache-2.0
"""Every plan is in an order the silicon allows, and PlanBuilder accepts that order and no other.

The rules are those of `order_rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from order_rules import CRYPT_COUNTS, DIGESTS, HALVES, SECURE_BOOTS, burns, positions, violations

from secure_ext.chips.chip import Chip, load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.errors import CheckError, UsageError
from secure_ext.plan.bootloader_efuses import BootloaderEfuses, can_compare_versions, can_have_recovery
from secure_ext.plan.further_efuses import SAFE
from secure_ext.plan.make import burn_field, make_plan
from secure_ext.plan.order import PlanBuilder, PlanOrderError
from secure_ext.plan.steps import (
    BurnData,
    BurnField,
    KeepFlash,
    KeyRole,
    Plan,
    Stage,
    Step,
    WriteProtect,
)
from secure_ext.policy.extra_key import HMAC_PURPOSES
from secure_ext.policy.policy import NvsScheme, Policy
from secure_ext.policy.profile import Profile, check_profile
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
PROPERTY = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
LONG_PROPERTY = settings(PROPERTY, max_examples=300)


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


def rebuild(chip: Chip, steps: Sequence[Step]) -> Plan:
    builder = PlanBuilder(chip)
    for step in steps:
        builder.add(step)
    return builder.build(min_revision=0, max_revision=None, must_be_clear=())


def wanted_data(policy: Policy) -> tuple[str, ...]:
    wanted = {"custom_mac": policy.user_block.custom_mac, "user_data": policy.user_block.user_data}
    return tuple(name for name, value in wanted.items() if value is not None)


def check_made_plan(case: tuple[Chip, Policy, Plan]) -> None:
    chip, policy, plan = case
    steps = plan.steps
    assert list(violations(chip, steps)) == []
    assert plan.min_revision >= chip.revision
    # what was asked for is there, and nothing is missing that makes it work
    roles = {key.role for key in plan.keys}
    assert bool(positions(steps, burns(CRYPT_COUNTS))) == policy.flash_encryption.enabled
    assert bool(positions(steps, burns(SECURE_BOOTS))) == policy.secure_boot.enabled
    assert (KeyRole.NVS_HMAC in roles) == (policy.nvs.scheme is NvsScheme.HMAC)
    assert sum(role.is_extra for role in roles) >= len(policy.extra_keys)
    assert (roles >= HALVES) == (policy.flash_encryption.enabled and policy.flash_encryption.key_size.value == "256")
    assert [role in roles for role in DIGESTS[: len(policy.secure_boot.keys)]] == [True] * len(policy.secure_boot.keys)
    data = [step.action for step in steps if isinstance(step.action, BurnData)]
    assert [item.holds for item in data] == ([wanted_data(policy)] if wanted_data(policy) else [])
    seal = [step.action for step in steps if step.stage is Stage.SEAL]
    assert bool(seal) == (policy.locks_down and policy.lockdown.download_mode.value != "open")
    assert len(seal) <= 1
    # what must be clear beforehand is never what the plan itself burns, and exists
    burned = {step.action.field for step in steps if isinstance(step.action, BurnField)}
    must_be_clear = {item.field for item in plan.must_be_clear}
    assert not must_be_clear & burned
    assert must_be_clear <= set(chip.efuses.fields)


@pytest.mark.parametrize("name", CHIP_NAMES)
def test_every_plan_is_legal(name: str) -> None:
    PROPERTY(given(plans(name))(check_made_plan))()


@pytest.mark.long
@pytest.mark.parametrize("name", CHIP_NAMES)
def test_every_plan_is_legal_many_times(name: str) -> None:
    LONG_PROPERTY(given(plans(name))(check_made_plan))()


@pytest.mark.parametrize("name", CHIP_NAMES)
def test_nothing_to_do_is_said(name: str) -> None:
    chip = load_chip(name, 0)
    policy = resolve_policy(StubConfig({}), chip, Profile(Path()), None)
    with pytest.raises(CheckError) as caught:
        make_plan(chip, policy, min_revision=0, max_revision=None)
    assert caught.value.code == "SE403"


@st.composite
def mutated_plans(draw: st.DrawFn, name: str) -> tuple[Chip, list[Step]]:
    """The steps of a legal plan after one to three changes."""
    chip, _, plan = draw(plans(name))
    steps = list(plan.steps)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        if not steps:
            break
        place = draw(st.integers(0, len(steps) - 1))
        other = draw(st.integers(0, len(steps) - 1))
        change = draw(st.sampled_from(["adjacent swap", "swap", "move", "remove", "repeat", "repeat renamed"]))
        if change == "adjacent swap":
            other = min(place + 1, len(steps) - 1)
        if change in ("adjacent swap", "swap"):
            steps[place], steps[other] = steps[other], steps[place]
        elif change == "move":
            steps.insert(other, steps.pop(place))
        elif change == "remove":
            del steps[place]
        elif change == "repeat" or steps[place].stage is Stage.FLASH:
            steps.insert(other, steps[place])
        else:
            steps.insert(other, replace(steps[place], id=f"{steps[place].id}-{len(steps)}"))
    return chip, steps


def check_builder_agrees(case: tuple[Chip, list[Step]]) -> None:
    chip, steps = case
    wrong = list(violations(chip, steps))
    try:
        plan = rebuild(chip, steps)
    except PlanOrderError as error:
        assert wrong, f"a legal order was refused: {error}"
        assert error.code == "SE401"
        return
    assert not wrong, f"an illegal order was accepted: {wrong} {[step.id for step in steps]}"
    assert list(plan.steps) == steps


@pytest.mark.parametrize("name", CHIP_NAMES)
def test_builder_refuses_exactly_the_illegal_orders(name: str) -> None:
    PROPERTY(given(mutated_plans(name))(check_builder_agrees))()


@pytest.mark.long
@pytest.mark.parametrize("name", CHIP_NAMES)
def test_builder_refuses_exactly_the_illegal_orders_many_times(name: str) -> None:
    LONG_PROPERTY(given(mutated_plans(name))(check_builder_agrees))()


def full_plan(name: str, keys: int = 1) -> tuple[Chip, list[Step]]:
    chip = load_chip(name, 300 if name in ("esp32", "esp32p4") else 0)
    values: dict[str, Any] = {
        "flash_encryption.mode": "release",
        "secure_boot.enabled": bool(chip.facts.schemes),
        "secure_boot.keys": tuple(f"key{number}.pem" for number in range(keys)),
    }
    if chip.facts.hmac:
        values["nvs.scheme"] = "hmac"
    policy = resolve_policy(StubConfig({}), chip, Profile(Path(), values), None)
    data = UserBlockPolicy(custom_mac=b"\2\0\0\0\0\1", user_data=bytes(8) + b"\1", write_protect=True)
    policy = replace(policy, user_block=data)
    return chip, list(make_plan(chip, policy, min_revision=0, max_revision=None).steps)


@pytest.mark.parametrize("name", CHIP_NAMES)
def test_every_swap_removal_and_repetition_of_the_full_plan(name: str) -> None:
    chip, steps = full_plan(name)
    for first in range(len(steps)):
        check_builder_agrees((chip, steps[:first] + steps[first + 1 :]))
        for second in range(len(steps)):
            check_builder_agrees((chip, [*steps[:second], steps[first], *steps[second:]]))
            swapped = list(steps)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            check_builder_agrees((chip, swapped))


def test_a_slot_is_not_revoked_before_all_digests_are_burned() -> None:
    chip, steps = full_plan("esp32c3", keys=2)
    ids = [step.id for step in steps]
    digest, revocation = ids.index("burn-key-secure-boot-digest-1"), ids.index("burn-secure-boot-key-revoke2")
    steps[digest], steps[revocation] = steps[revocation], steps[digest]
    with pytest.raises(PlanOrderError):
        rebuild(chip, steps)


def test_a_digest_is_not_burned_into_a_slot_that_was_revoked() -> None:
    chip, steps = full_plan("esp32c3", keys=2)
    ids = [step.id for step in steps]
    revocation = burn_field("SECURE_BOOT_KEY_REVOKE1", 1, "a test", "a test")
    steps.insert(ids.index("burn-key-secure-boot-digest-1"), revocation)
    with pytest.raises(PlanOrderError):
        rebuild(chip, steps)


@pytest.mark.parametrize("stage", [Stage.FLASH, Stage.SEAL])
def test_a_step_in_the_wrong_stage_is_refused(stage: Stage) -> None:
    chip, steps = full_plan("esp32c3")
    for number, step in enumerate(steps):
        if step.stage is not stage:
            with pytest.raises(PlanOrderError):
                rebuild(chip, [*steps[:number], replace(step, stage=stage), *steps[number + 1 :]])


def test_a_write_protection_of_the_wrong_bit_is_refused() -> None:
    chip, steps = full_plan("esp32c3")
    number = next(number for number, step in enumerate(steps) if isinstance(step.action, WriteProtect))
    wrong = replace(steps[number], action=WriteProtect("RD_DIS", 5))
    with pytest.raises(PlanOrderError):
        rebuild(chip, [*steps[:number], wrong, *steps[number + 1 :]])


def test_an_order_error_says_that_it_is_a_defect() -> None:
    error = PlanOrderError("some-step", "a reason")
    assert (error.code, error.place, error.exit_code) == ("SE401", "some-step", 1)
    assert "a reason" in error.cause and "report" in error.cure


def test_a_scheme_that_the_revision_lacks_is_a_matter_of_the_build_not_of_esptool() -> None:
    chip = load_chip("esp32p4", 100)
    values: dict[str, Any] = {"secure_boot.enabled": True, "secure_boot.scheme": "ecdsa384", "secure_boot.keys": ("k",)}
    with pytest.raises(UsageError):
        policy = resolve_policy(StubConfig({}), chip, Profile(Path(), values), None)
        make_plan(chip, policy, min_revision=100, max_revision=None)
