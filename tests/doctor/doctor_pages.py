# SPDX-License-Identifier: Apache-2.0
"""The documentation page of each rule, made of the rule and of what it finds in its case.

``python tests/doctor/doctor_pages.py`` writes them anew; a test compares what is committed.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from support.doctor_cases import CASES, case_decision
from update_cases import case_of, found_in

from secure_ext.cli.show.findings import findings_text
from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.rule import Concern, Finding, Rule, Severity

DOCS = Path(__file__).resolve().parents[2] / "docs"
_WIDTH = 116
_CONCERNS = {
    Concern.BUNDLES: "new bundles",
    Concern.UPDATES: "updates",
    Concern.BOTH: "new bundles, and updates of boards in the field",
}
_START = "<!-- the table is written by tests/doctor/doctor_pages.py -->\n"
_END = "<!-- end of the table -->\n"


def findings_of(code: str) -> tuple[Finding, ...]:
    """What the doctor finds in the case of a code: in a build, or in an update and its fleet."""
    return case_decision(code).findings if code in CASES else found_in(case_of(code)).findings


def page(rule: Rule, findings: tuple[Finding, ...]) -> str:
    """The text of ``docs/doctor/SPnnn.md``."""
    example = next(finding for finding in findings if finding.code == rule.code)
    shown = findings_text([example]).splitlines()[: 2 if example.cure == rule.cure else -1]
    return f"""# {rule.code}: {rule.title}

{_standing(rule)}

{_wrapped(rule.explanation)}

For example:

```text
{chr(10).join(shown)}
```

**What to do:** {_wrapped(f"what to do: {rule.cure}.").partition(": ")[2]}

**Shown by:** {_wrapped(f"shown by: {rule.source}.").partition(": ")[2]}

[All codes](../doctor.md)
"""


def _standing(rule: Rule) -> str:
    kind = {Severity.INFO: "an info", Severity.WARNING: "a warning", Severity.ERROR: "an error"}[rule.severity]
    first = f"A finding of this code is {kind}. The rule concerns {_CONCERNS[rule.concerns]}."
    if not rule.is_error:
        return first
    if rule.never_acceptable:
        return _wrapped(f"{first} It can never be accepted: {rule.why}.")
    sometimes = "In some builds it can be accepted" if callable(rule.acceptable) else "It can be accepted"
    return _wrapped(f"{first} {sometimes} (`--accept {rule.code}`): {rule.why}.")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def index_table() -> str:
    """The table of all codes in ``docs/doctor.md``."""
    rows = ["| code | severity | looks for | concerns | can be accepted | because |", "|---|---|---|---|---|---|"]
    for rule in ALL_RULES:
        acceptable = "**never**" if rule.never_acceptable else "it depends" if callable(rule.acceptable) else "yes"
        cells = (
            f"[{rule.code}](doctor/{rule.code}.md)",
            rule.severity.value,
            rule.title,
            rule.concerns.value,
            acceptable if rule.is_error else "",
            rule.why,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def index_with_table(text: str) -> str:
    """The text of ``docs/doctor.md`` with the table as it should be."""
    before, _, rest = text.partition(_START)
    return before + _START + "\n" + index_table() + "\n" + _END + rest.partition(_END)[2]


def write_pages() -> None:
    """Writes all pages and the table."""
    folder = DOCS / "doctor"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("SP*.md"):
        old.unlink()
    for rule in ALL_RULES:
        (folder / f"{rule.code}.md").write_text(page(rule, findings_of(rule.code)), encoding="utf-8")
    index = DOCS / "doctor.md"
    index.write_text(index_with_table(index.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
