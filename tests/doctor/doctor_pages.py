"""The documentation page of each rule, made of the rule and of what it finds in its case.

``python tests/doctor/doctor_pages.py`` writes them anew; a test compares what is committed.
"""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path

from doctor_cases import CASES, examine_case

from secure_ext.plan.decide import Decision
from secure_ext.plan.doctor import ALL_RULES
from secure_ext.plan.doctor.rule import Rule, Severity
from secure_ext.report import findings_text

DOCS = Path(__file__).resolve().parents[2] / "docs"
_WIDTH = 116
_START = "<!-- the table is written by tests/doctor/doctor_pages.py -->\n"
_END = "<!-- end of the table -->\n"


def page(rule: Rule, decision: Decision) -> str:
    """The text of ``docs/doctor/SPnnn.md``."""
    example = next(finding for finding in decision.findings if finding.code == rule.code)
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
    if rule.severity is not Severity.ERROR:
        return f"A finding of this code is {'an info' if rule.severity is Severity.INFO else 'a warning'}."
    if rule.acceptable:
        return f"A finding of this code is an error. It can be accepted: `--accept {rule.code}`."
    return "A finding of this code is an error, and can never be accepted: going on would brick the board."


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def index_table() -> str:
    """The table of all codes in ``docs/doctor.md``."""
    rows = ["| code | severity | looks for | acceptable |", "|---|---|---|---|"]
    for rule in ALL_RULES:
        acceptable = "" if rule.severity is not Severity.ERROR else "yes" if rule.acceptable else "**never**"
        rows.append(f"| [{rule.code}](doctor/{rule.code}.md) | {rule.severity.value} | {rule.title} | {acceptable} |")
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
    with tempfile.TemporaryDirectory() as made:
        for rule in ALL_RULES:
            decision = examine_case(CASES[rule.code], Path(made, rule.code))
            (folder / f"{rule.code}.md").write_text(page(rule, decision), encoding="utf-8")
    index = DOCS / "doctor.md"
    index.write_text(index_with_table(index.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
