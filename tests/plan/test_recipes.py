# SPDX-License-Identifier: Apache-2.0
"""The plan and the table of chips against independently collected facts, when the environment names their folder.

SECURE_EXT_FACTS is a folder with ``chips.json`` (what each chip offers, with its sources) and ``burn_recipes.json``
(complete burn sequences that ran on virtual eFuses). They are no part of this repository.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.chips.chip import Chip, load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.doctor.lockdown import _SOC_FIELDS as SOC_FIELDS
from secure_ext.errors import UsageError
from secure_ext.plan.make import make_plan
from secure_ext.plan.steps import BurnField, BurnKey, Plan, WriteProtect
from secure_ext.policy.profile import check_profile
from secure_ext.policy.resolve import resolve_policy
from secure_ext.sample.chip_facts import capabilities
from secure_ext.station.chip_facts import KeySize

FOLDER = os.environ.get("SECURE_EXT_FACTS", "")
pytestmark = pytest.mark.skipif(
    not FOLDER, reason="SECURE_EXT_FACTS names no folder with chips.json and burn_recipes.json"
)
SCHEMES = {"rsa": "rsa3072", "p256": "ecdsa256", "p384": "ecdsa384"}
PURPOSES = {
    "XTS_AES_128_KEY": KeySize.XTS_128,
    "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS": KeySize.XTS_128_DERIVED,
}
# the documentation's name for the first, espefuse's for the second
ALIASES = {("esp32s3", "HARD_DIS_JTAG"): "DIS_PAD_JTAG"}


def load(name: str) -> dict[str, Any]:
    content = json.loads((Path(FOLDER) / name).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


RECIPES: dict[str, Any] = load("burn_recipes.json")["recipes"] if FOLDER else {}
CHIPS: dict[str, Any] = load("chips.json")["chips"] if FOLDER else {}


def value(row: Any) -> Any:
    return row["value"] if isinstance(row, dict) and "value" in row else row


def revision(text: str | None) -> int:
    """``v1.2`` as 102."""
    if not text:
        return 0
    major, minor = text.split()[0].removeprefix("v").split(".")
    return int(major) * 100 + int(minor)


def wanted_items(recipe: dict[str, Any]) -> set[tuple[object, ...]]:
    """Everything a recipe burns: keys with their block and purpose, fields with their value, write protections."""
    chip, found, command = recipe["chip"], set[tuple[object, ...]](), ""
    for call in recipe["recommended_calls"]:
        words = iter(call["args"])
        for word in words:
            if word in ("burn-key", "burn-efuse", "write-protect-efuse"):
                command = word
            elif command == "burn-key":
                next(words)
                purpose = "" if chip == "esp32" else next(words)
                found.add(("key", word, purpose))
                if (chip, purpose) == ("esp32c2", "XTS_AES_128_KEY"):  # burn-key burns it too, and does not say so
                    found.add(("field", "XTS_KEY_LENGTH_256", 1))
            elif command == "burn-efuse":
                found.add(("field", ALIASES.get((chip, word), word), int(next(words), 0)))
            else:
                found.add(("write protection", word))
    return found


def planned_items(plan: Plan, chip_revision: int) -> set[tuple[object, ...]]:
    found = set[tuple[object, ...]]()
    for step in plan.steps:
        action = step.action
        if step.min_revision > chip_revision:
            continue
        if isinstance(action, BurnKey):
            found.add(("key", action.block.burn_name, action.purpose))
        elif isinstance(action, BurnField):
            found.add(("field", action.field, action.value))
        elif isinstance(action, WriteProtect):
            found.add(("write protection", action.field))
    return found


def planned(recipe: dict[str, Any], *, secure_boot: bool) -> set[tuple[object, ...]]:
    options = recipe["options"]
    chip_revision = options.get("rev", 300 if recipe["chip"] == "esp32" else 0)
    chip = load_chip(recipe["chip"], chip_revision)
    profile: dict[str, Any] = {
        "schema": 1,
        "flash_encryption": {"mode": "release"},
        "secure_boot": {"enabled": secure_boot, "keys": ["key.pem"], "scheme": SCHEMES[recipe["signature"]]},
    }
    if options.get("xts") == 256:
        profile["flash_encryption"]["key_size"] = 256
    if chip.facts.hmac:
        profile["nvs"] = {"scheme": "hmac"}
    policy = resolve_policy(SdkConfig({}), chip, check_profile(profile, Path("profile.yaml")), None)
    plan = make_plan(chip, policy, min_revision=chip_revision, max_revision=None)
    return planned_items(plan, chip_revision)


@pytest.mark.parametrize("name", RECIPES or ["(none)"])
def test_plan_burns_what_the_recipe_burns(name: str) -> None:
    recipe = RECIPES[name]
    wanted = wanted_items(recipe)
    if load_chip(recipe["chip"], 0).facts.schemes:
        assert planned(recipe, secure_boot="features" not in recipe["options"]) == wanted
        return
    # ESP-IDF has no secure boot there yet: that part of the recipe is refused, the rest is the same
    with pytest.raises(UsageError) as caught:
        planned(recipe, secure_boot=True)
    assert caught.value.code == "SE317"
    # without digests the HMAC key takes an earlier block
    missing = {item for item in wanted - planned(recipe, secure_boot=False) if item[-1] != "HMAC_UP"}
    assert missing
    assert all("SECURE_BOOT" in str(item) or item[1] in ("RD_DIS", "BLOCK_KEY1") for item in missing)


@pytest.fixture(params=CHIPS or ["(none)"])
def facts(request: pytest.FixtureRequest) -> tuple[Chip, dict[str, Any]]:
    documented = CHIPS[request.param]
    return load_chip(request.param, documented["views_at_chip_revision"] or 0), documented


def test_chips_are_the_same() -> None:
    assert sorted(CHIPS) == sorted(CHIP_NAMES)
    assert {recipe["chip"] for recipe in RECIPES.values()} == set(CHIP_NAMES)


def test_offset_and_preview(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    assert chip.facts.bootloader_offset == int(value(documented["bootloader_offset"]), 16)
    assert chip.facts.preview == documented["preview"]


def test_key_blocks(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    expected = {}
    for block in value(documented["key_blocks"]):
        if block["name"] not in ("BLOCK_SYS_DATA2", "BLOCK3"):
            bits = block["rd_dis_bit"]
            readable = tuple(bits) if isinstance(bits, list) else (bits,)
            expected[block["name"]] = (block["wr_dis_bit"], readable, block["purpose_field"])
    assert expected == {
        block.name: (block.wr_dis_bit, block.rd_dis_bits, block.purpose_field) for block in chip.key_blocks
    }


def test_flash_encryption_keys(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    section = documented["flash_encryption"]
    sizes = set()
    for key in value(section["keys"]):
        if key["purpose"] is None:
            sizes.add(KeySize.ESP32)
        elif isinstance(key["purpose"], list):
            assert key["purpose"] == ["XTS_AES_256_KEY_1", "XTS_AES_256_KEY_2"]
            sizes.add(KeySize.XTS_256)
        else:
            sizes.add(PURPOSES[key["purpose"]])
        if key["purpose"] is not None:
            has_block_5 = any(block.name == "BLOCK_KEY5" for block in chip.key_blocks)
            assert ("BLOCK_KEY5" in key["block"]) == (has_block_5 and chip.facts.xts_key_in_block_key5)
    assert sizes == set(chip.facts.key_sizes)
    assert chip.facts.xts_key_in_block_key5 != bool(value(section.get("block9_quirk")))
    count = value(section["crypt_count"])
    assert (chip.crypt_count.name, chip.crypt_count.bits) == (count["efuse"], count["bits"])
    assert chip.crypt_count.wr_dis_bit == count["wr_dis_bit"]


def test_documented_efuses_are_used(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    lists = [
        value(documented["flash_encryption"]["doc_security_efuses_in_order"]),
        value(documented["secure_boot_v2"].get("doc_security_efuses_in_order")) or [],
    ]
    seen = 0
    for row in [row for rows in lists for row in rows]:
        name = str(row["espefuse"])
        if not row["possible"]:
            field = chip.efuses.find(row["document"].removeprefix("WR_DIS_"))
            assert field is None or field.wr_dis_bit is None
        elif name.startswith("write-protect-efuse "):
            assert chip.efuses.require(name.split()[1]).wr_dis_bit is not None
        else:
            seen += 1
            assert chip.uses(name), f"{name} is not used"
            field = chip.efuses.fields[name]
            assert (field.bits, field.wr_dis_bit) == (row["bits"], row["wr_dis_bit"])
    assert seen >= 3
    for name in value(documented["flash_encryption"]["extra_burned_by_idf_bootloader"]):
        assert name.startswith("WR_DIS of ") or chip.uses(name)


def test_write_protections(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    step = value(documented["flash_encryption"]["doc_write_protect_step_5B"])
    steps = [*([step] if step else []), *value(documented["secure_boot_v2"]["write_protect_steps"])]
    assert steps
    for row in steps:
        field = chip.efuses.require(row["name"])
        assert field.wr_dis_bit == row["wr_dis_bit"]
        assert set(row["locks"]) <= set(chip.fields_sharing_write_protection(field))
    for bit, names in value(documented["write_disable_groups"]).items():
        for name in names:
            field = chip.efuses.require(name)
            assert field.wr_dis_bit == int(bit), name


def test_pseudo_rounds(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    row = value(documented["flash_encryption"]["pseudo_round"])
    assert chip.uses("XTS_DPA_PSEUDO_LEVEL") == row["supported"]
    assert chip.facts.pseudo_round_revision == revision(row["min_chip_rev"])


def test_secure_boot(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    section = documented["secure_boot_v2"]
    offered = {name: how for name, how in value(section["schemes"]).items() if not how.startswith("not offered")}
    assert set(chip.facts.schemes) == set(offered)
    assert bool(chip.facts.schemes) == value(section["supported_by_idf"])
    assert set(chip.facts.schemes_with_errata) == {name for name, how in offered.items() if how.startswith("gated")}
    assert chip.facts.digest_slots == value(section["digest_slots"])
    assert [chip.secure_boot_enable.name] == value(section["enable_efuses"])
    revocations = [name for name in chip.efuses.fields if name.startswith("SECURE_BOOT_KEY_REVOKE")]
    assert sorted(revocations) == value(section["revoke"])
    assert len(revocations) in (0, chip.facts.digest_slots)
    aggressive = value(section["aggressive_revoke"])
    assert chip.uses("SECURE_BOOT_AGGRESSIVE_REVOKE") == bool(aggressive)
    sha384 = value(section["sha384"])
    field = chip.efuses.find("SECURE_BOOT_SHA384_EN")
    assert (field.name if field else None) == sha384["efuse"]
    if field is not None:
        assert field.wr_dis_bit == sha384["wr_dis_bit"]
        assert chip.facts.sha384_revision == revision(sha384["min_chip_rev"])


def test_the_rest(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    closing = value(documented["download_lockdown"])
    assert chip.facts.secure_download_mode == (closing["efuse"] == "ENABLE_SECURITY_DOWNLOAD")
    assert chip.efuses.require(closing["full_disable"]).wr_dis_bit == closing["wr_dis_bit"]
    assert chip.facts.hmac == value(documented["nvs_hmac"])["supported"]
    assert chip.facts.key_manager == value(documented["key_manager"])["supported"]
    curve = value(documented["ecdsa_curve_mode"])
    field = chip.efuses.find("ECDSA_CURVE_MODE")
    assert (field.name if field else None) == (curve["efuse"] if curve else None)
    if curve:
        assert chip.facts.ecdsa_curve_mode_revision == revision(curve["min_chip_rev"])


def test_minimum_revisions(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    known = {
        "secure_boot_v2": chip.facts.secure_boot_revision,
        "uart_download_dis": chip.facts.uart_download_disable_revision,
        "pseudo_round": chip.facts.pseudo_round_revision,
        "ecdsa_curve_mode": chip.facts.ecdsa_curve_mode_revision,
        "sha384": chip.facts.sha384_revision,
        "secure_download_flash_power": chip.facts.flash_power_revision,
    }
    rows = dict(value(documented["min_chip_revisions"]))
    rows.setdefault("secure_boot_v2", rows.get("rsa3072"))
    for name, ours in known.items():
        assert ours == revision(rows.get(name)), name


def test_capabilities_of_esp_idf(facts: tuple[Chip, dict[str, Any]]) -> None:
    chip, documented = facts
    symbols = {name for name, setting in value(documented["soc_caps_6_1"]).items() if setting == "y"}
    # rule SP051 must not cry for a chip that is covered
    assert [name for name, field in SOC_FIELDS.items() if name in symbols and not chip.uses(field)] == []
    ours = {name for name, setting in capabilities(chip.name).items() if setting is True}
    documented_names = set(value(documented["soc_caps_6_1"]))
    for other in CHIPS.values():
        documented_names |= set(value(other["soc_caps_6_1"]))
    assert ours & documented_names == symbols & set().union(*(capabilities(name) for name in CHIP_NAMES))
