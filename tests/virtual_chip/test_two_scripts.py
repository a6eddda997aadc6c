# SPDX-License-Identifier: Apache-2.0
"""Two programs want one port: the board is provisioned once and whole, and the one that is refused says why."""

from __future__ import annotations

import subprocess
import time

import pytest
from loader_client import SYNC, LoaderClient
from sabotage import (
    ESP32C3,
    Station,
    check_whole,
    new_station,  # noqa: F401 (a fixture)
    shared_bundles,  # noqa: F401 (a fixture)
)
from support.matrix_tools import TIME_LIMIT


def test_a_port_in_use_is_refused(station: Station) -> None:
    """And the program that has it goes on."""
    with station.board(ESP32C3) as board, LoaderClient(board) as client:
        station.check_refusal(station.bundle(ESP32C3), board, "SE810")
        assert not client.command(0x08, SYNC).is_error


@pytest.mark.parametrize("seconds", [1.0, *(pytest.param(delay, marks=pytest.mark.long) for delay in (0.0, 3.0, 5.0))])
def test_two_scripts_at_once(seconds: float, station: Station) -> None:
    """The second begins some time after the first: one completes the board, the other one stops."""
    bundle = station.bundle(ESP32C3)
    with station.board(ESP32C3) as board:
        running = []
        for _ in range(2):
            line = station.command_line(bundle, board)
            running.append(
                subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            )
            time.sleep(seconds)
        outputs = [process.communicate(timeout=TIME_LIMIT)[0].decode() for process in running]
        completed = [process.returncode == 0 for process in running]
        assert sorted(completed) == [False, True], outputs
        assert "STOP SE8" in outputs[completed.index(False)]
        assert not any("Traceback" in output for output in outputs)
        check_whole(board, bundle)
