# SPDX-License-Identifier: Apache-2.0
"""A check that was made: what it is called, what it looked at, how it ended, and by what evidence.

`verify` and `audit` return these; they are printed, counted and serialised in one way.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from secure_ext.station.frozen import frozen
from secure_ext.station.one_line import harmless, one_line


class Outcome(str, enum.Enum):
    """How a check ended. NOT_VERIFIABLE is never counted as fine: nobody has seen it."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_VERIFIABLE = "not verifiable"


@frozen
class Check:
    """One check.

    Attributes:
        name: stable and in words with hyphens, such as ``image-hash``; people script against it.
        place: file, image, eFuse or manifest field it is about.
        outcome: how it ended.
        evidence: what was seen (never a secret); for NOT_VERIFIABLE why it cannot be seen.
        cure: what to do when it failed; empty otherwise.
    """

    name: str
    place: str
    outcome: Outcome
    evidence: str
    cure: str = ""


def count_outcomes(checks: Iterable[Check]) -> Counter[Outcome]:
    """How many checks ended in which way."""
    return Counter(check.outcome for check in checks)


def has_failures(checks: Iterable[Check]) -> bool:
    """Whether one check failed: the command then ends with exit code 1."""
    return any(check.outcome is Outcome.FAILED for check in checks)


def checks_data(checks: Sequence[Check]) -> dict[str, Any]:
    """Checks for ``--format json``, with their counts."""
    counts = count_outcomes(checks)
    return {
        "passed": not has_failures(checks),
        "counts": {outcome.value: counts[outcome] for outcome in Outcome},
        "checks": [{**vars(check), "outcome": check.outcome.value} for check in checks],
    }


def checks_text(checks: Sequence[Check], *, all_of_them: bool = False) -> str:
    """Checks for a terminal: what failed and what nobody could see first, then a closing count."""
    order = {Outcome.FAILED: 0, Outcome.NOT_VERIFIABLE: 1, Outcome.PASSED: 2}
    shown = [check for check in checks if all_of_them or check.outcome is not Outcome.PASSED]
    lines = []
    for check in sorted(shown, key=lambda check: order[check.outcome]):
        lines.append(f"{check.outcome.value:14}  {check.name}  {one_line(check.place)}")
        lines.append(f"                {one_line(check.evidence)}")
        if check.cure:
            lines.append(f"                what to do: {check.cure}")
    counts = count_outcomes(checks)
    return harmless("\n".join([*lines, ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)]))
