# SPDX-License-Identifier: Apache-2.0
"""The serial port: one program at a time on a socket of this machine, with a reset at every connection.

A board's DTR and RTS lines reset it into download mode when esptool connects; a socket has no such lines, so the
connection itself stands for them.
"""

from __future__ import annotations

import contextlib
import selectors
import socket

from secure_ext.prove.virtual_chip.power import Event, PowerLost
from secure_ext.prove.virtual_chip.rom_loader import RomLoader
from secure_ext.prove.virtual_chip.slip import SlipDecoder, encode

_SEND_TIMEOUT = 5.0
"""Seconds after which a program that takes no answers is dropped."""
_PIECE = 0x10000
_MOST_PIECES = 0x100
"""How much is taken from a program, in pieces, before the next one is told that the port is in use."""


class Server:
    """Serves `loader` on a loopback port until `stop` is readable (its other end is closed)."""

    def __init__(self, loader: RomLoader, port: int = 0) -> None:
        self._loader = loader
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self._decoder = SlipDecoder()
        self._selector = selectors.DefaultSelector()

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return int(self._listener.getsockname()[1])

    def serve(self, stop: int) -> None:
        """Answers until the file descriptor `stop` ends."""
        with self._selector as selector, self._listener:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(stop, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == stop:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._client:
                        self._receive()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it has left already
        self._receive_what_is_there()
        if self._client is not None:
            client.close()  # the port is in use, as a serial port would be
            return
        if self._loader.power.count(Event.CONNECTION):
            client.close()
            return
        client.settimeout(_SEND_TIMEOUT)
        with contextlib.suppress(OSError):  # some systems refuse it when the other end has left
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._decoder = SlipDecoder()
        self._selector.register(client, selectors.EVENT_READ)
        self._loader.reset()
        self._loader.clock.connected()

    def _receive_what_is_there(self) -> None:
        """The end of a connection shows only after all that was sent on it."""
        for _ in range(_MOST_PIECES):
            if not any(key.fileobj is self._client for key, _ in self._selector.select(0)):
                return
            self._receive()

    def _receive(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            data = client.recv(_PIECE)
            if not data:
                self._drop()
                return
            for frame in self._decoder.feed(data):
                packets = self._loader.answer(frame)
                if packets:
                    client.sendall(b"".join(encode(packet) for packet in packets))
        except (PowerLost, OSError):
            self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            self._selector.unregister(self._client)
            self._client.close()
            self._client = None
            self._loader.reset()
            self._loader.clock.store()
