# SPDX-License-Identifier: Apache-2.0
"""The audit: a board against a plan, or against what ESP-IDF calls release mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from secure_ext.checks import Check, checks_data, has_failures
from secure_ext.errors import ToolError
from secure_ext.plan.replay import replay_plan
from secure_ext.prove.audit.against_plan import audit_plan, flash_note
from secure_ext.prove.audit.board import Board
from secure_ext.prove.audit.own_mac import plan_of_board
from secure_ext.prove.audit.release_conditions import release_checks
from secure_ext.prove.audit.unplanned_efuses import notes_on
from secure_ext.reading import KEY_FILE_LIMIT, read_file
from secure_ext.station.esp_tools import Stop
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen
from secure_ext.station.journal import board_journal
from secure_ext.station.plan_document import KeyStep, PlanDocument
from secure_ext.station.refusals import check_layout
from secure_ext.station.verdict import Verdict


@frozen
class AuditReport:
    """The outcome of an audit.

    Attributes:
        board: what was read.
        against: what it was compared with, in words.
        verdict: what the script would call the board; None without a plan.
        checks: every eFuse that was looked at, and what nobody can see.
        notes: what is no deviation and worth knowing.
    """

    board: Board
    against: str
    verdict: Verdict | None
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no check failed; there may be some that nobody could make."""
        return not has_failures(self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The report for ``--format json``."""
        verdict = self.verdict and {"condition": self.verdict.condition.value, "evidence": self.verdict.evidence}
        return {
            "chip": self.board.chip,
            "revision": self.board.revision,
            "mac": self.board.mac,
            "source": self.board.source,
            "against": self.against,
            "verdict": verdict,
            "notes": list(self.notes),
            **checks_data(self.checks),
        }


def audit_against_plan(
    board: Board, plan: PlanDocument, folder: Path, journal: Path | None = None, *, is_sealed: bool = True
) -> AuditReport:
    """Compares a board with a plan.

    Args:
        board: what was read.
        plan: the plan document.
        folder: the bundle; its digests and keys tell a damaged key from a foreign one, if they are there.
        journal: record of the board, if it is not the one in the bundle.
        is_sealed: whether the board should be sealed; else the seal stage is left out.

    Raises ToolError SE879 when espefuse saw the eFuses at other places than the plan; what `replay_plan` raises.
    """
    against = f"the plan in {folder}"
    if board.state is None:
        replay_plan(plan)
        plan = plan if is_sealed else _without_seal(plan)
        verdict, checks = audit_plan(board, plan, None, _key_in(folder))
        return AuditReport(board, against, verdict, checks, (flash_note(plan),))
    try:
        check_layout(plan, board.state)
    except Stop:
        least = ".".join(str(part) for part in plan.least_esptool)
        raise ToolError(
            "SE879",
            f"the espefuse that read {board.source} has other places for the eFuses of this chip than the plan has",
            cure=f"read the board with esptool {least} or later, best the newest",
        ) from None
    replay_plan(plan)
    plan = plan_of_board(plan if is_sealed else _without_seal(plan), folder, board.state)
    record = board_journal(plan, journal or folder / "journal" / f"{board.mac}.json")
    verdict, checks = audit_plan(board, plan, record, _key_in(folder))
    return AuditReport(board, against, verdict, checks, (*notes_on(plan, board.state), flash_note(plan)))


def audit_for_release(board: Board) -> AuditReport:
    """Compares a board with what is true of release mode. Raises as `release_checks` does."""
    return AuditReport(board, "release mode", None, release_checks(board))


def _without_seal(plan: PlanDocument) -> PlanDocument:
    """The plan as far as a board has come that still waits for its functional test."""
    return replace(plan, steps=tuple(step for step in plan.steps if step.stage != "seal"))


def _key_in(folder: Path) -> Callable[[KeyStep], bytes]:
    def key_of(step: KeyStep) -> bytes:
        try:
            key: bytes = read_file(folder / step.file, KEY_FILE_LIMIT)[: step.length]
        except OSError:
            key = b""
        if fingerprint(key) != step.fingerprint:
            key = bytes(step.length)
        return key[::-1] if step.reversed else key

    return key_of
