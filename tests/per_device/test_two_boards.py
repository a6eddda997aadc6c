# SPDX-License-Identifier: Apache-2.0
"""A bundle with keys per device: each board gets its own, boots with it, and the station holds no copy afterwards."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from board_runs import Station, files_below, keys_on, private_folders, template

from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.virtual_chip.process import ChipProcess

pytestmark = pytest.mark.cold

BOARDS = ("0200000000a1", "0200000000a2")


@pytest.fixture(name="station")
def make_station(
    request: pytest.FixtureRequest, tmp_path: Path, signing_key_for: Callable[[str], Path]
) -> Iterator[Station]:
    chip = request.param
    yield Station(template(tmp_path / "made", chip, signing_key_for(chip)), tmp_path)


@dataclass
class Watch:
    """What could be seen on the machine while a command ran: small files, their modes, and command lines."""

    station: Station
    files: dict[Path, bytes] = field(default_factory=dict)
    modes: dict[Path, int] = field(default_factory=dict)
    command_lines: set[bytes] = field(default_factory=set)
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            folders = private_folders(self.station)
            for path, content in files_below(*folders, self.station.bundle.folder, self.station.temporary):
                if len(content) < 0x10000:
                    self.files[path] = content
            for folder in folders:
                try:
                    self.modes[folder] = stat.S_IMODE(folder.stat().st_mode)
                except OSError:
                    continue
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.command_lines.add(path.read_bytes())
                except OSError:
                    continue


def needles(key: bytes) -> list[bytes]:
    """How a key may stand in a file."""
    return [form for data in (key, key[::-1]) for form in (data, data.hex().encode(), data.hex().upper().encode())]


def holds(content: bytes, keys: dict[str, bytes]) -> bool:
    return any(needle in content for key in keys.values() for needle in needles(key))


def provision(station: Station, mac: str, board: ChipProcess) -> dict[str, bytes]:
    """Flashes a board up to the burn stage and checks everything about it and the station; returns its keys."""
    with Watch(station) as watch:
        done = station.flash(board, "--until", "burn")
    assert done.returncode == 0, done.stdout
    keys = keys_on(board, station.bundle)
    assert all(any(key) for key in keys.values())
    report = boot_check(board.state, station.record(mac))
    assert report.boots, report.faults
    seen_in = {path for path, content in watch.files.items() if holds(content, keys)}
    assert seen_in, "while the script ran, the keys were somewhere"
    assert {path.relative_to(folder) for path in seen_in for folder in watch.modes if folder in path.parents} == {
        path.relative_to(path.parents[1]) for path in seen_in
    }, "and only in private folders"
    assert set(watch.modes.values()) == {0o700}
    assert not any(holds(line, keys) for line in watch.command_lines)
    assert not holds(done.stdout.encode(), keys)
    left = [path for path, content in files_below(station.bundle.folder, station.temporary) if holds(content, keys)]
    assert left == []
    assert not set(watch.modes) & set(private_folders(station))
    return keys


@pytest.mark.parametrize("station", ["esp32c3"], indirect=True)
def test_a_board_gets_its_own_keys_and_is_finished_without_them(station: Station) -> None:
    """The second run has no key any more: it finds the board burned, and clears its record away."""
    with station.board(BOARDS[0]) as board:
        provision(station, BOARDS[0], board)
        done = station.flash(board)
    assert done.returncode == 0, done.stdout
    assert "from its record, without" in done.stdout and "Nothing to do" in done.stdout
    assert not station.record(BOARDS[0]).exists()


@pytest.mark.long
@pytest.mark.parametrize("station", ["esp32", "esp32c2", "esp32c3", "esp32s3"], indirect=True)
def test_two_boards_have_no_key_in_common(station: Station) -> None:
    """Each boots with the images that were encrypted for it, and not with those of the other."""
    keys = {}
    with station.board(BOARDS[0]) as first, station.board(BOARDS[1]) as second:
        for mac, board in zip(BOARDS, (first, second), strict=True):
            keys[mac] = provision(station, mac, board)
        assert not set(keys[BOARDS[0]].values()) & set(keys[BOARDS[1]].values())
        assert first.flash != second.flash
        assert not boot_check(first.state, station.record(BOARDS[1])).boots
