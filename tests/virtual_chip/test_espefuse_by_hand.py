# SPDX-License-Identifier: Apache-2.0
"""Unmodified espefuse reads and burns every virtual chip over its socket as it would a board."""

from __future__ import annotations

from pathlib import Path

import pytest
from chip_tools import dump, espefuse, jtag_field, new_chip, some_chips, succeed, summary

KEY = bytes(range(1, 33))
EACH_CHIP = pytest.mark.parametrize("chip", some_chips("esp32"))


def key_words(chip: str, key_file: Path) -> tuple[str, ...]:
    """How a flash encryption key is burned."""
    if chip == "esp32":
        return ("burn-key", "flash_encryption", str(key_file))
    return ("burn-key", "BLOCK_KEY0", str(key_file), "XTS_AES_128_KEY")


def key_block(chip: str) -> int:
    return {"esp32": 1, "esp32c2": 3}.get(chip, 4)


@EACH_CHIP
def test_a_field_is_burned_and_stays(chip: str, tmp_path: Path) -> None:
    """Also when the chip is started again."""
    name = jtag_field(chip)
    with new_chip(chip, tmp_path) as board:
        assert not summary(board)[name]["value"]
        succeed(espefuse(board, "burn-efuse", name, "1"))
    with new_chip(chip, tmp_path) as board:
        assert summary(board)[name]["value"]


@EACH_CHIP
def test_a_key_is_burned_and_hidden(chip: str, tmp_path: Path) -> None:
    """espefuse reads zeros where the fuses keep the key."""
    key_file = tmp_path / "key.bin"
    key_file.write_bytes(KEY)
    with new_chip(chip, tmp_path / "chip") as board:
        succeed(espefuse(board, *key_words(chip, key_file)))
        assert not any(dump(board)[key_block(chip)])
        kept = bytes.fromhex(board.efuses[str(key_block(chip))])
    assert kept[:32] == KEY[::-1]


@EACH_CHIP
def test_a_new_chip_is_without_errors(chip: str, tmp_path: Path) -> None:
    with new_chip(chip, tmp_path) as board:
        assert "No errors detected" in succeed(espefuse(board, "check-error"))


@EACH_CHIP
def test_a_locked_field_is_refused(chip: str, tmp_path: Path) -> None:
    name = jtag_field(chip)
    with new_chip(chip, tmp_path) as board:
        succeed(espefuse(board, "write-protect-efuse", name))
        before = board.efuses
        assert espefuse(board, "burn-efuse", name, "1").exit_code
        assert board.efuses == before


def test_a_key_can_be_left_readable(tmp_path: Path) -> None:
    """What was burned is then what the dump shows."""
    key_file = tmp_path / "key.bin"
    key_file.write_bytes(KEY)
    with new_chip("esp32c3", tmp_path / "chip") as board:
        succeed(espefuse(board, "burn-key", "--no-read-protect", "BLOCK_KEY2", str(key_file), "USER"))
        assert dump(board)[6] == KEY
