# SPDX-License-Identifier: Apache-2.0
"""Every key finds a block where there is a way at all; a profile may say which, and what is to stay free."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.bundle.read import read_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.errors import UsageError
from secure_ext.plan.key_blocks import assign_key_blocks, can_hold
from secure_ext.policy.policy import Policy
from secure_ext.policy.profile import check_profile
from secure_ext.policy.resolve import resolve_policy
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.station.block_solver import solve
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.plan_document import KeyStep

WITH_SIX_BLOCKS = [name for name, facts in FACTS.items() if not facts.own_key_blocks]
Profile = dict[str, object]


def policy_of(chip: str, profile: Profile) -> Policy:
    document = check_profile({"schema": 1, **profile}, Path("profile.yaml"))
    return resolve_policy(SdkConfig({}), load_chip(chip, FACTS[chip].least_revision), document, None)


def blocks_of(chip: str, profile: Profile) -> dict[str, str]:
    """Each key's block, by role."""
    keys = assign_key_blocks(load_chip(chip, FACTS[chip].least_revision), policy_of(chip, profile))
    return {key.role.value: key.block.name.removeprefix("BLOCK_") for key in keys}


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), unique=True, max_size=6), max_size=6))
def test_a_solution_is_found_exactly_where_there_is_one(wishes: list[list[int]]) -> None:
    """Against all assignments, in the order of preference: the first of them, or none."""
    ways = [way for way in itertools.product(*wishes) if len(set(way)) == len(way)]
    assert solve(wishes) == (ways[0] if ways else None)


@st.composite
def profiles(draw: st.DrawFn) -> tuple[str, Profile]:
    """Wishes for a chip with six blocks: features, blocks for some of the keys, and some that stay free."""
    chip = draw(st.sampled_from(WITH_SIX_BLOCKS))
    facts = FACTS[chip]
    block = st.integers(0, 5).map(lambda number: f"KEY{number}")
    keys = draw(st.integers(0, 3)) if facts.schemes else 0
    size = draw(st.sampled_from([size.value for size in facts.key_sizes]))
    names = ["flash_encryption"] if size == "128" else ["flash_encryption_1", "flash_encryption_2"]
    names += [f"secure_boot_digest_{slot}" for slot in range(keys)]
    nvs: Profile = {"scheme": draw(st.sampled_from(["off", "hmac"] if facts.hmac else ["off"]))}
    if draw(st.booleans()):
        nvs["key_id"] = draw(st.integers(0, 5))
    purposes = [*list(facts.ecdsa_curves)[:1], *(["HMAC_UP", "HMAC_DOWN_ALL"] if facts.hmac else [])]
    one_key = st.fixed_dictionaries(
        {"purpose": st.sampled_from(purposes or ["HMAC_UP"]), "key": st.just("generate")}, optional={"block": block}
    )
    return chip, {
        "extra_keys": draw(st.dictionaries(st.sampled_from("abc"), one_key, max_size=3 if purposes else 0)),
        "flash_encryption": {"mode": "release", "key_size": size},
        "secure_boot": {"enabled": keys > 0, "keys": [f"{slot}.pem" for slot in range(keys)] or ["no.pem"]},
        "nvs": nvs,
        "key_blocks": draw(st.dictionaries(st.sampled_from(names), block, max_size=3)),
        "reserved_key_blocks": draw(st.lists(block, unique=True, max_size=3)),
    }


@settings(max_examples=300, deadline=None)
@given(profiles())
def test_wishes_are_kept_and_a_refusal_is_right(wished: tuple[str, Profile]) -> None:
    """By trying all permutations of the chip's blocks."""
    name, profile = wished
    chip, policy = load_chip(name, FACTS[name].least_revision), policy_of(name, profile)
    roles = [f"flash_encryption_key_half_{half}" for half in (1, 2)]
    roles = roles if policy.flash_encryption.key_size.value == "256" else ["flash_encryption_key"]
    roles += [f"secure_boot_digest_{slot}" for slot in range(len(policy.secure_boot.keys))]
    roles += ["nvs_hmac_key"] if policy.nvs.scheme.value == "hmac" else []
    extra = {f"extra_key_{number}": key for number, key in enumerate(policy.extra_keys)}
    roles += extra
    ecdsa = {role for role, key in extra.items() if key.purpose == "ECDSA_KEY"}
    blocks_wished = {role: key.block[-1] for role, key in extra.items() if key.block}

    def is_allowed(role: str, block: str) -> bool:
        wish = policy.key_blocks.get(role.replace("_key_half", "").replace("_key", ""), block)
        if role == "nvs_hmac_key" and policy.nvs.key_id is not None:
            wish = f"KEY{policy.nvs.key_id}"
        place = next(one for one in chip.key_blocks if one.name == f"BLOCK_{block}")
        purpose = "ECDSA_KEY" if role in ecdsa else "XTS_AES_128_KEY" if "flash_encryption" in role else "HMAC_UP"
        wish = f"KEY{blocks_wished[role]}" if role in blocks_wished else wish
        return block == wish and can_hold(chip, place, purpose) and block not in policy.reserved_key_blocks

    names = [block.name.removeprefix("BLOCK_") for block in chip.key_blocks]
    ways = itertools.permutations(names, len(roles))
    is_possible = any(all(map(is_allowed, roles, way)) for way in ways)
    try:
        assigned = blocks_of(name, profile)
    except UsageError as error:
        assert error.code == "SE402" and not is_possible, error
        return
    assert list(assigned) == roles
    assert len(set(assigned.values())) == len(roles)
    assert all(is_allowed(role, block) for role, block in assigned.items())


