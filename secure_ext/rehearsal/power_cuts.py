"""Interrupts the script everywhere, and lets an operator run it again.

The power goes at a connection, in the middle of a flash write, between two register writes of the eFuse controller, or
half-way through the burning of a block. Then the same script runs on the chip as it was left. In the end the chip must
be what it is without an interruption, or, where silicon itself is lost (a half-burned key block), the script must say
that it is damaged and leave it alone.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secure_ext.bundle.read import FinishedBundle
from secure_ext.device.chip_process import ChipProcess, events
from secure_ext.errors import DeviceError
from secure_ext.rehearsal.script_run import ScriptRun, chip_for, run_script

_TOOL_FAILED = 4
_WORKERS_A_CORE = 2
"""Half of the time a program that talks to the chip waits."""


class CutOutcome(str, enum.Enum):
    """What came of one cut."""

    RECOVERED = "recovered"
    DAMAGED = "damaged, and refused"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Cut:
    """One cut and what followed.

    Attributes:
        event: where the power went, such as ``burn/burn:2``.
        interrupted: what the interrupted run said last.
        rerun: what the next run said last.
        outcome: what the chip then was.
    """

    event: str
    interrupted: str
    rerun: str
    outcome: CutOutcome


@dataclass(frozen=True)
class PowerCuts:
    """All cuts of a bundle, and how many register writes its burning takes."""

    cuts: tuple[Cut, ...]
    register_writes: int

    @property
    def counts(self) -> Counter[CutOutcome]:
        """How many cuts came to which end."""
        return Counter(cut.outcome for cut in self.cuts)

    @property
    def passed(self) -> bool:
        """Whether each cut was recovered from, or its damage recognised."""
        return bool(self.cuts) and not self.counts[CutOutcome.FAILED]

    def as_dict(self) -> dict[str, Any]:
        """As ``rehearsal.json`` holds it."""
        return {
            "tried": len(self.cuts),
            "register_writes": self.register_writes,
            **{outcome.name.lower(): self.counts[outcome] for outcome in CutOutcome},
            "cuts": [{**vars(cut), "outcome": cut.outcome.value} for cut in self.cuts],
        }


@dataclass(frozen=True)
class _Chip:
    """What is left of a chip: its eFuses and its flash."""

    efuses: str
    flash: str


@dataclass(frozen=True)
class _Board:
    """A folder with a virtual chip and the journal of its board."""

    folder: Path

    @property
    def chip(self) -> Path:
        """The state of the chip."""
        return self.folder / "chip"

    @property
    def journal(self) -> Path:
        """The journal's folder."""
        return self.folder / "journal"

    def copy_to(self, other: _Board) -> None:
        """The same board once more."""
        shutil.copytree(self.folder, other.folder)

    def left(self) -> _Chip:
        """What the chip is now."""
        efuses = (self.chip / "efuses.json").read_text(encoding="ascii")
        return _Chip(efuses, hashlib.sha256((self.chip / "flash.bin").read_bytes()).hexdigest())

    def journal_events(self) -> list[str]:
        """What the journal knows; not when."""
        return sorted(
            f"{path.name}: {sorted(json.loads(path.read_text(encoding='utf-8')))}"
            for path in self.journal.glob("*.json")
        )


def power_cuts(bundle: FinishedBundle, progress: Callable[[str], None], *, every: int | None = None) -> PowerCuts:
    """Tries the cuts of `bundle`, several at a time.

    Args:
        bundle: what to provision.
        progress: is told how far it is.
        every: cut at every n-th register write. Without it, one cut stands for all writes between two burns: they leave
            the same chip behind.

    Raises DeviceError SE841 if the script does not even end without a cut.
    """
    workers = _WORKERS_A_CORE * (os.cpu_count() or 1)
    with tempfile.TemporaryDirectory(prefix="power-cuts-") as name, ThreadPoolExecutor(workers) as pool:
        trial = Trial(bundle, Path(name))
        burning = pool.submit(trial.burn)
        cuts = [(event, pool.submit(trial.cut, event)) for event in trial.events_while_flashing()]
        burning.result()
        cuts += [(event, pool.submit(trial.cut, event)) for event in trial.events_while_burning(every)]
        done: list[Cut] = []
        for event, cut in cuts:
            done.append(cut.result())
            progress(f"power cut {len(done)} of {len(cuts)}: {event}")
        return PowerCuts(tuple(done), trial.register_writes)


