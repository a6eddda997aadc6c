# SPDX-License-Identifier: Apache-2.0
"""Another board comes in at any moment: nothing is burned on a board that was not looked at, none is called done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from board_switch import BoardSwitch
from loader_client import registers_of
from sabotage import (
    ESP32,
    ESP32C3,
    Cell,
    Station,
    check_whole,
    new_station,  # noqa: F401 (a fixture)
    shared_bundles,  # noqa: F401 (a fixture)
)
from support.matrix_tools import Done

from secure_ext.prove.virtual_chip.process import ChipProcess

LONG = pytest.mark.long
FIRST, SECOND = "020000000001", "0200000000b2"
CLOSED = ("STOP SE811", "STOP SE810")
"""A finished board does not tell more."""


@dataclass(frozen=True)
class Traffic:
    """An undisturbed run: how many packets it takes, where its second connection begins, and which packets burn."""

    packets: int
    second_connection: int
    burns: tuple[int, ...]

    def moment(self, name: str) -> int:
        """The packet that a name stands for: ``40 %`` of all, ``burn 2``, ``after burn 2``, ``burning + 3``."""
        number = int(re.sub(r"\D", "", name))
        if "%" in name:
            return max(self.packets * number // 100, 1)
        if name.startswith("burning"):
            return self.second_connection + number
        return self.burns[number - 1] + name.startswith("after")


@pytest.fixture(scope="module")
def traffic_of() -> dict[str, Traffic]:
    return {}


def run(
    station: Station, cell: Cell, *, connection: int | None = None, packet: int | None = None
) -> tuple[BoardSwitch, Done, ChipProcess, ChipProcess]:
    """One run of the script on a port behind which the board is swapped."""
    command = registers_of(cell.chip).command
    boards = [station.board(cell) for _ in range(2)]
    first = replace(boards[0], state=station.folder / "first")
    second = replace(boards[1], options=replace(boards[1].options, mac=SECOND), state=station.folder / "second")
    with first, second, BoardSwitch(first, second, command, connection, packet) as switch:
        done = station.provision(station.bundle(cell), switch.url)
    return switch, done, first, second


def find_traffic(cell: Cell, known: dict[str, Traffic], station: Station) -> Traffic:
    if str(cell) not in known:
        switch, done, _, _ = run(replace(station, folder=fresh(station.folder / "undisturbed")), cell)
        assert done.exit_code == 0, done.output
        assert len(switch.connections) == 2
        known[str(cell)] = Traffic(switch.packets, switch.connections[1], tuple(switch.burns))
    return known[str(cell)]


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def check(station: Station, cell: Cell, outcome: tuple[BoardSwitch, Done, ChipProcess, ChipProcess]) -> None:
    """The board that came in is as new, unless all of the run was on it; the other one can be finished."""
    _, done, first, second = outcome
    bundle = station.bundle(cell)
    new = blank(station, cell)
    if done.exit_code == 0:
        finished, other = (first, second) if f"MAC {FIRST}" in done.output else (second, first)
        assert f"MAC {finished.options.mac}" in done.output and "DONE" in done.output
        check_whole(finished, bundle)
        assert other.efuses == new(other), done.output
        return
    assert not re.search(r"^DONE\b", done.output, re.MULTILINE) and "Traceback" not in done.output
    # 858: it was swapped while the flash was looked for
    assert re.search(r"^STOP SE(810|824|825|826|828|858)", done.output, re.MULTILINE), done.output
    assert second.efuses == new(second), done.output
    if "STOP SE828" in done.output:
        assert FIRST in done.output.rpartition("STOP SE828")[2]
        journal = station.folder / "journal" / f"{FIRST}.json"  # none while the board is looked at for the first time
        entry = json.loads(journal.read_text(encoding="utf-8")) if journal.exists() else {}
        assert entry or first.efuses == new(first), done.output
        assert FIRST in entry["taken_away"] if "burning_begun" in entry else "taken_away" not in entry
    with first:
        again = station.provision(bundle, first)
    assert again.exit_code == 0 or any(code in again.output for code in CLOSED), again.output
    check_whole(first, bundle)


def blank(station: Station, cell: Cell) -> Callable[[ChipProcess], dict[str, str]]:
    """The eFuses of a board as it is sold."""

    def efuses(chip: ChipProcess) -> dict[str, str]:
        new = replace(chip, state=chip.state.with_name(f"{chip.state.name}-new"))
        with new:
            return new.efuses

    return efuses


@pytest.mark.parametrize("connection", [1, 2])
def test_at_a_connection(connection: int, station: Station) -> None:
    """From the first on it is simply another board; at the second one the images are on the wrong one."""
    outcome = run(station, ESP32C3, connection=connection)
    check(station, ESP32C3, outcome)
    assert (outcome[1].exit_code == 0) == (connection == 1)
    if connection == 2:
        assert "STOP SE828" in outcome[1].output


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        (ESP32C3, "burn 1"),
        (ESP32C3, "after burn 1"),
        (ESP32C3, "burn 7"),
        *(pytest.param(ESP32C3, f"{part} %", marks=LONG) for part in range(2, 100, 4)),
        *(pytest.param(ESP32C3, f"burn {number}", marks=LONG) for number in range(2, 7)),
        *(pytest.param(ESP32C3, f"after burn {number}", marks=LONG) for number in range(2, 8)),
        *(pytest.param(ESP32C3, f"burning + {number}", marks=LONG) for number in range(0, 400, 37)),
        *(pytest.param(ESP32, f"{part} %", marks=LONG) for part in range(3, 100, 12)),
        *(
            pytest.param(ESP32, f"{when} {number}", marks=LONG)
            for when in ("burn", "after burn")
            for number in (1, 3, 5)
        ),
    ],
    ids=str,
)
def test_within_a_connection(cell: Cell, moment: str, traffic_of: dict[str, Traffic], station: Station) -> None:
    """Between two packets, and just before or after the one that burns."""
    packet = find_traffic(cell, traffic_of, station).moment(moment)
    check(station, cell, run(station, cell, packet=packet))
