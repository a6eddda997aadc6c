# SPDX-License-Identifier: Apache-2.0
"""Each rule of the doctor finds what it is for, and nothing in a healthy build; what would brick is never accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.doctor_case import (
    BOTH,
    ENCRYPTED,
    LOCKED_DOWNLOAD_MODE,
    PLAIN,
    SIGNED,
    UNSIGNED_APP,
    Case,
    built_with,
    examine_case,
    rows,
    sign_app_and_bootloader,
)
from support.doctor_cases import CASES, MORE_CASES, PASSING, case_decision, case_folder

from secure_ext.chips.facts import CHIP_NAMES, chip_facts
from secure_ext.doctor import ALL_RULES, FILES
from secure_ext.doctor.decide import Decision, decide
from secure_ext.doctor.rule import Concern, Finding, Severity
from secure_ext.errors import CheckError, UsageError
from secure_ext.formats.partition_table import TYPE_DATA, Partition
from secure_ext.policy.profile import Profile, Value

RULES = {rule.code: rule for rule in ALL_RULES}
KNOWN_IN_A_CLEAN_SAMPLE = {"SP064", "SP081"}
OF_THE_CHIP = {
    "esp32h2": {"SP050"},
    "esp32p4": {"SP047"},
    **{chip: {"SP048"} for chip in ("esp32h21", "esp32h4", "esp32s31")},
}


def found(decision: Decision, code: str) -> list[Finding]:
    return [finding for finding in decision.findings if finding.code == code]


CURE = re.compile(r"set CONFIG_\w+=\w+(?:(?:,| and) CONFIG_\w+=\w+)*(?: \(menuconfig, [^)]*\))?,? and build again")


def test_a_cure_that_is_nothing_but_symbols_is_there_as_data_too() -> None:
    """And what is there as data is said in words."""
    for rule in ALL_RULES:
        said = {
            name: {"y": True, "n": False}.get(value) for name, value in re.findall(r"CONFIG_(\w+)=(\w+)", rule.cure)
        }
        if CURE.fullmatch(rule.cure):
            assert dict(rule.settings) == said, rule.code
        assert said.items() >= dict(rule.settings).items(), rule.code


def test_codes_are_unique_and_sorted() -> None:
    codes = [rule.code for rule in ALL_RULES]
    assert codes == sorted(set(codes))
    assert all(re.fullmatch(r"SP\d{3}", code) for code in codes)
    for file in FILES:
        in_file = [rule.code for rule in file.RULES]
        assert in_file == sorted(in_file)


def test_every_rule_has_texts_of_its_own() -> None:
    assert len({rule.title for rule in ALL_RULES}) == len(ALL_RULES)
    assert len({rule.explanation for rule in ALL_RULES}) == len(ALL_RULES)
    for rule in ALL_RULES:
        assert rule.title and not rule.title.endswith(".")
        assert len(rule.explanation) > 100 and rule.explanation.endswith("."), rule.code
        assert rule.source and rule.cure, rule.code
        assert bool(rule.why) is rule.is_error, rule.code
        assert not rule.why.endswith("."), rule.code


def test_there_is_a_case_for_every_rule() -> None:
    assert sorted(CASES) == [rule.code for rule in ALL_RULES if rule.concerns is not Concern.UPDATES]


@pytest.mark.parametrize("code", sorted(CASES))
def test_rule_finds_its_case(code: str) -> None:
    findings = found(case_decision(code), code)
    assert findings, f"{code} found nothing"
    for finding in findings:
        assert finding.severity is RULES[code].severity
        assert finding.place and finding.cause and finding.cure
        assert finding.stops == (RULES[code].severity is Severity.ERROR)
        assert not finding.accepted
        assert str(case_folder(code).parent) not in f"{finding.place}{finding.cause}{finding.cure}"


@pytest.mark.parametrize(("code", "case"), MORE_CASES)
def test_rule_finds_further_cases(code: str, case: Case, tmp_path: Path) -> None:
    assert found(examine_case(case, tmp_path), code)


@pytest.mark.parametrize(
    ("scheme", "chip", "said"),
    [
        ("hmac", "esp32c3", "the firmware derives its NVS keys from the HMAC key in eFuse"),
        ("flash-encryption", "esp32", "the firmware makes its own NVS keys at the first boot"),
        ("off", "esp32c3", "NVS encryption is off"),
    ],
)
def test_what_becomes_of_an_empty_nvs_keys_partition(scheme: str, chip: str, said: str, tmp_path: Path) -> None:
    decision = examine_case(Case(BOTH, {"nvs": {"scheme": scheme}}, chip=chip), tmp_path)
    (finding,) = (item for item in found(decision, "SP064") if item.place == "partition nvs_keys")
    assert said in finding.cause
    assert scheme == "flash-encryption" or "makes its own" not in finding.cause


def test_no_rule_finds_anything_where_nothing_is_wrong(tmp_path: Path) -> None:
    clean = examine_case(Case(BOTH), tmp_path / "clean")
    for code in RULES:
        if code not in PASSING:
            assert not found(clean, code)
    for code, case in PASSING.items():
        assert not found(examine_case(case, tmp_path / code), code)


QUICK = ("esp32", "esp32c3")
CHIPS = [chip if chip in QUICK else pytest.param(chip, marks=pytest.mark.long) for chip in CHIP_NAMES]


@pytest.mark.parametrize("chip", CHIPS)
def test_what_is_found_in_the_clean_sample_of_each_chip(chip: str, tmp_path: Path) -> None:
    if chip_facts(chip).schemes:
        codes = {finding.code for finding in examine_case(Case(BOTH, chip=chip), tmp_path / "both").findings}
        assert codes == KNOWN_IN_A_CLEAN_SAMPLE | OF_THE_CHIP.get(chip, set())
        codes = {finding.code for finding in examine_case(Case(SIGNED, chip=chip), tmp_path / "signed").findings}
        assert codes == {"SP040", "SP062"} | OF_THE_CHIP.get(chip, set())
    codes = {finding.code for finding in examine_case(Case(ENCRYPTED, chip=chip), tmp_path / "encrypted").findings}
    old_esp32 = {"SP050"} if chip == "esp32" else set()
    assert codes == {"SP040"} | KNOWN_IN_A_CLEAN_SAMPLE | OF_THE_CHIP.get(chip, set()) | old_esp32


SP050_ELSEWHERE = {
    "the plan stops on the older ones": Case(
        PLAIN, {"secure_boot": {"enabled": True}, "lockdown": {"download_mode": "disabled"}}, chip="esp32"
    ),
    "later ones cannot come": Case(BOTH | {"config": {"ESP32H2_REV_MAX_FULL": 99}}, chip="esp32h2"),
}


@pytest.mark.parametrize("case", SP050_ELSEWHERE.values(), ids=SP050_ELSEWHERE)
def test_a_step_is_missed_only_where_boards_of_both_kinds_come(case: Case, tmp_path: Path) -> None:
    assert not found(examine_case(case, tmp_path), "SP050")


@pytest.mark.parametrize("newest", [199, 301])
def test_a_field_of_later_revisions_is_missed_only_there(newest: int, tmp_path: Path) -> None:
    """ESP-IDF's list of capabilities is that of the newest ESP32-P4, whatever revisions the build is for."""
    config = {"SOC_FLASH_ENCRYPTION_XTS_AES_SUPPORT_PSEUDO_ROUND": True, "ESP32P4_REV_MAX_FULL": newest}
    case = Case(BOTH | {"min_revision": 100, "config": config}, chip="esp32p4")
    assert bool(found(examine_case(case, tmp_path), "SP051")) == (newest == 301)


