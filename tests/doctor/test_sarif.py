# SPDX-License-Identifier: Apache-2.0
"""The doctor's SARIF is valid, has what code hosts ask for, and points to the line where a finding can be mended."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from doctor_pages import findings_of
from support.doctor_cases import CASES, case_decision, case_folder

from secure_ext.cli.show.sarif import repository_root, sarif_document
from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.locate import Location, Locator
from secure_ext.doctor.rule import Finding

SCHEMA = os.environ.get("SECURE_EXT_SARIF_SCHEMA", "")
PROFILE = "schema: 1\nlockdown:\n  jtag: open\n  download_mode: open\nsecure_boot:\n  keys: [key.pem]\n"


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    """One document with a finding of every rule, half of them known, the acceptable ones accepted."""
    findings: list[Finding] = []
    locations: dict[str, Location] = {}
    for rule in ALL_RULES:
        decision = case_decision(rule.code if rule.code in CASES else "SP001")
        locator = Locator(decision.build, decision.images, None)
        finding = next(finding for finding in findings_of(rule.code) if finding.code == rule.code)
        locations[rule.code] = locator.locate(finding)
        findings.append(finding)
    accepted = [
        Finding(**{**vars(finding), "accepted": finding.can_be_accepted and finding.severity.value == "error"})
        for finding in findings
    ]
    known = set(accepted[::2])
    return sarif_document(
        accepted,
        locate=lambda finding: locations[finding.code],
        root=case_folder("SP001").parent,
        is_known=lambda finding: finding in known and not finding.always_shown,
        exit_code=1,
    )


@pytest.mark.skipif(not SCHEMA, reason="SECURE_EXT_SARIF_SCHEMA does not name OASIS's sarif-schema-2.1.0.json")
def test_it_follows_the_schema(everything: dict[str, Any]) -> None:
    schema = json.loads(Path(SCHEMA).read_bytes())
    checker = jsonschema.FormatChecker()
    jsonschema.Draft4Validator(schema, format_checker=checker).validate(json.loads(json.dumps(everything)))


def test_it_has_what_code_hosts_require(everything: dict[str, Any]) -> None:
    assert everything["version"] == "2.1.0" and everything["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = everything["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] and driver["semanticVersion"]
    assert [rule["id"] for rule in driver["rules"]] == [rule.code for rule in ALL_RULES]
    for rule in driver["rules"]:
        assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9]+", rule["name"]) and len(rule["name"]) <= 255
        for text in (rule["shortDescription"], rule["fullDescription"], rule["help"]):
            assert 0 < len(text["text"]) <= 1024
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
        assert rule["helpUri"].startswith("https://")
        assert 0 < float(rule["properties"]["security-severity"]) <= 10
    assert len(run["results"]) == len(ALL_RULES)
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] == driver["rules"][result["ruleIndex"]]["defaultConfiguration"]["level"]
        assert result["message"]["text"]
        (location,) = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert uri and not uri.startswith(("/", "..", "file:")) and "\\" not in uri
        assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert re.fullmatch(r"[0-9a-f]{32}", result["partialFingerprints"]["secureProvision/v1"])


def test_fingerprints_tell_findings_apart(everything: dict[str, Any]) -> None:
    prints = [result["partialFingerprints"]["secureProvision/v1"] for result in everything["runs"][0]["results"]]
    assert len(set(prints)) == len(prints)


def test_accepted_and_known_findings_are_suppressed_but_never_what_bricks(everything: dict[str, Any]) -> None:
    for index, result in enumerate(everything["runs"][0]["results"]):
        code = result["ruleId"]
        finding = next(finding for finding in findings_of(code) if finding.code == code)
        bricks = finding.always_shown
        accepted = finding.severity.value == "error" and finding.can_be_accepted
        assert bool(result.get("suppressions")) is (not bricks and (accepted or index % 2 == 0))
        assert result["baselineState"] == ("unchanged" if index % 2 == 0 and not bricks else "new")


EXPECTED_FILES = {
    "SP002": ("partitions.csv", "storage,"),
    "SP008": ("sdkconfig", "#"),
    "SP013": ("partitions.csv", "ota_0,"),
    "SP020": ("sdkconfig", "# CONFIG_SECURE_FLASH_ENC_ENABLED is not set"),
    "SP032": ("sdkconfig", "#"),
    "SP056": ("sdkconfig", "CONFIG_BOOTLOADER_LOG_LEVEL=5"),
    "SP060": ("partitions.csv", "nvs,"),
    "SP070": ("partitions.csv", "storage,"),
    "SP080": ("sdkconfig", "#"),
}


@pytest.mark.parametrize("code", EXPECTED_FILES)
def test_where_a_finding_can_be_mended(code: str) -> None:
    decision = case_decision(code)
    finding = next(finding for finding in decision.findings if finding.code == code)
    location = Locator(decision.build, decision.images, None).locate(finding)
    name, beginning = EXPECTED_FILES[code]
    assert location.path.name == name
    assert location.path.read_text().splitlines()[location.line - 1].startswith(beginning)


@pytest.mark.parametrize(("code", "line"), [("SP042", 3), ("SP043", 4), ("SP080", 1), ("SP082", 6)])
def test_a_setting_is_found_in_the_profile(code: str, line: int, tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text(PROFILE)
    decision = case_decision(code)
    finding = next(finding for finding in decision.findings if finding.code == code)
    location = Locator(decision.build, decision.images, profile).locate(finding)
    assert location.line == line
    assert location.path.name == ("sdkconfig" if code == "SP080" else "profile.yaml")


def test_paths_are_relative_to_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "firmware").mkdir()
    assert repository_root(tmp_path / "firmware") == tmp_path.resolve()


def test_the_command_prints_it(run_cli: Any) -> None:
    folder = case_folder("SP082")
    build = case_decision("SP082").build.build_dir
    done = run_cli("doctor", "-B", build, "--signing-key", folder / "key.pem", "--format", "sarif")
    assert done.exit_code == 1
    results = json.loads(done.stdout)["runs"][0]["results"]
    assert results[0]["ruleId"] == "SP082" and "baselineState" not in results[0]
    uris = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results}
    assert uris <= {"project/sdkconfig", "project/partitions.csv"}
