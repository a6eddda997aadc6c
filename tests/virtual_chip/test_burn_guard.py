# SPDX-License-Identifier: Apache-2.0
"""The guard between espefuse and the board, by itself: what reaches the command register of the eFuse controller."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from secure_ext.station.burn_guard import SYNC_BAUD, AnotherBoard, BurnGuard, Closed

CHIP, MAC = "esp32c3", "020000000001"
REGISTERS: Any = importlib.import_module(f"espefuse.efuse.{CHIP}.mem_definition").EfuseDefineRegisters
BURN, DATA = 0x2 | 4 << 2, REGISTERS.EFUSE_PGM_DATA0_REG


class Esp:
    """A board as esptool has it: its registers, and every write that reached it with the baud rate of that moment."""

    secure_download_mode = False

    def __init__(self) -> None:
        self.registers: dict[int, int] = {}
        self.mac = MAC
        self.written: list[tuple[int, int, int]] = []
        self._port = type("Port", (), {"baudrate": 460800})()
        self.refuses = False

    def read_mac(self) -> tuple[int, ...]:
        return tuple(bytes.fromhex(self.mac))

    def read_reg(self, address: int) -> int:
        if self.refuses:
            raise RuntimeError("refused")
        return self.registers.get(address, 0)

    def write_reg(self, address: int, value: int, mask: int = 0xFFFFFFFF) -> None:
        if self.refuses:
            raise RuntimeError("refused")
        self.registers[address] = 0 if address == REGISTERS.EFUSE_CMD_REG else value & mask
        self.written.append((address, value, self._port.baudrate))

    def change_baud(self, baud: int) -> None:
        self._port.baudrate = baud


@contextmanager
def guarded(*, closes: bool = False) -> Iterator[Esp]:
    esp = Esp()
    with BurnGuard(esp, CHIP, MAC, closes=closes):
        yield esp


def burns(esp: Esp) -> list[tuple[int, int, int]]:
    return [write for write in esp.written if write[:2] == (REGISTERS.EFUSE_CMD_REG, BURN)]


def test_the_board_that_was_looked_at_is_burned() -> None:
    """At the speed of espefuse, and what follows at the faster one again."""
    with guarded() as esp:
        esp.write_reg(DATA, 0x1234)
        esp.write_reg(REGISTERS.EFUSE_CMD_REG, BURN)
        esp.write_reg(DATA, 0)
    assert burns(esp) == [(REGISTERS.EFUSE_CMD_REG, BURN, SYNC_BAUD)]
    assert esp.written[0][2] == esp.written[-1][2] == 460800


@pytest.mark.parametrize("change", ["mac", "data", "part of the data"])
def test_another_board_is_not(change: str) -> None:
    """Even one that has the same MAC address, or some of the data."""
    with guarded() as esp:
        esp.write_reg(DATA, 0x1234)
        esp.write_reg(DATA + 4, 0x5678)
        if change == "mac":
            esp.mac = "0200000000b2"
        elif change == "data":
            esp.registers.clear()
        else:
            del esp.registers[DATA]
        with pytest.raises(AnotherBoard, match="no eFuse was burned by this command"):
            esp.write_reg(REGISTERS.EFUSE_CMD_REG, BURN)
    assert burns(esp) == []


def test_one_that_comes_in_after_the_command_is_noticed() -> None:
    esp = Esp()
    write = esp.write_reg

    def swapped(address: int, value: int, mask: int = 0xFFFFFFFF) -> None:
        write(address, value, mask)
        if address == REGISTERS.EFUSE_CMD_REG:
            esp.mac = "0200000000b2"

    esp.write_reg = swapped  # type: ignore[method-assign]
    with (
        BurnGuard(esp, CHIP, MAC, closes=False),
        pytest.raises(AnotherBoard, match="taken away while its eFuses were burned"),
    ):
        esp.write_reg(REGISTERS.EFUSE_CMD_REG, BURN)


@pytest.mark.parametrize("closes", [True, False])
def test_a_board_that_refuses_what_follows_has_closed_only_if_that_was_burned(closes: bool) -> None:
    expected: type[BaseException] = Closed if closes else RuntimeError
    with guarded(closes=closes) as esp:
        esp.write_reg(REGISTERS.EFUSE_CMD_REG, BURN)
        esp.refuses = True
        with pytest.raises(expected):
            esp.write_reg(REGISTERS.EFUSE_CMD_REG, 1)


def test_it_is_gone_afterwards() -> None:
    with guarded() as esp:
        pass
    assert "write_reg" not in vars(esp) and "read_reg" not in vars(esp)