OTHER_OFFSET = re.compile(r"CONFIG_PARTITION_TABLE_OFFSET=(0x[0-9a-f]+)")


@pytest.mark.parametrize(
    ("built_in", "least"),
    [(BOTH, 0), ({}, 0xC000), ({"secure_boot": True}, 0xC000)],
    ids=["both features", "neither", "secure boot alone"],
)
def test_the_table_moves_behind_the_bootloader_that_the_other_cures_make(
    built_in: dict[str, Any], least: int, tmp_path: Path
) -> None:
    case = Case(
        built_in | {"table_offset": 0x5000, "partitions": rows()},
        {"flash_encryption": {"mode": "release"}, "secure_boot": {"enabled": True}},
    )
    (finding,) = found(examine_case(case, tmp_path), "SP001")
    match = OTHER_OFFSET.search(finding.cure)
    assert match and int(match[1], 0) >= least


@pytest.mark.parametrize("code", ["SP020", "SP029"])
def test_what_nvs_encryption_needs_is_said_before_it_is_turned_on(code: str, tmp_path: Path) -> None:
    features: dict[str, Any] = (
        {} if code == "SP020" else {"flash_encryption": "release", "config": {"NVS_ENCRYPTION": False}}
    )
    for without, names_the_row in (((), False), (("nvs_keys",), True)):
        case = Case({**features, "partitions": rows(without=without)}, {"flash_encryption": {"mode": "release"}})
        (finding,) = found(examine_case(case, tmp_path / str(names_the_row)), code)
        assert ("nvs_keys, data, nvs_keys, , 0x1000, encrypted" in finding.cure) == names_the_row


