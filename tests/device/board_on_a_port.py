# SPDX-License-Identifier: Apache-2.0
"""A board for ``--port``: a virtual chip that is there while a script runs on it."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.matrix_tools import Done, run

from secure_ext.chips.chip import load_chip, revision_bits
from secure_ext.prove.virtual_chip.process import ChipOptions, ChipProcess, events


@dataclass
class Board:
    """A board, with what happened to it. `folder` holds its state; `options` say what kind of board it is."""

    folder: Path
    options: ChipOptions
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder.with_suffix(".events")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch()

    def plugged_in(self, *, cut: str | None = None) -> ChipProcess:
        """The board on a port; its power goes at `cut`."""
        return ChipProcess(replace(self.options, log=self.log, cut=cut), self.folder)

    def provision(
        self, bundle: Path, *options: str, cut: str | None = None, environment: dict[str, str] | None = None
    ) -> Done:
        """Runs the bundle's script on the board."""
        with self.plugged_in(cut=cut) as chip:
            line = [sys.executable, str(bundle / "provision.py"), "--port", chip.url, "--baud", "115200"]
            return run([*line, *options], environment=environment)

    @property
    def happened(self) -> Counter[str]:
        """How many connections, flash writes and burns there were."""
        return Counter(event["event"] for event in events(self.log))

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was written or burned."""
        return not {"flash", "burn"} & set(self.happened)

    @property
    def flash(self) -> bytes:
        """What is in its flash."""
        return (self.folder / "flash.bin").read_bytes()

    @property
    def efuses(self) -> str:
        """What is burned."""
        return (self.folder / "efuses.json").read_text(encoding="ascii")


def make_board(folder: Path, chip: str, revision: int = 0, *, flash_size: int = 0x400000, **burned: int) -> Board:
    """A new board; `burned` are fields that somebody else has burned."""
    bits = revision_bits(load_chip(chip, revision), revision, 0, burned)
    named = tuple((int(block.removeprefix("BLOCK")), numbers) for block, numbers in bits)
    return Board(folder, ChipOptions(chip, flash_size=flash_size, bits=named))
