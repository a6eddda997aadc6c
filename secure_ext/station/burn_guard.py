# SPDX-License-Identifier: Apache-2.0
"""Stands between espefuse and the board, so that nothing is burned on a board that was not looked at just now.

Part of the program that holds the connection (`board_helper`): standard library and esptool only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

SYNC_BAUD = 115200
"""At which esptool and espefuse connect (`ESPLoader.ESP_ROM_BAUD`)."""
_PROGRAM = 2
"""The bit of an eFuse controller's command register that burns what its data registers hold."""
_POLLS = 1000


class AnotherBoard(Exception):
    """The board that answers is not the one that is to be burned."""


class Closed(BaseException):
    """The board answers no more to what espefuse asks: closing its download mode was burned, and has begun to hold.

    espefuse would now reset the board and detect its chip, to see as much; it catches every other exception.
    """


class BurnGuard:
    """Stands between espefuse and the board: a burn command reaches only the board that was looked at.

    What is to be burned lies in the data registers of the board's eFuse controller, which are zero after a reset. Right
    before the command, MAC address and data registers are read back: another board would not have them. If it comes in
    just then, the command finds its registers at zero and burns nothing. Right after the command the MAC address is
    read again: the board that was looked at is the one that was burned.

    The command itself cannot be looked at before it acts, and nothing on the line would notice a changed bit in it: it
    goes at the speed at which espefuse burns.

    Args:
        esp: the board, as esptool has it.
        chip: target name; espefuse's ``mem_definition`` of it says where the registers are.
        mac: MAC address of the board, 12 hexadecimal digits.
        closes: whether the download mode is closed: then the board may refuse whatever follows the burn.
    """

    def __init__(self, esp: Any, chip: str, mac: str, *, closes: bool) -> None:
        registers = importlib.import_module(f"espefuse.efuse.{chip}.mem_definition").EfuseDefineRegisters
        names = ("EFUSE_CMD_REG", "EFUSE_REG_CMD", "EFUSE_CONF_REG", "EFUSE_REG_CONF")
        command, *others = [getattr(registers, name) for name in names if hasattr(registers, name)]
        self._command = command
        self._no_data = {command, *others}
        self._esp = esp
        self._mac = mac
        self._closes = closes
        self._write, self._read = esp.write_reg, esp.read_reg
        self._data: dict[int, int] = {}
        self._has_burned = False

    def __enter__(self) -> None:
        self._esp.write_reg, self._esp.read_reg = self._guarded_write, self._guarded_read

    def __exit__(self, *_: object) -> None:
        del self._esp.write_reg, self._esp.read_reg

    def _guarded_read(self, *words: Any, **named: Any) -> Any:
        with self._until_closed():
            return self._read(*words, **named)

    @contextlib.contextmanager
    def _until_closed(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._closes and self._has_burned:
                raise Closed from error
            raise

    def _guarded_write(self, address: int, value: int, mask: int = 0xFFFFFFFF, *others: Any, **named: Any) -> Any:
        if address != self._command or not value & _PROGRAM:
            if mask == 0xFFFFFFFF and address not in self._no_data:
                self._data[address] = value
            with self._until_closed():
                return self._write(address, value, mask, *others, **named)
        holds_data = all(self._read(address) == word for address, word in self._data.items() if word)
        if not holds_data or mac_of(self._esp) != self._mac:
            raise AnotherBoard("no eFuse was burned by this command")
        fast = self._esp._port.baudrate
        change_baud(self._esp, SYNC_BAUD)
        result = self._write(address, value, mask, *others, **named)
        change_baud(self._esp, fast)
        for _ in range(_POLLS):
            if not self._read(self._command) & _PROGRAM:
                break
        if mac_of(self._esp) != self._mac:
            raise AnotherBoard("it was taken away while its eFuses were burned")
        self._data.clear()
        self._has_burned = True
        return result


def change_baud(esp: Any, baud: int) -> None:
    """Goes on at another baud rate; a board in secure download mode stays as it is."""
    if baud != esp._port.baudrate and not esp.secure_download_mode:
        esp.change_baud(baud)


def mac_of(esp: Any) -> str:
    """Factory MAC address of a connected board, 12 hexadecimal digits."""
    return bytes(esp.read_mac()).hex()
