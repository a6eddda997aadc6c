# SPDX-License-Identifier: Apache-2.0
"""Flash as it is: writing only clears bits, erasing sets whole sectors, and nothing happens outside of the chip."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from chip_tools import new_chip
from loader_client import Answer, LoaderClient, checksum, data_block

from secure_ext.prove.virtual_chip.flash import SECTOR, Flash

SIZE = 0x100000


def write(client: LoaderClient, offset: int, content: bytes, erase: int) -> list[Answer]:
    """Writes one block without compression, after erasing `erase` bytes."""
    begin = struct.pack("<IIIII", erase, 1, len(content), offset, 0)
    return [client.command(0x02, begin), client.command(0x03, data_block(content), checksum(content))]


def test_writing_can_only_clear_bits(tmp_path: Path) -> None:
    with new_chip("esp32c3", tmp_path, flash_size=SIZE) as board, LoaderClient(board).attach_flash() as client:
        write(client, 0x2000, b"\x0f\xf0", erase=0)
        write(client, 0x2000, b"\x3c\xff", erase=0)
        assert board.flash[0x2000:0x2003] == b"\x0c\xf0\xff"


def test_a_write_erases_the_sectors_it_was_told_to(tmp_path: Path) -> None:
    """All that the range touches, and none beside them."""
    with new_chip("esp32c3", tmp_path, flash_size=SIZE) as board, LoaderClient(board).attach_flash() as client:
        for sector in range(4):
            write(client, sector * SECTOR, bytes(SECTOR), erase=0)
        write(client, SECTOR + 8, b"\xff", erase=SECTOR)
        assert board.flash[:SECTOR] == bytes(SECTOR)
        assert board.flash[SECTOR : 3 * SECTOR] == b"\xff" * 2 * SECTOR
        assert board.flash[3 * SECTOR : 4 * SECTOR] == bytes(SECTOR)


def test_a_block_with_a_wrong_checksum_is_not_written(tmp_path: Path) -> None:
    with new_chip("esp32c3", tmp_path, flash_size=SIZE) as board, LoaderClient(board).attach_flash() as client:
        client.command(0x02, struct.pack("<IIIII", 0, 1, 4, 0, 0))
        answer = client.command(0x03, data_block(b"wont"), checksum(b"will"))
        assert (answer.is_error, answer.reason) == (True, 7)
        assert board.flash == b"\xff" * SIZE


@pytest.mark.parametrize("offset", [SIZE - 2, SIZE, 0xFFFFFFF0])
def test_a_write_that_leaves_the_chip_is_refused(offset: int, tmp_path: Path) -> None:
    with new_chip("esp32c3", tmp_path, flash_size=SIZE) as board, LoaderClient(board).attach_flash() as client:
        assert write(client, offset, bytes(32), erase=32)[0].is_error
        assert board.flash == b"\xff" * SIZE


def test_more_than_was_announced_is_refused(tmp_path: Path) -> None:
    """Plain and compressed: a block that inflates beyond the announced size writes nothing."""
    content = bytes(100_000)
    with new_chip("esp32c3", tmp_path, flash_size=SIZE) as board, LoaderClient(board).attach_flash() as client:
        client.command(0x02, struct.pack("<IIIII", 0, 1, 4, 0, 0))
        assert client.command(0x03, data_block(b"fives"), checksum(b"fives")).is_error
        client.command(0x10, struct.pack("<IIIII", SECTOR, 1, 0x400, 0, 0))
        packed = zlib.compress(content)
        assert client.command(0x11, data_block(packed), checksum(packed)).is_error
        assert board.flash == b"\xff" * SIZE


def test_the_flash_outlasts_its_process(tmp_path: Path) -> None:
    with new_chip("esp32c3", tmp_path, flash_size=SIZE) as board, LoaderClient(board).attach_flash() as client:
        write(client, 0, b"kept", erase=0)
    with new_chip("esp32c3", tmp_path, flash_size=SIZE) as board:
        assert board.flash[:4] == b"kept"
    again = Flash(tmp_path / "flash.bin", SIZE)
    assert again.read(0, 4) == b"kept"
    again.close()
