# SPDX-License-Identifier: Apache-2.0
"""Secure download mode: the ROM loader still writes flash and tells how it is secured, and does nothing else.

The documents of ESP-IDF call what is left "simple flash read, write and erase operations, plus a command to return a
summary of currently enabled security features"; what esptool leaves out of ``write-flash`` there is the MD5 at its end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from chip_tools import espefuse, esptool, jtag_field, new_chip, some_chips, succeed
from loader_client import LoaderClient, burn_flag, checksum, data_block, registers_of

from secure_ext.prove.virtual_chip.process import ChipProcess

EACH_CHIP = pytest.mark.parametrize("chip", some_chips("esp32c3", without=("esp32",)))
MEMORY = struct.pack("<IIII", 16, 1, 16, 0x40000000)
REFUSED = {
    "read a register": (0x0A, struct.pack("<I", 0x60000000), 0),
    "write a register": (0x09, struct.pack("<IIII", 0x60000000, 1, 0xFFFFFFFF, 0), 0),
    "begin a program": (0x05, MEMORY, 0),
    "load a program": (0x07, data_block(bytes(16)), checksum(bytes(16))),
    "start a program": (0x06, struct.pack("<II", 0, 0x40000000), 0),
    "read flash": (0x0E, struct.pack("<II", 0, 64), 0),
    "MD5 of flash": (0x13, struct.pack("<IIII", 0, 64, 0, 0), 0),
    "erase flash as the stub does": (0xD0, b"", 0),
    "read flash as the stub does": (0xD2, struct.pack("<IIII", 0, 64, 64, 1), 0),
}


@pytest.fixture
def board(chip: str, tmp_path: Path) -> Iterator[ChipProcess]:
    with new_chip(chip, tmp_path / "chip", flash_size=0x100000) as process:
        burn_flag(process, "ENABLE_SECURITY_DOWNLOAD")
        yield process


@EACH_CHIP
def test_what_could_reveal_or_change_the_chip_is_refused(board: ChipProcess) -> None:
    with LoaderClient(board) as client:
        for name, (command, data, check) in REFUSED.items():
            answer = client.command(command, data, check)
            assert (answer.is_error, answer.reason, answer.value) == (True, 5, 0), name
            assert not answer.data, name


@EACH_CHIP
def test_efuses_can_be_neither_read_nor_burned(board: ChipProcess) -> None:
    """By espefuse, and by a program that sends the commands all the same."""
    before = board.efuses
    assert espefuse(board, "summary").exit_code
    assert espefuse(board, "burn-efuse", jtag_field(board.options.chip), "1").exit_code
    with LoaderClient(board) as client:
        registers = registers_of(board.options.chip)
        for address, value in registers.burn(max(registers.write), bytes(range(32))):
            assert client.command(0x09, struct.pack("<IIII", address, value, 0xFFFFFFFF, 0)).is_error
    assert board.efuses == before


@EACH_CHIP
def test_espefuse_can_close_a_chip(chip: str, tmp_path: Path) -> None:
    """It notices that the chip is closed from then on, and calls that a success."""
    with new_chip(chip, tmp_path) as open_board:
        assert "Successful" in succeed(espefuse(open_board, "burn-efuse", "ENABLE_SECURITY_DOWNLOAD", "1"))
        assert "Secure Download Mode" in succeed(esptool(open_board, "get-security-info"))


@EACH_CHIP
def test_it_still_tells_how_it_is_secured(board: ChipProcess) -> None:
    assert "Secure Download Mode" in succeed(esptool(board, "get-security-info"))


@EACH_CHIP
def test_flash_can_still_be_written(board: ChipProcess, tmp_path: Path) -> None:
    """esptool does it without the stub and without verifying."""
    content = tmp_path / "content.bin"
    content.write_bytes(b"new" * 1000)
    output = succeed(esptool(board, "write-flash", "--force", "0x20000", str(content)))
    assert board.flash[0x20000 : 0x20000 + 3000] == content.read_bytes()
    assert "Hash of data verified" not in output


@pytest.mark.parametrize("chip", ["esp32c3"])
def test_no_stub_is_started(board: ChipProcess) -> None:
    """Not even by loading it piece by piece: a program in RAM could do everything again."""
    with LoaderClient(board) as client:
        client.command(0x05, MEMORY)
        client.command(0x07, data_block(bytes(16)), checksum(bytes(16)))
        client.command(0x06, struct.pack("<II", 0, 0x40000000))
        assert client.command(0xD0).is_error
