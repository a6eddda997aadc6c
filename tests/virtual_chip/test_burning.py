# SPDX-License-Identifier: Apache-2.0
"""A burn needs the opcode; a block with check bytes is burned once; a cut burn leaves a half, as on silicon."""

from __future__ import annotations

from pathlib import Path

import pytest
from chip_tools import espefuse, jtag_field, new_chip, some_chips, succeed
from loader_client import BURN_OPCODE, READ_OPCODE, LoaderClient, registers_of

EACH_CHIP = pytest.mark.parametrize("chip", some_chips("esp32", "esp32c6"))
KEY = bytes(range(1, 33))
OTHER_KEY = bytes(range(101, 133))


def key_block(chip: str) -> int:
    return {"esp32": 1, "esp32c2": 3}.get(chip, 4)


@EACH_CHIP
@pytest.mark.parametrize("opcode", [0, READ_OPCODE, BURN_OPCODE ^ 1], ids=hex)
def test_without_its_opcode_nothing_is_burned(chip: str, opcode: int, tmp_path: Path) -> None:
    with new_chip(chip, tmp_path) as board, LoaderClient(board) as client:
        before = board.efuses
        client.burn(key_block(chip), KEY, opcode=opcode)
        assert board.efuses == before
        assert not any(client.block(key_block(chip)))


@EACH_CHIP
def test_a_burn_shows_after_the_read_command(chip: str, tmp_path: Path) -> None:
    """The fuses are burned by then, but the controller has not looked."""
    with new_chip(chip, tmp_path) as board, LoaderClient(board) as client:
        *writes, conf, read = registers_of(chip).burn(key_block(chip), KEY)
        for address, value in writes:
            client.write(address, value)
        assert str(key_block(chip)) in board.efuses
        assert not any(client.block(key_block(chip)))
        client.write(*conf)
        client.write(*read)
        assert client.block(key_block(chip)) == KEY


@EACH_CHIP
def test_a_reset_forgets_what_was_about_to_be_burned(chip: str, tmp_path: Path) -> None:
    """The write registers and the opcode do not outlast the connection."""
    registers = registers_of(chip)
    *writes, burn, _, _ = registers.burn(key_block(chip), KEY)
    with new_chip(chip, tmp_path) as board:
        before = board.efuses
        with LoaderClient(board) as client:
            for address, value in writes:
                client.write(address, value)
        with LoaderClient(board) as client:
            assert [client.read(address) for address, _ in writes] == [0] * len(writes)
            client.write(*burn)
            client.write(registers.conf, BURN_OPCODE)
            client.write(*burn)
        assert board.efuses == before


def test_an_idle_controller_says_so(tmp_path: Path) -> None:
    """espefuse waits for the command register to become zero."""
    with new_chip("esp32c6", tmp_path) as board, LoaderClient(board) as client:
        client.burn(4, KEY)
        assert client.read(registers_of("esp32c6").command) == 0


def test_a_key_burned_over_another_one_is_noise(tmp_path: Path) -> None:
    """Both keys' bits, and check bytes that fit neither."""
    with new_chip("esp32c6", tmp_path) as board:
        with LoaderClient(board) as client:
            client.burn(4, KEY)
            client.burn(4, OTHER_KEY)
            assert client.block(4) not in (KEY, OTHER_KEY)
        assert "Error(s) in BLOCK4" in espefuse(board, "check-error").output


def test_burning_a_key_again_changes_nothing(tmp_path: Path) -> None:
    with new_chip("esp32c6", tmp_path) as board:
        with LoaderClient(board) as client:
            client.burn(4, KEY)
            before = board.efuses
            client.burn(4, KEY)
        assert board.efuses == before
        assert "No errors detected" in succeed(espefuse(board, "check-error"))


def test_up_to_six_wrong_bytes_are_corrected_and_counted(tmp_path: Path) -> None:
    """What the code can mend, the controller mends; the next one is too many."""
    key = bytearray(KEY)
    with new_chip("esp32c6", tmp_path) as board, LoaderClient(board) as client:
        client.burn(4, bytes(key))
        registers = registers_of("esp32c6")
        for wrong in range(1, 8):
            noise = bytearray(44)
            noise[wrong - 1] = 0x80
            for address, value in registers.burn(4, bytes(noise)):
                client.write(address, value)
            assert (client.block(4) == KEY) == (wrong <= 6)


@pytest.mark.parametrize("chip", ["esp32c6", pytest.param("esp32p4", marks=pytest.mark.long)])
def test_a_key_whose_burn_was_cut_is_broken_for_ever(chip: str, tmp_path: Path) -> None:
    """espefuse sees the connection go; later it reports the block, and refuses to burn it."""
    key_file = tmp_path / "key.bin"
    key_file.write_bytes(KEY)
    words = ("burn-key", "BLOCK_KEY0", str(key_file), "USER")
    with new_chip(chip, tmp_path / "chip", cut="burn:1") as board:
        assert espefuse(board, *words).exit_code
        half = int(board.efuses["4"], 16).bit_count()
        assert half
        checked = espefuse(board, "check-error")
        assert checked.exit_code and "Error(s) in BLOCK4" in checked.output
        assert espefuse(board, *words).exit_code
        assert int(board.efuses["4"], 16).bit_count() == half


@EACH_CHIP
def test_flags_whose_burn_was_cut_can_be_completed(chip: str, tmp_path: Path) -> None:
    """BLOCK0 has no check bytes: it takes the missing bits later."""
    other = {"esp32": "CONSOLE_DEBUG_DISABLE", "esp32s2": "DIS_FORCE_DOWNLOAD"}.get(chip, "DIS_DIRECT_BOOT")
    names = (jtag_field(chip), other)
    words = [word for name in names for word in (name, "1")]
    with new_chip(chip, tmp_path, cut="burn:1") as board:
        before = int(board.efuses.get("0", "0"), 16)
        assert espefuse(board, "burn-efuse", *words).exit_code
        assert (int(board.efuses["0"], 16) ^ before).bit_count() == 1
        succeed(espefuse(board, "burn-efuse", *words))
        assert (int(board.efuses["0"], 16) ^ before).bit_count() == 2
