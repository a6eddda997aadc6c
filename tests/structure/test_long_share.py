# SPDX-License-Identifier: Apache-2.0
"""The parts of the long tests: together they are all of them, and the quick ones are in each."""

from __future__ import annotations

import pytest
from support.long_share import Share, keep_share

NAMES = [f"tests/matrix/test_chip_matrix.py::test_cell[{number}]" for number in range(500)]


@pytest.mark.parametrize("count", [1, 2, 14, 100])
def test_each_test_is_in_one_part(count: int) -> None:
    for name in NAMES:
        assert sum(Share(number, count).holds(name) for number in range(1, count + 1)) == 1


def test_the_days_of_a_year_go_round_the_parts() -> None:
    assert all(Share.of_text("017/14").holds(name) == Share(3, 14).holds(name) for name in NAMES)


def test_no_part_is_a_large_one() -> None:
    assert max(sum(Share(number, 14).holds(name) for name in NAMES) for number in range(14)) < 3 * len(NAMES) / 14


@pytest.mark.parametrize("text", ["", "3", "3/", "/3", "3/0", "-1/3", "x/y", "1/2/3"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="--long-share takes two numbers"):
        Share.of_text(text)


def test_quick_tests_stay_and_a_long_one_runs_in_one_part(request: pytest.FixtureRequest) -> None:
    quick = request.node
    long = pytest.Function.from_parent(quick.parent, name=quick.name, callobj=quick.obj)
    long.add_marker("long")
    runs = []
    for number in range(14):
        items = [quick, long]
        others = keep_share(items, Share(number, 14))
        assert quick in items
        assert others in ([], [long])
        runs += items
    assert runs.count(quick) == 14
    assert runs.count(long) == 1
