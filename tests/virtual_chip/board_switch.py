# SPDX-License-Identifier: Apache-2.0
"""A port behind which the board is swapped: at a connection, or in the middle of one, between two packets.

The board that comes in has just been reset, and answers at once: no serial port makes it easier to be mistaken for the
one that was there.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field

from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.prove.virtual_chip.slip import SlipDecoder, encode

_WRITE_REGISTERS = 0x09


@dataclass
class BoardSwitch:
    """A context manager: forwards to `first`, and from the swap on to `second`.

    Attributes:
        connection: from which connection on `second` is there, counted from 1.
        packet: from which packet on `second` is there, counted from 1 over all connections.
        packets: how many packets came from the program.
        connections: at which packet each connection began.
        burns: which packets told an eFuse controller to burn, as `command_register` shows.
    """

    first: ChipProcess
    second: ChipProcess
    command_register: int
    connection: int | None = None
    packet: int | None = None
    packets: int = 0
    connections: list[int] = field(default_factory=list)
    burns: list[int] = field(default_factory=list)

    def __enter__(self) -> BoardSwitch:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    @property
    def url(self) -> str:
        """What is given as ``--port``."""
        return f"socket://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections.append(self.packets + 1)
                with client:
                    self._forward(client)

    @property
    def _is_swapped(self) -> bool:
        by_connection = self.connection is not None and len(self.connections) >= self.connection
        return by_connection or (self.packet is not None and self.packets >= self.packet)

    def _forward(self, client: socket.socket) -> None:
        chip, board = self._plug_in(client)
        decoder = SlipDecoder()
        with contextlib.suppress(OSError):
            while data := client.recv(0x10000):
                for frame in decoder.feed(data):
                    self.packets += 1
                    if self._is_swapped and chip is self.first:
                        _unplug(board)
                        chip, board = self._plug_in(client)
                    if self._burns(frame):
                        self.burns.append(self.packets)
                    board.sendall(encode(frame))
        _unplug(board)

    def _plug_in(self, client: socket.socket) -> tuple[ChipProcess, socket.socket]:
        """The board that is there now, whose answers go to the program."""
        chip = self.second if self._is_swapped else self.first
        board = socket.create_connection(("127.0.0.1", chip.tcp_port))
        board.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def answer() -> None:
            with contextlib.suppress(OSError):
                while data := board.recv(0x10000):
                    client.sendall(data)

        threading.Thread(target=answer, daemon=True).start()
        return chip, board

    def _burns(self, frame: bytes) -> bool:
        if len(frame) < 24 or frame[1] != _WRITE_REGISTERS:
            return False
        address, value, mask, _ = struct.unpack_from("<IIII", frame, 8)
        return address == self.command_register and bool(value & mask & 2)


def _unplug(board: socket.socket) -> None:
    with contextlib.suppress(OSError):
        board.shutdown(socket.SHUT_RDWR)  # closing alone waits for the thread that reads
    board.close()
