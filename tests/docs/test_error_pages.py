# SPDX-License-Identifier: Apache-2.0
"""docs/errors.md is what the raise sites say, and each code is one kind of error."""

from __future__ import annotations

import re
from collections import defaultdict

from error_pages import DOCS, listed_codes, page, raised


def test_the_page_is_the_generated_one() -> None:
    assert (DOCS / "errors.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_a_code_is_raised_by_one_class() -> None:
    kinds = defaultdict(set)
    for item in raised():
        kinds[item.code].add(item.kind)
    assert {code: found for code, found in kinds.items() if len(found) > 1} == {}


def test_every_code_is_on_one_page() -> None:
    stops = set(re.findall(r"SE\d{3}", (DOCS / "script.md").read_text(encoding="utf-8")))
    codes = listed_codes()
    assert len(codes) == len(set(codes))
    assert {item.code for item in raised()} <= {*codes, *stops}
