# SPDX-License-Identifier: Apache-2.0
"""The outcome of a rehearsal as it is written down: ``rehearsal.json`` of a bundle."""

from __future__ import annotations

from typing import Annotated, Literal

from secure_ext.documents.manifest import SomeText, Time, Tool
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_words import Chip
from secure_ext.station.typed_document import Between, Items, Sha256

CutOutcome = Literal["recovered", "damaged, and refused", "FAILED"]
RECOVERED: CutOutcome = "recovered"
DAMAGED: CutOutcome = "damaged, and refused"
FAILED: CutOutcome = "FAILED"
_Count = Annotated[int, Between(0, 0xFFFFFFFF)]


@frozen
class CheckedBy:
    """One way in which the bundle was checked.

    Attributes:
        name: what was done.
        passed: whether all was right.
        evidence: what was seen.
    """

    name: SomeText
    passed: bool
    evidence: tuple[str, ...]


@frozen
class PowerCut:
    """One cut and what followed.

    Attributes:
        event: where the power went, such as ``burn/burn:2``.
        interrupted: what the interrupted run said last.
        rerun: what the next run said last.
        outcome: what the chip then was.
    """

    event: SomeText
    interrupted: str
    rerun: str
    outcome: CutOutcome


@frozen
class PowerCutReport:
    """All cuts that were tried.

    Attributes:
        tried: how many.
        register_writes: how many writes of registers the burning takes.
        recovered: how many were recovered from.
        damaged: how many left a damaged chip that was refused.
        failed: how many ended otherwise.
        cuts: each of them.
    """

    tried: _Count
    register_writes: _Count
    recovered: _Count
    damaged: _Count
    failed: _Count
    cuts: tuple[PowerCut, ...]


@frozen
class StageTime:
    """What a real board spends its time on.

    Attributes:
        name: what it is.
        milliseconds: how long it takes.
    """

    name: Literal["connect", "look", "erase", "write", "verify", "burn"]
    milliseconds: _Count


@frozen
class BoardTime:
    """How long a real board would take, as it was computed.

    Attributes:
        stages: by what it is spent on.
        connections: how often a program connects.
        round_trips: how many requests are answered.
    """

    stages: tuple[StageTime, ...]
    connections: _Count
    round_trips: _Count

    @property
    def milliseconds(self) -> int:
        """All of it."""
        return sum(stage.milliseconds for stage in self.stages)


@frozen
class RehearsalOutcome:
    """What a rehearsal showed.

    Attributes:
        schema: number of this form of the document.
        tool: the version that rehearsed.
        esptool: version of esptool.
        bundle: identity of the bundle, SHA-256.
        chip: ESP-IDF's target name.
        date: time in UTC.
        passed: whether everything that was checked is right.
        means: in the order they were tried.
        boot_log: what the chip's boot log would say.
        power_cuts: what the power cuts showed; null if none were tried.
        board_time: how long a real board would take.
    """

    schema: Literal[1]
    tool: Tool
    esptool: SomeText
    bundle: Sha256
    chip: Chip
    date: Time
    passed: bool
    means: Annotated[tuple[CheckedBy, ...], Items(least=1)]
    boot_log: tuple[str, ...]
    power_cuts: PowerCutReport | None
    board_time: BoardTime | None = None
