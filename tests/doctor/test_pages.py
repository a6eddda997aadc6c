# SPDX-License-Identifier: Apache-2.0
"""The pages in docs/doctor are those that the rules make."""

from __future__ import annotations

import pytest
from doctor_pages import DOCS, findings_of, index_with_table, page

from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.rule import Rule

WRITE_THEM = "run: python tests/doctor/doctor_pages.py"


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.code)
def test_the_page_of_a_rule_is_made_of_the_rule(rule: Rule) -> None:
    committed = (DOCS / "doctor" / f"{rule.code}.md").read_text(encoding="utf-8")
    assert committed == page(rule, findings_of(rule.code)), WRITE_THEM


def test_there_is_a_page_for_each_rule_and_no_other() -> None:
    assert sorted(path.stem for path in (DOCS / "doctor").iterdir()) == [rule.code for rule in ALL_RULES]


def test_the_index_has_every_rule() -> None:
    text = (DOCS / "doctor.md").read_text(encoding="utf-8")
    assert text == index_with_table(text), WRITE_THEM