def test_a_ready_row_is_one_that_the_next_run_takes(tmp_path: Path) -> None:
    odd = Partition("storage", TYPE_DATA, 0x81, 0x220000, 0x400)
    (finding,) = found(examine_case(Case(BOTH | {"partitions": rows(odd)}), tmp_path), "SP070")
    assert "storage, data, fat, , 0x1000, encrypted" in finding.cure


DEPENDS = {"SP005", "SP014", "SP020", "SP021", "SP023", "SP031", "SP034", "SP124", "SP163"}
"""Codes of errors for which the subject decides."""
NOT_HERE = {"SP005", "SP014", "SP031", "SP163"}
"""Those of them that cannot be accepted in their case."""
ERRORS = {rule.code for rule in ALL_RULES if rule.is_error and rule.concerns is not Concern.UPDATES}
NEVER = sorted({code for code in ERRORS if RULES[code].never_acceptable} | NOT_HERE)
ACCEPTABLE = sorted(ERRORS - set(NEVER))


@pytest.mark.parametrize("code", ACCEPTABLE)
def test_accepting_an_error(code: str, tmp_path: Path) -> None:
    decision = examine_case(CASES[code], tmp_path, accept=(code,))
    for finding in found(decision, code):
        assert finding.accepted and not finding.stops
        assert finding.severity is Severity.ERROR
    others = [finding for finding in decision.findings if finding.stops and finding.code != code]
    if others:
        with pytest.raises(CheckError) as caught:
            decision.require_healthy()
        assert caught.value.code == "SE404"
        assert caught.value.cure and caught.value.place
    else:
        decision.require_healthy()


