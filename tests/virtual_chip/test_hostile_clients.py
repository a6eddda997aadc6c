# SPDX-License-Identifier: Apache-2.0
"""Whatever connects to the port, a virtual chip goes on: afterwards a plain esptool finds it, and it has not grown."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chip_tools import esptool, new_chip, succeed
from loader_client import SYNC, LoaderClient, command_packet

from secure_ext.prove.virtual_chip.process import ChipProcess

pytestmark = pytest.mark.cold

MEGABYTES = 8
SYNC_FRAME = b"\xc0" + command_packet(0x08, SYNC) + b"\xc0"
WHILE_WAITING = 10.0


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChipProcess]:
    """One chip for all of them: each finds it as the one before has left it."""
    with new_chip("esp32c3", tmp_path_factory.mktemp("chip"), flash_size=0x100000) as process:
        yield process


def connect(board: ChipProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", board.tcp_port), WHILE_WAITING)


def send(board: ChipProcess, data: bytes) -> None:
    """Sends all it can on a connection of its own, and hangs up."""
    with connect(board) as connection, contextlib.suppress(OSError):
        connection.sendall(data)


def half_a_frame(board: ChipProcess) -> None:
    for end in (1, 2, 9, len(SYNC_FRAME) - 1):
        send(board, SYNC_FRAME[:end])


def no_delimiter(board: ChipProcess) -> None:
    send(board, b"\x00" * MEGABYTES * 0x100000)


def one_delimiter(board: ChipProcess) -> None:
    send(board, b"\xc0" + b"\x55" * MEGABYTES * 0x100000)


def escapes_only(board: ChipProcess) -> None:
    send(board, b"\xc0" + b"\xdb\xdd" * (MEGABYTES * 0x80000))


def noise(board: ChipProcess) -> None:
    send(board, random.Random(1).randbytes(0x100000))


def many_small_frames(board: ChipProcess) -> None:
    send(board, b"\xc0\x00\xc0" * 0x40000)


def huge_sizes(board: ChipProcess) -> None:
    for command in range(256):
        send(board, b"\xc0" + struct.pack("<BBHI", 0, command, 0xFFFF, 0xFFFFFFFF) + b"\xff" * 40 + b"\xc0")


def a_storm_of_connections(board: ChipProcess) -> None:
    for number in range(300):
        with connect(board) as connection:
            if number % 3 == 0:
                # closing sends a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if number % 2:
                connection.sendall(SYNC_FRAME)


def many_at_once(board: ChipProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connect(board))


def one_that_never_reads(board: ChipProcess) -> None:
    """It is dropped when its answers have nowhere to go."""
    with connect(board) as connection, pytest.raises(OSError):
        while True:
            connection.sendall(SYNC_FRAME * 1000)


@pytest.mark.parametrize(
    "attack",
    [
        *(half_a_frame, no_delimiter, huge_sizes, a_storm_of_connections, one_that_never_reads),
        *(
            pytest.param(attack, marks=pytest.mark.long)
            for attack in (one_delimiter, escapes_only, noise, many_small_frames, many_at_once)
        ),
    ],
    ids=lambda attack: attack.__name__.replace("_", " "),
)
def test_it_survives(attack: Callable[[ChipProcess], None], board: ChipProcess) -> None:
    before = board.efuses
    attack(board)
    assert "Detected flash size: 1MB" in succeed(esptool(board, "flash-id"))
    assert board.efuses == before


def test_a_slow_client_is_served(board: ChipProcess) -> None:
    """A byte at a time is as good as a frame."""
    with connect(board) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in SYNC_FRAME:
            connection.sendall(bytes([byte]))
        assert connection.recv(1) == b"\xc0"


def test_a_second_client_is_sent_away(board: ChipProcess) -> None:
    """As at a serial port that is in use; the first one notices nothing."""
    with LoaderClient(board) as client:
        with connect(board) as second:
            assert second.recv(1) == b""
        assert not client.command(0x08, SYNC).is_error


def test_a_client_that_has_left_is_not_in_the_way(board: ChipProcess) -> None:
    """Programs come one right after the other, and some leave before they are answered."""
    for _ in range(100):
        with connect(board) as connection:
            connection.sendall(SYNC_FRAME * 4)
        with LoaderClient(board) as client:
            assert not client.command(0x08, SYNC).is_error


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_its_memory_stays_bounded(board: ChipProcess) -> None:
    def resident() -> int:
        """Kilobytes of the process that listens on the port."""
        text = Path(f"/proc/{process_of(board.tcp_port)}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0])

    no_delimiter(board)
    before = resident()
    for attack in (no_delimiter, one_delimiter, escapes_only, many_small_frames):
        attack(board)
    with LoaderClient(board, seconds=60) as client:  # after a flood the answer may take a while
        for address in range(0, 0x40000, 4):
            if client.command(0x09, struct.pack("<IIII", address, 1, 0xFFFFFFFF, 0)).is_error:
                break
        else:
            pytest.fail("it keeps whatever is written anywhere")
    assert resident() - before < 16 * 1024


def process_of(port: int) -> int:
    """The process that listens on a port."""
    inode = next(line[9] for line in listeners() if int(line[1].partition(":")[2], 16) == port)
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(link.readlink()) == f"socket:[{inode}]":
                return int(link.parts[2])
    raise AssertionError("nobody listens")


def listeners() -> list[list[str]]:
    """The lines of all listening TCP sockets of IPv4 and IPv6."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        if Path("/proc/net", name).exists()
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    return [line for line in lines if line[3] == "0A"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_listens_on_the_loopback_interface_only(board: ChipProcess) -> None:
    addresses = {line[1] for line in listeners() if int(line[1].partition(":")[2], 16) == board.tcp_port}
    assert addresses == {f"0100007F:{board.tcp_port:04X}"}


def test_it_ends_when_its_owner_does(tmp_path: Path) -> None:
    """Also while somebody is connected."""
    with new_chip("esp32c3", tmp_path, flash_size=0x100000) as chip:
        client = connect(chip)
        started = time.monotonic()
    assert time.monotonic() - started < WHILE_WAITING
    client.close()
    with pytest.raises(OSError):
        connect(chip)
