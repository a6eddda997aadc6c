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
from drawn_plans import StubConfig, plans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from order_rules import CRYPT_COUNTS, DIGESTS, HALVES, SECURE_BOOTS, burns, positions, violations

from secure_ext.chips.chip import Chip, load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.errors import CheckError, UsageError
from secure_ext.plan.make import burn_field, make_plan
from secure_ext.plan.order import PlanBuilder, PlanOrderError
from secure_ext.plan.steps import (
    BurnData,
    BurnField,
    KeyRole,
    Plan,
    Stage,
    Step,
    WriteProtect,
)
from secure_ext.policy.policy import NvsScheme, Policy
from secure_ext.policy.profile import Profile
from secure_ext.policy.resolve import resolve_policy
from secure_ext.policy.user_block import UserBlockPolicy

PROPERTY = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
LONG_PROPERTY = settings(PROPERTY, max_examples=300)


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
