# SPDX-License-Identifier: Apache-2.0
"""A station that runs a bundle's own ``provision.py`` on a virtual chip, and what a refused run must look like."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chip_tools import fab_bits, new_chip
from support.matrix_bundles import shared_bundles
from support.matrix_cells import Bundles, Cell
from support.matrix_tools import Done, run

from secure_ext.prove.virtual_chip.fuses import Fuses
from secure_ext.prove.virtual_chip.process import ChipProcess

__all__ = ["ESP32", "ESP32C3", "ESP32C6", "Cell", "Station", "shared_bundles"]
ESP32C3 = Cell("esp32c3", "both")
ESP32C6 = Cell("esp32c6", "both")
ESP32 = Cell("esp32", "both")


@dataclass(frozen=True)
class Station:
    """Where boards are provisioned: the bundles, a folder for the chip, and a journal that all its runs share."""

    bundles: Bundles
    folder: Path

    def bundle(self, cell: Cell) -> Path:
        """The folder of a bundle; it must not be changed."""
        return self.bundles(cell).folder

    def board(self, cell: Cell, **options: Any) -> ChipProcess:
        """A new virtual chip of the revision that the bundle is for."""
        made = self.bundles(cell)
        bits = fab_bits(cell.chip, made.wanted.min_revision)
        return new_chip(cell.chip, self.folder / "chip", **{"bits": bits, **options})

    def command_line(self, bundle: Path, board: ChipProcess | str, *options: str) -> list[str]:
        """How a factory calls the script."""
        port = board if isinstance(board, str) else board.url
        line = [sys.executable, str(bundle / "provision.py"), "--port", port, "--baud", "115200", "--yes"]
        return [*line, "--journal", str(self.folder / "journal"), *options]

    def provision(self, bundle: Path, board: ChipProcess | str, *options: str) -> Done:
        """Runs the script to its end; `board` may also be a port."""
        return run(self.command_line(bundle, board, *options))

    def check_refusal(self, bundle: Path, board: ChipProcess, code: str) -> None:
        """The run is refused, and neither eFuses nor flash change."""
        before = board.efuses, board.flash
        check_stop(self.provision(bundle, board), code)
        assert (board.efuses, board.flash) == before


@pytest.fixture(name="station")
def new_station(bundles: Bundles, tmp_path: Path) -> Station:
    return Station(bundles, tmp_path)


def check_stop(done: Done, code: str) -> None:
    """It says what is wrong and what to do, and a script that calls it notices."""
    assert f"STOP {code}: " in done.output, done.output
    assert "What to do: " in done.output
    assert "Traceback" not in done.output
    assert done.exit_code in (3, 4, 5)


def holds_images(board: ChipProcess, bundle: Path) -> bool:
    """Whether each image of the bundle is in flash at its place."""
    images = json.loads((bundle / "manifest.json").read_text())["images"]
    contents = [(image["offset"], (bundle / image["file"]).read_bytes()) for image in images]
    return all(board.flash[offset : offset + len(content)] == content for offset, content in contents)


def check_whole(board: ChipProcess, bundle: Path) -> None:
    """The images are in flash, each key is whole in its block, and every flag of the plan is burned."""
    assert holds_images(board, bundle)
    steps = json.loads((bundle / "plan.json").read_text())["steps"]
    fields = json.loads((board.state / "efuse_layout.json").read_text())["fields"]
    fuses = Fuses(board.state / "efuses.json")
    flags = int.from_bytes(fuses.raw(0, 32), "little")
    for step in steps:
        if step["kind"] == "burn_key":
            key = (bundle / step["file"]).read_bytes()
            assert fuses.decoded(step["block_number"]).data == (key[::-1] if step["reversed"] else key), step
        elif step["kind"] == "burn_field":
            place = fields[step["field"]]
            assert flags >> place["start"] & ((1 << place["bits"]) - 1) == step["value"], step
