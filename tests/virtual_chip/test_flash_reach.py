# SPDX-License-Identifier: Apache-2.0
"""The virtual ROM loader reaches no more of the flash than silicon's: 2 MB until it is told, and only with power."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chip_tools import esptool, fab_bits, new_chip, some_chips, succeed
from loader_client import Answer, LoaderClient
from support.matrix_tools import esptool_version

from secure_ext.prove.virtual_chip.process import ChipProcess

LIMIT = 0x200000
SIZE = 0x400000
FAILED = 6
"""The reason in the reply 0106."""
PMU_DATE = 0x501153FC


@pytest.fixture
def board(tmp_path: Path) -> Iterator[ChipProcess]:
    with new_chip("esp32c3", tmp_path / "chip", flash_size=SIZE) as process:
        yield process


def tell_size(client: LoaderClient, size: int) -> None:
    assert not client.command(0x0B, struct.pack("<IIIIII", 0, size, 0x10000, 0x1000, 0x100, 0xFFFF)).is_error


def erase(client: LoaderClient, offset: int) -> Answer:
    return client.command(0x02, struct.pack("<IIIII", 0x1000, 0, 0x400, offset, 0))


def md5(client: LoaderClient, offset: int) -> Answer:
    return client.command(0x13, struct.pack("<IIII", offset, 0x1000, 0, 0))


def read(client: LoaderClient, offset: int) -> Answer:
    return client.command(0x0E, struct.pack("<II", offset, 64))


@pytest.mark.parametrize("command", [erase, md5, read])
def test_two_megabytes_until_it_is_told_and_after_each_reset(
    command: Callable[[LoaderClient, int], Answer], board: ChipProcess
) -> None:
    for _ in range(2):
        with LoaderClient(board) as client:
            client.attach_flash()
            assert not command(client, LIMIT - 0x1000).is_error
            assert (command(client, LIMIT).is_error, command(client, LIMIT).reason) == (True, FAILED)
            tell_size(client, SIZE)
            assert not command(client, LIMIT).is_error
            assert command(client, SIZE).is_error


def test_a_size_that_the_flash_does_not_have_helps_nothing(board: ChipProcess) -> None:
    with LoaderClient(board) as client:
        client.attach_flash()
        tell_size(client, 0x1000000)
        assert erase(client, SIZE).is_error


def test_no_flash_before_it_is_attached(board: ChipProcess) -> None:
    with LoaderClient(board) as client:
        assert erase(client, 0).reason == FAILED


@pytest.mark.parametrize("chip", some_chips("esp32c3"))
def test_which_esptools_erase_beyond(chip: str, tmp_path: Path) -> None:
    """Each with its stub; through the ROM loader those from 5.2 on, and the others see the error of silicon."""
    with new_chip(chip, tmp_path / "chip", flash_size=SIZE) as board:
        succeed(esptool(board, "erase-region", hex(LIMIT), "0x1000", stub=True))
        done = esptool(board, "erase-region", hex(LIMIT), "0x1000")
        assert (done.exit_code == 0) == (esptool_version() >= (5, 2)), done.output
        if (4, 9) <= esptool_version() < (5, 2):
            assert "0106" in done.output


@pytest.mark.parametrize(("revision", "has_power"), [(301, False), (302, False), (300, True), (303, True)])
def test_an_esp32p4_of_two_revisions_leaves_its_flash_off(revision: int, has_power: bool, tmp_path: Path) -> None:
    """Until the register that holds it on is written, as esptool does; a reset turns it off again."""
    with new_chip("esp32p4", tmp_path / "chip", bits=fab_bits("esp32p4", revision)) as board:
        for _ in range(2):
            with LoaderClient(board) as client:
                client.attach_flash()
                assert erase(client, 0).is_error != has_power
                client.write(PMU_DATE, 3)
                assert not erase(client, 0).is_error
