# SPDX-License-Identifier: Apache-2.0
"""A client of the ROM loader that does what no esptool would do: single commands, single registers, raw burns."""

from __future__ import annotations

import importlib
import json
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from secure_ext.prove.virtual_chip.fuses import coded
from secure_ext.prove.virtual_chip.process import ChipProcess

READ_OPCODE, BURN_OPCODE = 0x5AA5, 0x5A5A
SYNC = b"\x07\x07\x12\x20" + b"\x55" * 32


def command_packet(command: int, data: bytes = b"", checksum: int = 0) -> bytes:
    """A request before it is framed."""
    return struct.pack("<BBHI", 0, command, len(data), checksum) + data


def checksum(payload: bytes) -> int:
    """What goes with a block of flash or RAM data."""
    state = 0xEF
    for byte in payload:
        state ^= byte
    return state


def data_block(payload: bytes, number: int = 0) -> bytes:
    """The data of a FLASH_DATA or MEM_DATA command."""
    return struct.pack("<IIII", len(payload), number, 0, 0) + payload


@dataclass(frozen=True)
class Registers:
    """The registers of a chip's eFuse controller."""

    conf: int
    command: int
    read: dict[int, int]
    write: dict[int, int]
    has_reed_solomon: bool

    def burn(self, block: int, data: bytes, opcode: int = BURN_OPCODE) -> list[tuple[int, int]]:
        """The register writes that burn `data` (already coded, or to be coded) into a block and read it back."""
        if self.has_reed_solomon and block and len(data) <= 32:
            data = coded(data)
        words = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
        writes = [(self.write[block] + 4 * number, word) for number, word in enumerate(words)]
        burn = 2 | block << 2 if self.has_reed_solomon else 2
        return [*writes, (self.conf, opcode), (self.command, burn), (self.conf, READ_OPCODE), (self.command, 1)]


def registers_of(chip: str) -> Registers:
    """As espefuse knows them."""
    module: Any = importlib.import_module(f"espefuse.efuse.{chip}.mem_definition")
    regs, blocks = module.EfuseDefineRegisters, module.EfuseDefineBlocks
    places = [blocks.get(block) for block in blocks.BLOCKS]
    return Registers(
        conf=getattr(regs, "EFUSE_CONF_REG", None) or regs.EFUSE_REG_CONF,
        command=getattr(regs, "EFUSE_CMD_REG", None) or regs.EFUSE_REG_CMD,
        read={block.id: block.rd_addr for block in places},
        write={block.id: block.wr_addr for block in places},
        has_reed_solomon=chip != "esp32",
    )


@dataclass(frozen=True)
class Answer:
    """The chip's answer to a command."""

    value: int
    data: bytes
    is_error: bool
    reason: int


class LoaderClient:
    """A connection to a virtual chip, as a context manager. Raises OSError when the chip says nothing."""

    def __init__(self, chip: ChipProcess, seconds: float = 5.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", chip.tcp_port), seconds)
        self._registers = registers_of(chip.options.chip)

    def __enter__(self) -> LoaderClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def command(self, command: int, data: bytes = b"", check: int = 0) -> Answer:
        """Sends one command and waits for its answer."""
        packet = command_packet(command, data, check)
        self._socket.sendall(b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")
        frame = self._frame()
        value, body = int.from_bytes(frame[4:8], "little"), frame[8:]
        return Answer(value, body[:-4], bool(body[-4]), body[-3])  # the ROM ends with two status bytes and two zeros

    def attach_flash(self) -> LoaderClient:
        """Connects the flash, which the chip does not reach before."""
        assert not self.command(0x0D, bytes(8)).is_error
        return self

    def read(self, address: int) -> int:
        """Reads a register; the chip must allow it."""
        answer = self.command(0x0A, struct.pack("<I", address))
        assert not answer.is_error, hex(answer.reason)
        return answer.value

    def write(self, address: int, value: int) -> None:
        """Writes a register; the chip must allow it."""
        answer = self.command(0x09, struct.pack("<IIII", address, value, 0xFFFFFFFF, 0))
        assert not answer.is_error, hex(answer.reason)

    def burn(self, block: int, data: bytes, opcode: int = BURN_OPCODE) -> None:
        """Burns `data` into a block by its registers, and lets the controller read all fuses again."""
        for address, value in self._registers.burn(block, data, opcode):
            self.write(address, value)

    def block(self, number: int, words: int = 8) -> bytes:
        """What the controller shows of a block."""
        start = self._registers.read[number]
        return b"".join(self.read(start + 4 * word).to_bytes(4, "little") for word in range(words))

    def _frame(self) -> bytes:
        content = b""
        while content.count(b"\xc0") < 2:
            more = self._socket.recv(1)
            if not more:
                raise ConnectionResetError("the chip hung up")
            content += more
        return content.strip(b"\xc0").replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")


def burn_flag(chip: ChipProcess, field: str) -> None:
    """Burns the lowest bit of a field of BLOCK0 in a connection of its own; the next one shows it."""
    place = json.loads((chip.state / "efuse_layout.json").read_text())["fields"][field]
    *writes, _, _ = registers_of(chip.options.chip).burn(0, (1 << place["start"]).to_bytes(32, "little"))
    with LoaderClient(chip) as client:
        for address, value in writes:
            client.write(address, value)
