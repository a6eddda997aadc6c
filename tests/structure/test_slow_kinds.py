# SPDX-License-Identifier: Apache-2.0
"""The list of tests with slow cases names tests that there are; otherwise all of their cases would be quick again."""

from __future__ import annotations

from pathlib import Path

from support.slow_kinds import QUICK_CASES

TESTS = Path(__file__).parents[1]


def test_each_is_a_test() -> None:
    gone = [
        f"{path}::{name}"
        for path, names in QUICK_CASES.items()
        for name in names
        if f"def {name.rpartition('::')[2]}(" not in (TESTS / path).read_text(encoding="utf-8")
    ]
    assert gone == []
