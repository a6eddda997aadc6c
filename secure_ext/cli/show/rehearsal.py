# SPDX-License-Identifier: Apache-2.0
"""What a rehearsal shows on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.documents.rehearsal import PowerCutReport
from secure_ext.prove.rehearsal.rehearse import Rehearsal


def rehearsal_text(rehearsal: Rehearsal) -> str:
    """The outcome: the boot log, what was checked by which means, the power cuts, and one closing line."""
    return "\n".join(_lines(rehearsal))


def _lines(rehearsal: Rehearsal) -> Iterator[str]:
    if rehearsal.boot_log:
        yield "what the chip would say at its first boot"
        yield from (f"  {line}" for line in rehearsal.boot_log)
        yield ""
    if rehearsal.power_cuts:
        yield from _cut_lines(rehearsal.power_cuts)
        yield ""
    yield "checked"
    for item in rehearsal.means:
        yield f"  {'ok    ' if item.passed else 'FAILED'}  {item.name}"
        yield from (f"            {line}" for line in item.evidence)
    if rehearsal.board_time:
        stages = ", ".join(f"{one.name} {one.milliseconds / 1000:.1f}" for one in rehearsal.board_time.stages)
        yield ""
        yield f"a real board takes about {rehearsal.board_time.milliseconds / 1000:.0f} s: {stages}"
    yield ""
    yield f"rehearsal: {'PASSED' if rehearsal.passed else 'FAILED'} ({rehearsal.chip}, no board was touched)"


def _cut_lines(report: PowerCutReport) -> Iterator[str]:
    yield "power cuts"
    for cut in report.cuts:
        yield f"  {cut.event:19} {cut.outcome:20} then: {_short(cut.rerun)}"
    yield (
        f"  {report.tried} cuts: {report.recovered} recovered, {report.damaged} damaged and refused, "
        f"{report.failed} failed; burning takes {report.register_writes} register writes"
    )


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
