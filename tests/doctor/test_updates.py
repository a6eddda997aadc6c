# SPDX-License-Identifier: Apache-2.0
"""The doctor over an update and its fleet: each fact that must be the boards' own, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.doctor_case import ANTI_ROLLBACK, BOTH, Case
from update_cases import (
    FINE,
    FOUND,
    SOFTWARE,
    UpdateCase,
    block_revisions,
    config,
    examine_update_case,
    found_in,
    signed_with,
    without_requirements,
)

from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.rule import Concern, Severity
from secure_ext.doctor.update import require_fit
from secure_ext.errors import CheckError, UsageError

RULES = {rule.code: rule for rule in ALL_RULES}
NUMBERS = range(len(FOUND))
IDS = [f"{number}-{code}" for number, (code, _) in enumerate(FOUND)]


def test_every_rule_about_updates_has_a_case() -> None:
    concerned = {rule.code for rule in ALL_RULES if rule.concerns is not Concern.BUNDLES}
    assert concerned == {code for code, _ in FOUND}


@pytest.mark.parametrize("number", NUMBERS, ids=IDS)
def test_what_does_not_fit_the_boards_is_found(number: int) -> None:
    code, found = FOUND[number][0], found_in(number)
    findings = [finding for finding in found.findings if finding.code == code]
    assert findings, found.findings
    assert all(finding.place and finding.cause and finding.cure for finding in findings)
    if RULES[code].severity is Severity.ERROR:
        with pytest.raises(CheckError) as stopped:
            require_fit(found)
        assert stopped.value.code in {RULES[finding.code].stops_update for finding in found.findings if finding.stops}
        assert code in stopped.value.cause


@pytest.mark.parametrize("number", NUMBERS, ids=IDS)
def test_an_error_of_an_update_is_accepted_where_it_says_so_and_nowhere_else(number: int, tmp_path: Path) -> None:
    code, case = FOUND[number]
    finding = next(finding for finding in found_in(number).findings if finding.code == code)
    if finding.severity is not Severity.ERROR:
        return
    if finding.can_be_accepted:
        again = examine_update_case(case, tmp_path, accept=(code,))
        assert all(finding.accepted for finding in again.findings if finding.code == code)
    else:
        with pytest.raises(UsageError, match="SE405"):
            examine_update_case(case, tmp_path, accept=(code,))


@pytest.mark.parametrize("name", FINE)
def test_what_fits_the_boards_is_not_refused(name: str, tmp_path: Path) -> None:
    found = examine_update_case(FINE[name], tmp_path)
    assert {finding.code for finding in found.findings if finding.severity is not Severity.INFO} == set()
    require_fit(found)


TEE = config(BOTH, SECURE_ENABLE_TEE=True)
UNSEEN = {
    "SP024": UpdateCase(Case(BOTH, chip="esp32c6"), recorded=False, readable=False),
    "SP095": UpdateCase(Case(BOTH, chip="esp32"), recorded=False, readable=False),
    "SP123": UpdateCase(readable=False, change=block_revisions(0, 199), change_document=without_requirements),
    "SP127": UpdateCase(Case(SOFTWARE, change=signed_with(0)), change=signed_with(1), recorded=False),
    "SP129": UpdateCase(update=config(BOTH, **ANTI_ROLLBACK), recorded=False),
    "SP131": UpdateCase(
        Case(BOTH, chip="esp32c6"), config(BOTH, SECURE_ENABLE_TEE=True), recorded=False, readable=False
    ),
    "SP132": UpdateCase(Case(BOTH, chip="esp32s3"), config(BOTH, ESPTOOLPY_OCT_FLASH=True), recorded=False),
    "SP136": UpdateCase(recorded=False, readable=False),
}
"""What the bundle of an earlier version, or one that nobody can read here, does not tell."""


@pytest.mark.parametrize("code", UNSEEN)
def test_what_an_older_bundle_does_not_tell_is_not_called_fine(code: str, tmp_path: Path) -> None:
    found = examine_update_case(UNSEEN[code], tmp_path)
    assert code in {rule.code for rule, one in found.unseen if one.why}
    assert code not in {finding.code for finding in found.findings}
