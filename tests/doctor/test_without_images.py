# SPDX-License-Identifier: Apache-2.0
"""Of a project that is not built, each rule says what it will say of the build, or is not asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.doctor_cases import CASES, case_decision

from secure_ext.doctor import ALL_RULES, examination
from secure_ext.doctor.decide import Decision
from secure_ext.doctor.rule import Subject
from secure_ext.plan.bootloader_versions import bootloader_efuses
from secure_ext.plan.first_boot import first_boot_burns
from secure_ext.plan.images import blank_partitions
from secure_ext.plan.kept import kept_ranges
from secure_ext.plan.make import make_plan
from secure_ext.plan.requirements import board_requirements

NEED_NONE = {rule.code for rule in ALL_RULES if not rule.needs_images}


def without_images(decision: Decision) -> Subject:
    build = replace(decision.build, files=(), bootloader_flash=None)
    plan = make_plan(
        decision.chip,
        decision.policy,
        min_revision=build.min_revision,
        max_revision=build.max_revision,
        requirements=board_requirements(build, decision.chip, decision.policy, ()),
        kept=kept_ranges(build, decision.policy, ()),
        bootloaders=bootloader_efuses(build, decision.chip, ()),
    )
    blanks = blank_partitions(build, decision.policy, ())
    first_boot = first_boot_burns(build, decision.chip, plan, ())
    return Subject(build, decision.chip, decision.policy, (), blanks, plan, first_boot)


@pytest.mark.parametrize("code", [code for code, case in CASES.items() if case.making is None and not case.publishes])
def test_the_same_is_found_or_the_rule_is_not_asked(code: str) -> None:
    decision = case_decision(code)
    found = examination(without_images(decision)).findings
    assert {finding.code for finding in found} <= NEED_NONE
    assert set(found) == {finding for finding in decision.findings if finding.code in NEED_NONE}
