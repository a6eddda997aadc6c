# SPDX-License-Identifier: Apache-2.0
"""docs/sealed-board.md: what esptool still does on a sealed board is what its table says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chip_tools import espefuse, esptool, new_chip, succeed
from loader_client import burn_flag
from support.matrix_tools import esptool_version

from secure_ext.prove.virtual_chip.process import ChipProcess

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sealed-board.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(?:esptool|espefuse) ([\w-]+)` \| (.+?) \|$", PAGE, re.MULTILINE))
ARGUMENTS = {
    "write-flash": ["0x20000", "{file}"],
    "verify-flash": ["0x20000", "{file}"],
    "read-flash": ["0x20000", "0x1000", "{file}.read"],
    "erase-region": ["0x20000", "0x1000"],
}


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[ChipProcess]:
    """A board in secure download mode, without flash encryption."""
    with new_chip("esp32c3", tmp_path / "chip", flash_size=0x100000) as process:
        burn_flag(process, "ENABLE_SECURITY_DOWNLOAD")
        yield process


@pytest.fixture
def content(tmp_path: Path) -> Path:
    file = tmp_path / "content.bin"
    file.write_bytes(b"new" * 1000)
    return file


def test_the_table_has_the_commands_that_people_try() -> None:
    assert {"get-security-info", "summary", *ARGUMENTS} <= set(ROWS)


@pytest.mark.skipif(esptool_version() < (5, 0), reason="the page is about esptool 5")
@pytest.mark.parametrize("command", ROWS)
def test_it_works_or_is_refused_as_the_table_says(command: str, sealed: ChipProcess, content: Path) -> None:
    run = espefuse if command == "summary" else esptool
    done = run(sealed, command, *(word.format(file=content) for word in ARGUMENTS.get(command, [])))
    assert (done.exit_code == 0) == ROWS[command].startswith("works"), done.output


@pytest.mark.skipif(esptool_version() < (5, 0), reason="the page is about esptool 5")
def test_with_flash_encryption_writing_is_refused_and_erasing_is_not(tmp_path: Path, content: Path) -> None:
    with new_chip("esp32c3", tmp_path / "chip", flash_size=0x100000) as board:
        succeed(espefuse(board, "burn-efuse", "SPI_BOOT_CRYPT_CNT", "7"))
        assert esptool(board, "erase-region", "0x20000", "0x1000").exit_code, "before the seal it is refused"
        burn_flag(board, "ENABLE_SECURITY_DOWNLOAD")
        assert "force" in esptool(board, "write-flash", "0x20000", str(content)).output
        succeed(esptool(board, "erase-region", "0x20000", "0x1000"))