class Trial:
    """The uninterrupted run, and the cuts that are compared with it.

    A board whose flash is written is kept aside: cuts in the burning begin there, with the script run again.
    """

    def __init__(self, bundle: FinishedBundle, folder: Path) -> None:
        self._bundle = bundle
        self._folder = folder
        self._known: dict[str, tuple[ScriptRun, _Chip]] = {}
        self._lock = threading.Lock()
        self._flashed = _Board(folder / "flashed")
        self._flashing = self._uninterrupted(self._flashed, "--until", "flash")
        self._burning: list[dict[str, Any]] = []
        self._whole: Future[_Chip] = Future()

    def burn(self) -> None:
        """Ends the uninterrupted run; cuts may be tried meanwhile, their judgement waits for it."""
        whole = _Board(self._folder / "whole")
        self._flashed.copy_to(whole)
        try:
            self._burning = self._uninterrupted(whole)
            self._whole.set_result(whole.left())
        except BaseException as error:
            self._whole.set_exception(error)
            raise

    @property
    def register_writes(self) -> int:
        """How many writes of registers the burning takes."""
        return max((int(event["write"]) for event in self._burning), default=0)

    def _uninterrupted(self, board: _Board, *options: str) -> list[dict[str, Any]]:
        log = board.folder.with_suffix(".events")
        with ChipProcess(replace(chip_for(self._bundle), log=log), board.chip) as chip:
            run = run_script(self._bundle, chip.url, board.journal, *options)
        if run.exit_code:
            raise DeviceError(
                "SE841",
                f"the script does not end on a virtual chip: {run.last_line}",
                cure="run `secure-provision rehearse` without --power-cuts and see where it stops",
            )
        return events(log)

    def events_while_flashing(self) -> list[str]:
        """Before the first step, after each, and in flash writes; as ``flash/event:number``."""
        connections = _connections_after_changes(self._flashing)
        last = max((event["flash"] for event in self._flashing), default=0)
        return [
            *(f"flash/connection:{number}" for number in (1, *connections)),
            *(f"flash/flash:{number}" for number in sorted({1, last // 2} - {0})),
        ]

    def events_while_burning(self, every: int | None) -> list[str]:
        """After each step, in each burn and after it, at register writes; as ``burn/event:number``."""
        burns = [event for event in self._burning if event["event"] == "burn"]
        if every:
            writes = set(range(every, self.register_writes + 1, every))
        else:
            # the write that is counted with a burn is its command; at the next one the block is burned
            writes = {event["write"] + 1 for event in burns}
        return [
            *(f"burn/connection:{number}" for number in _connections_after_changes(self._burning)),
            *(f"burn/burn:{event['burn']}" for event in burns),
            *(f"burn/write:{number}" for number in sorted(writes)),
        ]

    def cut(self, event: str) -> Cut:
        """Lets the power go, runs the script again, and compares."""
        stage, _, moment = event.partition("/")
        board = _Board(self._folder / event.replace("/", "-").replace(":", "-"))
        if stage == "burn":
            self._flashed.copy_to(board)
        with ChipProcess(chip_for(self._bundle, cut=moment), board.chip) as chip:
            first = run_script(self._bundle, chip.url, board.journal)
            left = board.left()
            key = f"{left} {board.journal_events()}"
            with self._lock:
                known = self._known.get(key)
            if known is None:
                known = self._rerun(chip.url, board.journal), board.left()
                with self._lock:
                    self._known[key] = known
        second, end = known
        return Cut(event, first.last_line, second.last_line, self._outcome(left, second, end))

    def _rerun(self, url: str, journal: Path) -> ScriptRun:
        """The script again; and once more if a tool failed, as it then tells the operator."""
        run = run_script(self._bundle, url, journal)
        return run_script(self._bundle, url, journal) if run.exit_code == _TOOL_FAILED else run

    def _outcome(self, left: _Chip, rerun: ScriptRun, end: _Chip) -> CutOutcome:
        if end == self._whole.result() and (rerun.exit_code == 0 or rerun.stop_code in ("SE810", "SE811")):
            return CutOutcome.RECOVERED
        if rerun.stop_code == "SE812" and end == left:
            return CutOutcome.DAMAGED
        return CutOutcome.FAILED


def _connections_after_changes(log: list[dict[str, Any]]) -> list[int]:
    """Numbers of the connections before which something was done to the chip; the others find it as it was."""
    pairs = itertools.pairwise(log)
    return [after["connection"] for before, after in pairs if after["event"] == "connection" != before["event"]]
