# SPDX-License-Identifier: Apache-2.0
"""How long a real board would take for what a program does with the virtual chip: it is computed, and nobody waits.

The time is made of what goes over the wire, of what the host takes to turn around, and of what flash and eFuses take;
see docs/board-time.md for where the numbers are from.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from secure_ext.station.frozen import frozen

WIRE_CLOCK_FILE = "wire_clock.json"
_BITS_A_BYTE = 10
_PAGE, _SECTOR, _BLOCK = 0x100, 0x1000, 0x10000
_FLASH_DATA, _FLASH_BEGIN = (0x03, 0x11), (0x02, 0x10)
_CHANGE_BAUD = 0x0F
_RAM, _MD5, _ERASE = (0x05, 0x06, 0x07), (0x13,), (0xD0, 0xD1)


@frozen
class Assumptions:
    """What a usual board and station take.

    Attributes:
        reset_ms: from the reset lines to the answer of the loader: esptool's reset (0.1 s and 0.05 s of waiting), the
            start of the ROM, and its 8 answers to SYNC.
        turnaround_ms: from the end of an answer to the next request: USB adapter and operating system.
        sector_erase_ms: erasing 4 KB of flash.
        block_erase_ms: erasing 64 KB of flash at once.
        chip_erase_ms_per_mb: erasing all of the flash.
        page_program_ms: programming 256 bytes of flash.
        md5_ms_per_mb: the MD5 of what is in flash.
        burn_ms: one burn command of the eFuse controller.
        baud_change_ms: what esptool waits after a change of the baud rate.
    """

    reset_ms: float = 300
    turnaround_ms: float = 1.0
    sector_erase_ms: float = 45
    block_erase_ms: float = 150
    chip_erase_ms_per_mb: float = 2500
    page_program_ms: float = 0.4
    md5_ms_per_mb: float = 300
    burn_ms: float = 5
    baud_change_ms: float = 50

    @classmethod
    def of_words(cls, words: tuple[str, ...]) -> Assumptions:
        """The usual ones but for those in `words`, such as ``turnaround_ms=16``. Raises ValueError."""
        changed = {}
        for word in words:
            name, _, number = word.partition("=")
            if name not in {each.name for each in dataclasses.fields(cls)} or not 0 <= float(number) < 1e6:
                raise ValueError(word)
            changed[name] = float(number)
        return cls(**changed)


@dataclass
class WireClock:
    """Adds up; `stages` holds the seconds of each. `folder` is that of the state of the chip.

    The stub answers to a block of flash data before it programs it, so that it does so while the next one comes in.
    """

    folder: Path
    assume: Assumptions = field(default_factory=Assumptions)
    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    round_trips: int = 0
    connections: int = 0
    _busy: float = 0.0
    """Seconds that the flash is still busy with what was acknowledged."""

    def connected(self) -> None:
        """A program has reset the board."""
        self.connections += 1
        self._busy = 0.0
        self.stages["connect"] += self.assume.reset_ms / 1000

    def exchanged(self, command: int, sent: int, answered: int, baud: int, *, burns: bool) -> None:
        """A request of `sent` bytes and its answer, with all framing."""
        stage = self._stage_of(command, burns=burns)
        seconds = (sent + answered) * _BITS_A_BYTE / baud + self.assume.turnaround_ms / 1000
        self.round_trips += 1
        self._busy = max(self._busy - seconds, 0.0)
        self.stages[stage] += seconds
        if command == _CHANGE_BAUD:
            self.stages[stage] += self.assume.baud_change_ms / 1000

    def flash_erased(self, size: int, *, is_whole: bool) -> None:
        """What an erase costs; not of the stub for a write, which it does piece by piece while the data come."""
        blocks, rest = divmod(size, _BLOCK)
        milliseconds = blocks * self.assume.block_erase_ms + -(-rest // _SECTOR) * self.assume.sector_erase_ms
        if is_whole:
            milliseconds = min(milliseconds, size / (1 << 20) * self.assume.chip_erase_ms_per_mb)
        self.stages["erase"] += milliseconds / 1000

    def flash_programmed(self, size: int, *, is_stub: bool) -> None:
        """What a block of data costs."""
        milliseconds = -(-size // _PAGE) * self.assume.page_program_ms
        if not is_stub:
            self.stages["write"] += milliseconds / 1000
            return
        self.stages["write"] += self._busy  # the one before has to be done
        self._busy = (milliseconds + size / _BLOCK * self.assume.block_erase_ms) / 1000

    def flash_digested(self, size: int) -> None:
        """What an MD5 costs."""
        self.stages["verify"] += self._busy + size / (1 << 20) * self.assume.md5_ms_per_mb / 1000
        self._busy = 0.0

    def burned(self) -> None:
        """A burn command."""
        self.stages["burn"] += self.assume.burn_ms / 1000

    def store(self) -> None:
        """Writes it down in `folder`."""
        content = {
            "stages": [{"name": name, "milliseconds": round(seconds * 1000)} for name, seconds in self.stages.items()],
            "connections": self.connections,
            "round_trips": self.round_trips,
        }
        (self.folder / WIRE_CLOCK_FILE).write_text(json.dumps(content), encoding="ascii")

    @staticmethod
    def _stage_of(command: int, *, burns: bool) -> str:
        for commands, stage in (
            (_RAM, "connect"),
            (_ERASE, "erase"),
            ((*_FLASH_BEGIN, *_FLASH_DATA), "write"),
            (_MD5, "verify"),
        ):
            if command in commands:
                return stage
        return "burn" if burns else "look"
