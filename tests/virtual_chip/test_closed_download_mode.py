# SPDX-License-Identifier: Apache-2.0
"""A chip whose download mode is disabled says nothing at all, whatever it is sent."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from chip_tools import espefuse, esptool, fab_bits, new_chip, some_chips, succeed
from loader_client import SYNC, burn_flag, command_packet

EVERY_COMMAND = [command_packet(command) for command in range(256)]


def bytes_answered(port: int) -> int:
    """How much comes back for a sync and every command, half a second after the last."""
    with socket.create_connection(("127.0.0.1", port), 0.5) as connection:
        for packet in [command_packet(0x08, SYNC), *EVERY_COMMAND]:
            connection.sendall(b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")
        try:
            return len(connection.recv(1))
        except TimeoutError:
            return 0


@pytest.mark.parametrize("chip", some_chips("esp32c3", without=("esp32",)))
def test_a_closed_chip_answers_nothing(chip: str, tmp_path: Path) -> None:
    """Before, the same bytes are answered; afterwards neither they are, nor does esptool find a chip."""
    with new_chip(chip, tmp_path) as board:
        assert bytes_answered(board.tcp_port)
        burn_flag(board, "DIS_DOWNLOAD_MODE")
        before = board.efuses, board.flash
        assert not bytes_answered(board.tcp_port)
        assert (board.efuses, board.flash) == before


@pytest.mark.parametrize(("revision", "answers"), [(100, True), (300, False)])
def test_an_esp32_closes_from_revision_3_on(revision: int, answers: bool, tmp_path: Path) -> None:
    """Older ones ignore the eFuse."""
    with new_chip("esp32", tmp_path, bits=fab_bits("esp32", revision)) as board:
        burn_flag(board, "UART_DOWNLOAD_DIS")
        assert bool(bytes_answered(board.tcp_port)) == answers


@pytest.mark.long
def test_esptool_finds_no_chip_there(tmp_path: Path) -> None:
    with new_chip("esp32c3", tmp_path) as board:
        succeed(esptool(board, "flash-id"))
        succeed(espefuse(board, "burn-efuse", "DIS_DOWNLOAD_MODE", "1"))
        assert "Failed to connect" in esptool(board, "flash-id").output
