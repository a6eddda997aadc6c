"""Each rule of the doctor finds what it is for, and nothing in a healthy build; what would brick is never accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from doctor_cases import (
    BOTH,
    CASES,
    ENCRYPTED,
    MORE_CASES,
    PASSING,
    SIGNED,
    Case,
    case_decision,
    case_folder,
    examine_case,
)

from secure_ext.chips.facts import CHIP_NAMES, chip_facts
from secure_ext.errors import CheckError, UsageError
from secure_ext.plan.decide import Decision, decide
from secure_ext.plan.doctor import ALL_RULES, FILES
from secure_ext.plan.doctor.rule import Finding, Severity
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


def test_there_is_a_case_for_every_rule() -> None:
    assert sorted(CASES) == sorted(RULES)


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


ACCEPTABLE = sorted(rule.code for rule in ALL_RULES if rule.severity is Severity.ERROR and rule.acceptable)
NEVER = sorted(rule.code for rule in ALL_RULES if rule.severity is Severity.ERROR and not rule.acceptable)


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
    assert {"SP001", "SP002", "SP003", "SP004", "SP005", "SP006", "SP009", "SP010", "SP024", "SP033", "SP100"} <= set(
        NEVER
    )


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
