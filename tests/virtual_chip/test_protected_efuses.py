# SPDX-License-Identifier: Apache-2.0
"""What is protected on the virtual chip stays so, also for a program that writes the controller's registers itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from chip_tools import jtag_field, new_chip, some_chips
from loader_client import LoaderClient, registers_of

from secure_ext.prove.virtual_chip.efuse_controller import EfuseController, FieldPlace
from secure_ext.prove.virtual_chip.fuses import Fuses
from secure_ext.prove.virtual_chip.power import Power
from secure_ext.prove.virtual_chip.process import ChipProcess

KEY = bytes(range(1, 33))
EACH_CHIP = pytest.mark.parametrize("chip", some_chips("esp32", "esp32c2", "esp32c3"))


def key_block(chip: str) -> int:
    return {"esp32": 1, "esp32c2": 3}.get(chip, 4)


def word_of(places: dict[str, FieldPlace], **fields: int) -> bytes:
    """BLOCK0 with these fields."""
    number = sum(value << places[name].start for name, value in fields.items())
    return number.to_bytes(32, "little")


@pytest.fixture
def places(chip: str, tmp_path: Path) -> dict[str, FieldPlace]:
    return EfuseController(chip, Fuses(tmp_path / "unused.json"), Power(None, None)).places


def read_protection(chip: str) -> int:
    """The bits of RD_DIS that hide the first key block."""
    return 3 if chip == "esp32c2" else 1


def write_protection(chip: str) -> int:
    """The bit of WR_DIS that locks the first key block."""
    return 1 << {"esp32": 7, "esp32c2": 7}.get(chip, 23)


@EACH_CHIP
def test_a_hidden_block_reads_zero_and_is_kept(chip: str, places: dict[str, FieldPlace], tmp_path: Path) -> None:
    """Hidden at once after the next read command, and after each reset; the fuses keep it."""
    with new_chip(chip, tmp_path) as board:
        with LoaderClient(board) as client:
            client.burn(key_block(chip), KEY)
            assert client.block(key_block(chip)) == KEY
            client.burn(0, word_of(places, RD_DIS=read_protection(chip)))
            assert not any(client.block(key_block(chip)))
        with LoaderClient(board) as client:
            assert not any(client.block(key_block(chip)))
        assert bytes.fromhex(board.efuses[str(key_block(chip))])[:32] == KEY


@EACH_CHIP
def test_a_locked_block_does_not_change(chip: str, places: dict[str, FieldPlace], tmp_path: Path) -> None:
    with new_chip(chip, tmp_path) as board, LoaderClient(board) as client:
        client.burn(0, word_of(places, WR_DIS=write_protection(chip)))
        before = board.efuses
        client.burn(key_block(chip), KEY)
        assert board.efuses == before
        assert not any(client.block(key_block(chip)))


@EACH_CHIP
def test_locked_fields_do_not_change_and_their_neighbours_do(
    chip: str, places: dict[str, FieldPlace], tmp_path: Path
) -> None:
    """Bit 0 of WR_DIS locks RD_DIS: what is readable then stays so."""
    locked, free = "RD_DIS", "FLASH_CRYPT_CNT" if chip == "esp32" else jtag_field(chip)
    with new_chip(chip, tmp_path) as board, LoaderClient(board) as client:
        client.burn(0, word_of(places, WR_DIS=1))
        client.burn(0, word_of(places, **{locked: 1, free: 1}))
        shown = int.from_bytes(client.block(0, 6), "little")
    assert shown >> places[free].start & 1
    assert not shown >> places[locked].start & 1


@EACH_CHIP
def test_what_shows_the_fuses_cannot_be_written(chip: str, places: dict[str, FieldPlace], tmp_path: Path) -> None:
    with new_chip(chip, tmp_path) as board, LoaderClient(board) as client:
        before = board.efuses, client.block(0, 6)
        client.write(registers_of(chip).read[0], 0xFFFFFFFF)
        client.write(registers_of(chip).read[key_block(chip)], 0xFFFFFFFF)
        assert (board.efuses, client.block(0, 6)) == before
        assert not any(client.block(key_block(chip)))


@pytest.mark.parametrize("chip", ["esp32c2"])
def test_half_of_the_block_of_an_esp32c2_can_be_hidden(
    chip: str, places: dict[str, FieldPlace], tmp_path: Path
) -> None:
    """The lower half holds the flash encryption key, the upper one the digest, which the ROM must read."""
    with new_chip(chip, tmp_path) as board, LoaderClient(board) as client:
        client.burn(3, KEY)
        client.burn(0, word_of(places, RD_DIS=1))
        assert client.block(3) == bytes(16) + KEY[16:]


def test_burned_bits_stay_burned(tmp_path: Path) -> None:
    """Burning zeros over ones changes nothing."""

    def bits(board: ChipProcess) -> int:
        return int(board.efuses["0"], 16)

    with new_chip("esp32", tmp_path) as board, LoaderClient(board) as client:
        client.burn(0, bytes(3) + b"\x10" + bytes(28))
        before = bits(board)
        client.burn(0, bytes(32))
        assert bits(board) == before
