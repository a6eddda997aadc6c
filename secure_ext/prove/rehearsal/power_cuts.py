# SPDX-License-Identifier: Apache-2.0
"""Interrupts the script everywhere, and lets an operator run it again.

The power goes at a connection, in the middle of a flash write, between two register writes of the eFuse controller,
right before a block is burned, or half-way through its burning. Then the same script runs on the chip as it was left.
In the end the chip must be what it is without an interruption, or, where silicon itself is lost (a half-burned key
block), the script must say that it is damaged and leave it alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from secure_ext.bundle.private_folder import virtual_chip_folder
from secure_ext.bundle.read import FinishedBundle
from secure_ext.documents.rehearsal import DAMAGED, FAILED, RECOVERED, CutOutcome, PowerCut, PowerCutReport
from secure_ext.errors import DeviceError
from secure_ext.prove.rehearsal.script_run import ScriptRun, carry, chip_for, run_script
from secure_ext.prove.virtual_chip.process import CUT, EFUSE_FILE, EFUSES_BEFORE_THE_CUT, ChipProcess, events
from secure_ext.station.frozen import frozen
from secure_ext.station.one_line import one_line

_TOOL_FAILED = 4
_ONLY_FLASH = ("--until", "flash")
_WORKERS_A_CORE = 2
"""Half of the time a program that talks to the chip waits."""


@frozen
class PowerCuts:
    """All cuts of a bundle, and how many register writes its burning takes."""

    cuts: tuple[PowerCut, ...]
    register_writes: int

    @property
    def counts(self) -> Counter[CutOutcome]:
        """How many cuts came to which end."""
        return Counter(cut.outcome for cut in self.cuts)

    @property
    def passed(self) -> bool:
        """Whether each cut was recovered from, or its damage recognised."""
        return bool(self.cuts) and not self.counts[FAILED]

    @property
    def report(self) -> PowerCutReport:
        """As ``rehearsal.json`` holds it."""
        counts = self.counts
        return PowerCutReport(
            tried=len(self.cuts),
            register_writes=self.register_writes,
            recovered=counts[RECOVERED],
            damaged=counts[DAMAGED],
            failed=counts[FAILED],
            cuts=self.cuts,
        )


@frozen
class _Chip:
    """What is left of a chip: its eFuses and its flash."""

    efuses: str
    flash: str


@frozen
class _Found:
    """All that a script goes by: the chip, and what the journal knows (not when)."""

    chip: _Chip
    journal: tuple[tuple[str, ...], ...]


@frozen
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

    def before_the_burn(self) -> _Board | None:
        """The same board with the eFuses as they were before the burn that was cut; None if none was."""
        efuses = self.chip / EFUSES_BEFORE_THE_CUT
        if not efuses.exists():
            return None
        before = _Board(self.folder.with_name(f"before-{self.folder.name}"))
        self.copy_to(before)
        efuses.replace(before.chip / EFUSE_FILE)
        return before

    def left(self) -> _Chip:
        """What the chip is now."""
        efuses = (self.chip / EFUSE_FILE).read_text(encoding="ascii")
        return _Chip(efuses, hashlib.sha256((self.chip / "flash.bin").read_bytes()).hexdigest())

    def found(self) -> _Found:
        """What a script finds on it now."""
        paths = sorted(self.journal.glob("*.json"))
        names = [(path.name, *sorted(json.loads(path.read_text(encoding="utf-8")))) for path in paths]
        return _Found(self.left(), tuple(names))


_Rerun = tuple[ScriptRun, _Chip]


@contextlib.contextmanager
def _kept(result: Future[_Rerun]) -> Iterator[None]:
    """An error is raised for those that wait for the result, too."""
    try:
        yield
    except BaseException as error:
        result.set_exception(error)
        raise


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
    with virtual_chip_folder() as folder, ThreadPoolExecutor(workers) as pool:
        try:
            trial = Trial(bundle, folder)
            burning = pool.submit(trial.burn)
            cuts = [(event, pool.submit(trial.cut, event)) for event in trial.events_while_flashing()]
            burning.result()
            cuts += [(event, pool.submit(trial.cut, event)) for event in trial.events_while_burning(every)]
            done: list[PowerCut] = []
            for number, (event, cut) in enumerate(cuts, 1):
                done += cut.result()
                progress(f"power cut {number} of {len(cuts)}: {event}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return PowerCuts(tuple(done), trial.register_writes)


class Trial:
    """The uninterrupted run, and the cuts that are compared with it.

    A board whose flash is written is kept aside: cuts in the burning begin there. Boards that are left alike, eFuses,
    flash and journal, have the same future: it is tried once.
    """

    def __init__(self, bundle: FinishedBundle, folder: Path) -> None:
        self._bundle = bundle
        self._folder = folder
        self._lock = threading.Lock()
        self._flashed = _Board(folder / "flashed")
        self._flashing, _ = self._uninterrupted(self._flashed, *_ONLY_FLASH)
        self._burning: list[dict[str, Any]] = []
        self._whole: Future[_Rerun] = Future()
        self._begin_of_burning = self._flashed.found()
        self._next_runs: dict[_Found, Future[_Rerun]] = {self._begin_of_burning: self._whole}

    def burn(self) -> None:
        """Ends the uninterrupted run; cuts may be tried meanwhile, their judgement waits for it."""
        whole = _Board(self._folder / "whole")
        with _kept(self._whole):
            self._flashed.copy_to(whole)
            self._burning, run = self._uninterrupted(whole)
            self._whole.set_result((run, whole.left()))

    @property
    def register_writes(self) -> int:
        """How many writes of registers the burning takes."""
        return max((int(event["write"]) for event in self._burning), default=0)

    def _chip(self, board: _Board, log: Path, *, cut: str | None = None) -> ChipProcess:
        """The chip of a board, which is made if it does not exist."""
        options = replace(chip_for(self._bundle, cut=cut), log=log)
        if not board.chip.exists():
            carry(self._bundle, options, board.chip)
        return ChipProcess(options, board.chip)

    def _uninterrupted(self, board: _Board, *options: str) -> tuple[list[dict[str, Any]], ScriptRun]:
        log = board.folder.with_suffix(".events")
        with self._chip(board, log) as chip:
            run = run_script(self._bundle, chip.url, board.journal, *options)
        if run.exit_code:
            raise DeviceError(
                "SE841",
                f"the script does not end on a virtual chip: {run.last_line}",
                cure="run `secure-provision rehearse` without --power-cuts and see where it stops",
            )
        return events(log), run

    def events_while_flashing(self) -> list[str]:
        """Before the first step, after each, and in flash writes; as ``flash/event:number``."""
        connections = _connections_after_changes(self._flashing)
        last = max((event["flash"] for event in self._flashing), default=0)
        return [
            *(f"flash/connection:{number}" for number in (1, *connections)),
            *(f"flash/flash:{number}" for number in sorted({1, last // 2} - {0})),
        ]

    def events_while_burning(self, every: int | None) -> list[str]:
        """After each step, in each burn and at the end, at register writes; as ``burn/event:number``."""
        burns = [event for event in self._burning if event["event"] == "burn"]
        # the write that is counted with a burn is its command
        after_the_last = [burns[-1]["write"] + 1] if burns else []
        writes = {*after_the_last, *(range(every, self.register_writes + 1, every) if every else ())}
        return [
            *(f"burn/connection:{number}" for number in _connections_after_changes(self._burning)),
            *(f"burn/write:{number}" for number in sorted(writes)),
            *(f"burn/burn:{event['burn']}" for event in burns),
        ]

    def cut(self, event: str) -> tuple[PowerCut, ...]:
        """Lets the power go, runs the script again, and compares.

        The script that is interrupted cannot tell whether the power went right before a block was burned or half-way:
        one interrupted run leads to both boards, and so to two cuts.
        """
        stage, _, moment = event.partition("/")
        board = _Board(self._folder / event.replace("/", "-").replace(":", "-"))
        if stage == "burn":
            self._flashed.copy_to(board)
        log = board.folder.with_suffix(".events")
        with self._chip(board, log, cut=moment) as chip:
            first = run_script(self._bundle, chip.url, board.journal)
            if not any(event["event"] == CUT for event in events(log)):
                return (PowerCut(event, one_line(first.last_line), "the power never went", FAILED),)
            before = board.before_the_burn()
            cut = self._judged(event, first, board, chip.url)
        if before is None:
            return (cut,)
        with ChipProcess(chip_for(self._bundle), before.chip) as chip:
            return self._judged(event.replace("/", "/before-"), first, before, chip.url), cut

    def _judged(self, event: str, first: ScriptRun, board: _Board, url: str) -> PowerCut:
        left = board.left()
        if event.startswith("flash/") and board.found() != self._begin_of_burning:
            self._run_again(url, board.journal, *_ONLY_FLASH)
        second, end = self._next_run(url, board)
        return PowerCut(event, one_line(first.last_line), one_line(second.last_line), self._outcome(left, second, end))

    def _next_run(self, url: str, board: _Board) -> _Rerun:
        """What the script says on this board, and the chip after it."""
        found = board.found()
        with self._lock:
            is_new = found not in self._next_runs
            future = self._next_runs.setdefault(found, Future())
        if is_new:
            with _kept(future):
                future.set_result((self._run_again(url, board.journal), board.left()))
        return future.result()

    def _run_again(self, url: str, journal: Path, *options: str) -> ScriptRun:
        """The script again; and once more if a tool failed, as it then tells the operator."""
        run = run_script(self._bundle, url, journal, *options)
        return run_script(self._bundle, url, journal, *options) if run.exit_code == _TOOL_FAILED else run

    def _outcome(self, left: _Chip, rerun: ScriptRun, end: _Chip) -> CutOutcome:
        _, whole = self._whole.result()
        if end == whole and (rerun.exit_code == 0 or rerun.stop_code in ("SE810", "SE811")):
            return RECOVERED
        if rerun.stop_code == "SE812" and end == left:
            return DAMAGED
        return FAILED


def _connections_after_changes(log: list[dict[str, Any]]) -> list[int]:
    """Numbers of the connections before which something was done to the chip; the others find it as it was."""
    pairs = itertools.pairwise(log)
    return [after["connection"] for before, after in pairs if after["event"] == "connection" != before["event"]]