def test_what_nobody_names_makes_room_for_what_stands_behind_it() -> None:
    """The first free block is not always the right one: the encryption key of this chip cannot be in its last."""
    profile: Profile = {
        "flash_encryption": {"mode": "release"},
        "secure_boot": {"enabled": True, "keys": ["0.pem", "1.pem"]},
        "key_blocks": {"flash_encryption": "KEY0", "secure_boot_digest_1": "KEY1"},
        "reserved_key_blocks": ["KEY2", "KEY3"],
    }
    assert blocks_of("esp32c3", profile) == {
        "flash_encryption_key": "KEY0",
        "secure_boot_digest_0": "KEY4",
        "secure_boot_digest_1": "KEY1",
    }


@pytest.mark.parametrize(
    ("chip", "profile", "wants", "helps"),
    [
        (
            "esp32c3",
            {"flash_encryption": {"mode": "release"}, "reserved_key_blocks": [f"KEY{number}" for number in range(5)]},
            "the flash encryption key has none",
            "reserve KEY3 no longer",
        ),
        (
            "esp32s3",
            {
                "flash_encryption": {"mode": "release", "key_size": "256"},
                "secure_boot": {"enabled": True, "keys": ["0.pem", "1.pem", "2.pem"]},
                "nvs": {"scheme": "hmac", "key_id": 5},
                "reserved_key_blocks": ["KEY1"],
            },
            "the nvs hmac key can be in KEY5",
            "use one signing key less; use a 128-bit flash encryption key; protect NVS keys with flash encryption",
        ),
        (
            "esp32c6",
            {
                "flash_encryption": {"mode": "release"},
                "nvs": {"scheme": "hmac", "key_id": 2},
                "key_blocks": {"flash_encryption": "KEY2"},
            },
            "the flash encryption key can be in KEY2",
            "take flash_encryption out of key_blocks; build the firmware for another block of its NVS key",
        ),
        (
            "esp32c2",
            {"flash_encryption": {"mode": "release"}, "reserved_key_blocks": ["KEY0"]},
            "the flash encryption key has none",
            "reserve KEY0 no longer",
        ),
        (
            "esp32",
            {
                "flash_encryption": {"mode": "release", "key_size": "esp32"},
                "key_blocks": {"flash_encryption": "KEY1"},
            },
            "the flash encryption key has none",
            "take flash_encryption out of key_blocks",
        ),
        (
            "esp32c3",
            {
                "flash_encryption": {"mode": "release"},
                "reserved_key_blocks": ["KEY1"],
                "key_blocks": {"flash_encryption": "KEY1"},
            },
            "KEY1 reserved",
            "reserve KEY1 no longer; take flash_encryption out of key_blocks",
        ),
    ],
)
def test_a_refusal_says_who_wants_what_and_what_helps(chip: str, profile: Profile, wants: str, helps: str) -> None:
    with pytest.raises(UsageError) as caught:
        blocks_of(chip, profile)
    assert caught.value.code == "SE402"
    assert wants in caught.value.cause
    assert helps in caught.value.cure


def test_a_key_that_the_plan_does_not_burn_is_refused_by_name() -> None:
    profile: Profile = {
        "flash_encryption": {"mode": "release", "key_size": "256"},
        "key_blocks": {"flash_encryption": "KEY1"},
    }
    with pytest.raises(UsageError, match="names flash_encryption, and this plan burns no such key") as caught:
        blocks_of("esp32s3", profile)
    assert caught.value.code == "SE406"
    assert "flash_encryption_1, flash_encryption_2" in caught.value.cure


@pytest.mark.long
def test_a_bundle_with_its_keys_elsewhere_is_rehearsed_to_the_boot(
    new_build: Callable[..., Path], signing_keys: dict[str, Path], run_cli: Callable[..., Result], tmp_path: Path
) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(
        "schema: 1\nreserved_key_blocks: [KEY0, KEY1]\n"
        "key_blocks: {flash_encryption: KEY2, secure_boot_digest_0: KEY4}\n"
    )
    words = ("-B", new_build(), "--profile", profile, "--signing-key", signing_keys["rsa_0"])
    made = run_cli("bundle", *words, "-o", tmp_path / "bundle")
    assert made.exit_code == 0, made.output
    bundle = read_bundle(tmp_path / "bundle")
    blocks = {step.role: step.block for step in bundle.plan.steps if isinstance(step, KeyStep)}
    assert blocks == {
        "flash_encryption_key": "BLOCK_KEY2",
        "secure_boot_digest_0": "BLOCK_KEY4",
        "nvs_hmac_key": "BLOCK_KEY5",
    }
    outcome = rehearse_bundle(bundle, lambda _: None)
    assert outcome.passed, outcome.means
    verified = run_cli("verify", tmp_path / "bundle", *words)
    assert verified.exit_code == 0, verified.output
    report = (tmp_path / "bundle" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"BLOCK_KEY2\b.*Flash encryption key", report, re.DOTALL)
