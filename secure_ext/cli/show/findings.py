# SPDX-License-Identifier: Apache-2.0
"""What the fronts show of findings, as text for people and as data for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secure_ext.cli.command_names import as_typed_here
from secure_ext.doctor.rule import Finding, Severity
from secure_ext.station.one_line import harmless, one_line


def findings_data(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Findings for ``--format json``."""
    return [finding.as_dict() for finding in findings]


def findings_text(findings: Sequence[Finding]) -> str:
    """Findings for a terminal, worst first, with a closing count."""
    lines = []
    for finding in findings:
        accepted = " (accepted)" if finding.accepted else ""
        lines.append(f"{finding.severity.value:7}  {finding.code}  {one_line(finding.place)}{accepted}")
        lines.append(f"         {one_line(finding.cause)}")
        if not finding.cure.startswith("nothing to do"):
            lines.append(f"         what to do: {as_typed_here(finding.cure)}")
    counts = [
        f"{number} {severity.value}{'s' if number != 1 and severity is not Severity.INFO else ''}"
        for severity in Severity
        if (number := sum(finding.severity is severity for finding in findings))
    ]
    return harmless("\n".join([*lines, "doctor: " + (", ".join(reversed(counts)) if counts else "nothing found")]))
