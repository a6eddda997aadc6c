# SPDX-License-Identifier: Apache-2.0
"""A disk that fills up: nothing is burned without a log and a journal, and no burned board ends in a crash."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.narrow_machine import run

from secure_ext.bundle.write import Bundle

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits and rights are set as on Linux"),
    pytest.mark.cold,
]
LIMIT = 0x100000


@pytest.fixture
def station(made_bundle: Callable[[str], Bundle], tmp_path: Path) -> Path:
    """A copy of a bundle."""
    return Path(shutil.copytree(made_bundle("esp32c3").folder, tmp_path / "bundle"))


def line(station: Path, *options: str | Path) -> list[str | Path]:
    return [sys.executable, station / "provision.py", "--virt", station.parent / "chip.bin", "--yes", *options]


def journal(station: Path) -> Path:
    return station.parent / "chip.bin.journal.json"


def test_nothing_is_burned_where_no_log_can_be_written(station: Path) -> None:
    done = run(line(station, "--log", "/dev/full"))
    assert (done.returncode, "STOP SE821" in done.stdout) == (3, True), done.stdout
    assert "WARNING: the log cannot be written any more: No space left" in done.stdout
    assert not journal(station).exists() and "burn-key" not in done.stdout


def test_a_log_that_ends_in_the_middle_ends_nothing_else(station: Path) -> None:
    """The disk is full when the burn stage has been read back: the board is finished, and the operator knows."""
    log = station.parent / "chip.bin.journal.log"
    whole = run(line(station))
    assert whole.returncode == 0, whole.stdout
    until_read_back = log.read_bytes().index(b"Read back: stage 'burn'")
    for path in (log, journal(station), station.parent / "chip.bin"):
        path.unlink()
    log.write_bytes(b"\n" * (LIMIT - until_read_back))
    done = run(line(station), limit=LIMIT)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("WARNING: the log cannot be written any more") == 1
    assert "DONE: the rehearsal" in done.stdout and "Traceback" not in done.stdout


def test_a_journal_that_cannot_be_written_after_the_burn_tells_how_far_the_board_is(station: Path) -> None:
    done = run(line(station, "--until", "burn"))
    assert done.returncode == 0, done.stdout
    entry = json.loads(journal(station).read_text(encoding="utf-8"))
    journal(station).write_text(json.dumps({**entry, "read_back": ""}), encoding="utf-8")
    station.parent.chmod(0o500)
    try:
        done = run(line(station, "--log", "/dev/null"), narrow=True)
    finally:
        station.parent.chmod(0o700)
    assert (done.returncode, "STOP SE830" in done.stdout) == (3, True), done.stdout
    assert "burned and read back; it is protected, but NOT closed yet" in done.stdout
    again = run(line(station))
    assert again.returncode == 0 and "DONE: the rehearsal" in again.stdout, again.stdout


def test_a_finished_board_is_finished_though_the_journal_cannot_say_so(station: Path) -> None:
    done = run(line(station))
    assert done.returncode == 0, done.stdout
    entry = json.loads(journal(station).read_text(encoding="utf-8"))
    journal(station).write_text(json.dumps({**entry, "read_back": ""}), encoding="utf-8")
    station.parent.chmod(0o500)
    try:
        done = run(line(station, "--log", "/dev/null"), narrow=True)
    finally:
        station.parent.chmod(0o700)
    assert (done.returncode, "Nothing to do" in done.stdout) == (0, True), done.stdout
    assert "as it should be all the same" in done.stdout


def test_no_folder_for_temporary_files(station: Path) -> None:
    """No file can be written anywhere, so there is none; the board is as it was."""
    assert run(line(station, "--until", "burn")).returncode == 0
    before = (station.parent / "chip.bin").read_bytes()
    done = run(line(station), limit=0)
    assert (done.returncode, "STOP SE941" in done.stdout) == (3, True), done.stdout
    assert "no eFuse was burned" in done.stdout and "Traceback" not in done.stdout
    assert (station.parent / "chip.bin").read_bytes() == before