@pytest.mark.parametrize("code", NEVER)
def test_what_would_brick_cannot_be_accepted(code: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        examine_case(CASES[code], tmp_path, accept=(code,))
    assert refused.value.code == "SE405"


def test_these_would_brick() -> None:
    assert {"SP001", "SP002", "SP003", "SP004", "SP006", "SP009", "SP010", "SP024", "SP033", "SP100"} <= set(NEVER)
    assert {rule.code for rule in ALL_RULES if callable(rule.acceptable)} == DEPENDS


ECDSA_UNSIGNED = UNSIGNED_APP | {"SECURE_SIGNED_APPS_RSA_SCHEME": False, "SECURE_SIGNED_APPS_ECDSA_V2_SCHEME": True}
FAST = BOTH | {"config": {"ESP_DEFAULT_CPU_FREQ_MHZ": 240}}
DECIDED: dict[str, tuple[str, Case, bool]] = {
    "a flash size that the bootloader knows": ("SP005", CASES["SP005"], False),
    "an app that aborts when it is unsigned": ("SP014", CASES["SP014"], False),
    "ECDSA before the app looked": (
        "SP014",
        Case(ENCRYPTED | {"config": ECDSA_UNSIGNED}, chip="esp32c6", change=built_with("v5.1.1")),
        True,
    ),
    "ECDSA since the app looks": (
        "SP014",
        Case(ENCRYPTED | {"config": ECDSA_UNSIGNED}, chip="esp32c6", change=built_with("v5.1.2")),
        False,
    ),
    "a clock that nobody looks at": ("SP031", Case(FAST, chip="esp32c5", change=built_with("v5.5.1")), True),
    "a clock that the app looks at": ("SP031", Case(FAST, chip="esp32c5", change=built_with("v5.5.2")), False),
    "a clock, in an unknown ESP-IDF": (
        "SP031",
        Case(FAST, chip="esp32c5", change=built_with("0a1b2c3")),
        False,
    ),
    "encryption that the bootloader turns on": ("SP023", CASES["SP023"], True),
    "an unsigned app under a bootloader that starts none": (
        "SP023",
        Case(BOTH, {"secure_boot": {"enabled": False}}),
        False,
    ),
    "a signed app under such a bootloader": (
        "SP023",
        Case(BOTH, {"secure_boot": {"enabled": False}}, change=sign_app_and_bootloader),
        True,
    ),
    "an NVS key that cannot be made": ("SP034", CASES["SP034"], True),
    "a download mode that the app cannot close": ("SP034", LOCKED_DOWNLOAD_MODE, False),
}


@pytest.mark.parametrize("name", DECIDED)
def test_the_subject_decides_whether_an_error_can_be_accepted(name: str, tmp_path: Path) -> None:
    code, case, acceptable = DECIDED[name]
    findings = found(examine_case(case, tmp_path / "seen"), code)
    assert findings and all(finding.can_be_accepted is acceptable for finding in findings)
    if acceptable:
        assert all(finding.accepted for finding in found(examine_case(case, tmp_path / "accepted", (code,)), code))
    else:
        with pytest.raises(UsageError, match=f"SE405.*{code} cannot be accepted here"):
            examine_case(case, tmp_path / "accepted", (code,))


def test_a_code_that_is_accepted_for_another_build_does_no_harm(tmp_path: Path) -> None:
    assert not found(examine_case(Case(BOTH), tmp_path, accept=("SP005", "SP031", "SP034")), "SP031")


def test_findings_are_sorted_worst_first() -> None:
    decision = case_decision("SP005")
    order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    ranks = [(order[finding.severity], finding.code) for finding in decision.findings]
    assert ranks == sorted(ranks)
    assert {rank for rank, _ in ranks} >= {0, 2}


@pytest.mark.parametrize("chip", QUICK)
def test_healthy_build_has_no_error(
    chip: str,
    sample_project: Callable[[str], Path],
    signing_key_for: Callable[[str], Path],
) -> None:
    settings: dict[str, Value] = {"secure_boot.keys": (str(signing_key_for(chip)),)}
    decision = decide(sample_project(chip) / "build", Profile(Path(), settings))
    assert {finding.severity for finding in decision.findings} == {Severity.INFO}
    decision.require_healthy()


def test_the_cure_names_the_block_that_the_plan_has_chosen() -> None:
    """SP027 with no block in the profile: the plan takes the first that is free, and the firmware is told which."""
    case = Case(BOTH | {"config": {"NVS_SEC_HMAC_EFUSE_KEY_ID": -1}}, {"nvs": {"scheme": "hmac"}})
    (finding,) = found(examine_case(case, case_folder("SP027-no-block")), "SP027")
    block = re.search(r"\(BLOCK_KEY(\d)\)", finding.cause)
    assert block and f"CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID={block[1]} " in finding.cure


def test_an_option_that_is_not_in_the_menu_is_not_the_first_cure() -> None:
    """SP025 where the chip has no other scheme: the option that lets the next one appear comes first."""
    options = BOTH | {"scheme": "ecdsa256", "config": {"SECURE_BOOT_V2_FORCE_ENABLE_ECDSA": False}}
    (finding,) = found(examine_case(Case(options, chip="esp32c61"), case_folder("SP025-no-rsa")), "SP025")
    assert 0 < finding.cure.index("SECURE_BOOT_INSECURE=y") < finding.cure.index("FORCE_ENABLE_ECDSA=y")
