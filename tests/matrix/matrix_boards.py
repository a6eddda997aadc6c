# SPDX-License-Identifier: Apache-2.0
"""Boards with virtual eFuses, for the tests of what the script does on chips that are not new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.matrix_cells import Bundles, Cell, Made
from support.matrix_tools import Done, espefuse, provision, read_efuses
from support.release_oracle import not_release

ESP32 = Cell("esp32", "both")
ESP32C2 = Cell("esp32c2", "both")
ESP32C6 = Cell("esp32c6", "both")
ESP32C6_BOOT = Cell("esp32c6", "boot")
ESP32S3 = Cell("esp32s3", "both", key_bits=256)


@dataclass
class Board:
    """A virtual chip of one's own, and the bundle that is for it."""

    made: Made
    chip_file: Path

    @property
    def chip(self) -> str:
        return self.made.cell.chip

    def provision(self, *options: str, yes: bool = True) -> Done:
        return provision(self.made.folder, self.chip_file, *options, yes=yes)

    def burn(self, *words: str) -> None:
        espefuse(self.chip, self.chip_file, *words)

    def unmet(self) -> list[str]:
        return not_release(self.chip, read_efuses(self.chip, self.chip_file), self.made.wanted)

    def key(self, name: str) -> str:
        return str(self.made.folder / "keys" / name)

    @property
    def digest(self) -> str:
        return str(self.made.folder / "digests" / "secure_boot_digest_0.bin")

    def expect_refusal(self, code: str) -> str:
        """Exit code 5 with this error, and not one bit changed; returns what the script said."""
        before = self.chip_file.read_bytes()
        done = self.provision()
        assert (done.exit_code, f"STOP {code}" in done.output) == (5, True), done.output
        assert self.chip_file.read_bytes() == before
        assert not Path(f"{self.chip_file}.journal.json").exists()
        return done.output


Boards = Callable[[Cell], Board]


@pytest.fixture(name="board")
def new_board(bundles: Bundles, tmp_path: Path) -> Boards:
    """Makes a board with a blank chip of the right revision."""

    def blank(cell: Cell) -> Board:
        new = Board(bundles(cell), tmp_path / f"{cell}.bin")
        assert new.provision("--dry-run").exit_code == 0
        return new

    return blank
