# SPDX-License-Identifier: Apache-2.0
"""The power goes while ``provision.py`` works: the next run completes the board, or says that it is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sabotage import (
    ESP32,
    ESP32C3,
    Cell,
    Station,
    check_stop,
    check_whole,
    holds_images,
    new_station,  # noqa: F401 (a fixture)
    shared_bundles,  # noqa: F401 (a fixture)
)
from support.matrix_tools import Done

from secure_ext.prove.virtual_chip.process import ChipProcess

LONG = pytest.mark.long


@contextmanager
def interrupted(cell: Cell, cut: str, station: Station) -> Iterator[tuple[ChipProcess, Done]]:
    """A board whose first run met with `cut`, and what that run said."""
    with station.board(cell, cut=cut) as board:
        blank = board.efuses
        done = station.provision(station.bundle(cell), board)
        # nothing is burned before the images are in flash
        assert holds_images(board, station.bundle(cell)) or board.efuses == blank
        yield board, done


@pytest.mark.parametrize(
    ("cell", "cut", "code"),
    [
        (ESP32C3, "flash:1", "SE824"),
        pytest.param(ESP32C3, "connection:1", "SE810", marks=LONG),
        pytest.param(ESP32C3, "connection:2", "SE810", marks=LONG),
        pytest.param(ESP32C3, "write:1", "SE825", marks=LONG),
        pytest.param(ESP32, "flash:1", "SE824", marks=LONG),
    ],
    ids=str,
)
def test_unplugged_before_the_first_burn(cell: Cell, cut: str, code: str, station: Station) -> None:
    """The second run makes a board like any other."""
    with interrupted(cell, cut, station) as (board, stopped):
        check_stop(stopped, code)
        again = station.provision(station.bundle(cell), board)
        assert again.exit_code == 0, again.output
        check_whole(board, station.bundle(cell))


@LONG
@pytest.mark.parametrize("cell", [ESP32C3, ESP32], ids=str)
@pytest.mark.parametrize("cut", ["flash:2", "flash:3", "flash:20"])
def test_unplugged_while_the_images_are_written(cell: Cell, cut: str, station: Station) -> None:
    """Some esptools connect again by themselves and begin anew; with the others the second run does."""
    with interrupted(cell, cut, station) as (board, done):
        if done.exit_code:
            check_stop(done, "SE824")
            again = station.provision(station.bundle(cell), board)
            assert again.exit_code == 0, again.output
        check_whole(board, station.bundle(cell))


@LONG
@pytest.mark.parametrize("cut", ["burn:1", "burn:2", "burn:3"])
def test_unplugged_while_a_key_is_burned(cut: str, station: Station) -> None:
    """Half of a key with check bytes can never become the key: the board is called damaged, and left alone."""
    with interrupted(ESP32C3, cut, station) as (board, stopped):
        check_stop(stopped, "SE825")
        station.check_refusal(station.bundle(ESP32C3), board, "SE812")


@LONG
@pytest.mark.parametrize("burn", range(1, 9))
@pytest.mark.parametrize("cell", [ESP32C3, ESP32], ids=str)
def test_a_half_burn_is_completed_or_called_damaged(cell: Cell, burn: int, station: Station) -> None:
    """A board that is closed is whole; one that is called damaged is left alone; any other is completed."""
    with interrupted(cell, f"burn:{burn}", station) as (board, done):
        if done.exit_code:
            check_stop(done, "SE825")
            half = board.efuses
            again = station.provision(station.bundle(cell), board)
            is_closed = "STOP SE811" in again.output or "STOP SE810" in again.output
            if again.exit_code and not is_closed:
                check_stop(again, "SE812")
                assert board.efuses == half
                return
        check_whole(board, station.bundle(cell))
