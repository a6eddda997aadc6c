# SPDX-License-Identifier: Apache-2.0
"""What of the findings is shown: selected codes, ignored ones, a baseline; and the explanation of one code."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.doctor_case import BOTH, Case, bootloader_of, examine_case, rsa_key
from support.doctor_cases import case_decision

from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.rule import Severity
from secure_ext.doctor.select import chosen, is_known, read_baseline, write_baseline
from secure_ext.errors import InputError, UsageError
from secure_ext.keys.files import write_secret_file

LARGE = Case(BOTH | {"table_offset": 0x8000}, change=bootloader_of(0xAE00))
CHATTY = Case(BOTH | {"config": {"BOOTLOADER_LOG_LEVEL": 5, "ESP_COREDUMP_ENABLE_TO_UART": True}})


@pytest.fixture
def run_doctor(tmp_path: Path, run_cli: Callable[..., Result]) -> Callable[..., Result]:
    """Makes a case's build, and returns what runs the doctor on it."""

    def make(case: Case) -> Callable[..., Result]:
        examine_case(case, tmp_path)
        key = tmp_path / "signing.pem"
        write_secret_file(key, rsa_key())
        return lambda *more: run_cli("doctor", "-B", tmp_path / "project" / "build", "--signing-key", key, *more)

    return make  # type: ignore[return-value]


def codes(shown: Result) -> list[str]:
    return [finding["code"] for finding in json.loads(shown.stdout)["findings"]]


def test_codes_are_chosen_by_their_beginning() -> None:
    findings = case_decision("SP072").findings
    all_codes = {finding.code for finding in findings}
    assert {finding.code for finding in chosen(findings, [], [])} == all_codes >= {"SP064", "SP072", "SP081"}
    assert {finding.code for finding in chosen(findings, ["SP07", "sp081"], [])} == {"SP072", "SP081"}
    assert {finding.code for finding in chosen(findings, ["SP07, SP081"], ["SP081"])} == {"SP072"}
    assert {finding.code for finding in chosen(findings, [], ["SP"])} == set()


def test_what_would_brick_is_always_shown() -> None:
    findings = case_decision("SP001").findings
    assert {finding.code for finding in chosen(findings, ["SP08"], ["SP0"])} == {"SP001"}


@pytest.mark.parametrize("text", ["", "X", "SP9", "SP0011", "SP001;SP002", "065"])
def test_a_beginning_of_no_code_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        chosen((), [text], [])
    assert refused.value.code == "SE741"


def test_a_baseline_hides_what_it_knows(run_doctor: Any, tmp_path: Path) -> None:
    doctor = run_doctor(CHATTY)
    baseline = tmp_path / "baseline.json"
    before = codes(doctor("--format", "json"))
    written = doctor("--write-baseline", baseline, "--select", "SP056,SP06")
    assert written.exit_code == 0 and "known findings not shown" in written.stdout
    after = doctor("--baseline", baseline)
    assert "SP056" not in after.stdout and "SP064" not in after.stdout and "SP058" in after.stdout
    assert f"{sum(code in ('SP056', 'SP064') for code in before)} known findings not shown" in after.stdout
    data = json.loads(doctor("--baseline", baseline, "--format", "json").stdout)["findings"]
    assert [finding["code"] for finding in data] == before
    assert {finding["code"] for finding in data if finding["known"]} == {"SP056", "SP064"}
    sarif = json.loads(doctor("--baseline", baseline, "--format", "sarif").stdout)["runs"][0]["results"]
    states = {result["ruleId"]: result["baselineState"] for result in sarif}
    assert states["SP056"] == "unchanged" and states["SP058"] == "new"


def test_a_known_error_does_not_stop_the_doctor(run_doctor: Any, tmp_path: Path) -> None:
    doctor = run_doctor(Case({"secure_boot": True}))
    wanted = ("--flash-encryption", "release")
    assert doctor(*wanted).exit_code == 1
    assert doctor(*wanted, "--write-baseline", tmp_path / "baseline.json").exit_code == 0
    again = doctor(*wanted, "--baseline", tmp_path / "baseline.json")
    assert again.exit_code == 0 and "SP020" not in again.stdout


def test_a_baseline_never_hides_what_would_brick(run_doctor: Any, tmp_path: Path) -> None:
    doctor = run_doctor(LARGE)
    baseline = tmp_path / "baseline.json"
    assert doctor("--write-baseline", baseline).exit_code == 1
    assert "SP001" not in baseline.read_text()
    finding = next(f for f in json.loads(doctor("--format", "json").stdout)["findings"] if f["code"] == "SP001")
    content = json.loads(baseline.read_text())
    content["findings"].append(finding)
    baseline.write_text(json.dumps(content))
    again = doctor("--baseline", baseline)
    assert again.exit_code == 1 and "SP001" in again.stdout


def test_findings_are_recognised_though_numbers_change(tmp_path: Path) -> None:
    grown = Case(BOTH | {"data_images": {"storage": bytes(0x100001)}})
    first = examine_case(grown, tmp_path / "a").findings[0]
    more = Case(BOTH | {"data_images": {"storage": bytes(0x100101)}})
    second = examine_case(more, tmp_path / "b").findings[0]
    assert first.cause != second.cause and first.fingerprint == second.fingerprint


def test_a_baseline_is_written_whole_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    findings = case_decision("SP056").findings
    assert write_baseline(path, findings) == len(findings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    known = read_baseline(path)
    assert all(is_known(finding, known) for finding in findings)
    assert [entry.name for entry in tmp_path.iterdir()] == ["baseline.json"]


def test_a_baseline_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_baseline(tmp_path / "missing" / "baseline.json", ())
    assert caught.value.code == "SE743"
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError) as caught:
        write_baseline(tmp_path / "folder", ())
    assert caught.value.code == "SE743" and [entry.name for entry in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 2, "findings": []}', '{"schema": 1, "findings": [1]}', "[" * 100_000, "\xff"]
)
def test_a_file_that_is_no_baseline_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError) as caught:
        read_baseline(path)
    assert caught.value.code == "SE742" and caught.value.place == str(path)
    with pytest.raises(InputError):
        read_baseline(tmp_path / "missing.json")


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.code)
def test_every_code_is_explained(rule: Any, run_cli: Callable[..., Result]) -> None:
    shown = run_cli("doctor", "--explain", rule.code.lower())
    assert shown.exit_code == 0
    words = " ".join(shown.stdout.split())
    for text in (rule.code, rule.title, rule.explanation, rule.cure, rule.source):
        assert " ".join(text.split()) in words
    assert ("never be accepted" in words) is (rule.severity is Severity.ERROR and not rule.acceptable)
    data = json.loads(run_cli("doctor", "--explain", rule.code, "--format", "json").stdout)
    assert data["explanation"] == rule.explanation and data["source"] == rule.source


def test_a_code_that_does_not_exist_is_not_explained(run_cli: Callable[..., Result]) -> None:
    shown = run_cli("doctor", "--explain", "SP999")
    assert shown.exit_code == 2 and "SE740" in shown.stderr
