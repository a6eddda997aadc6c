# SPDX-License-Identifier: Apache-2.0
"""Power: counts what happens on the chip, and lets the power go at a moment that was chosen before."""

from __future__ import annotations

import enum
import json
from collections import Counter
from pathlib import Path
from typing import TextIO

from secure_ext.prove.virtual_chip.process import CUT


class Event(str, enum.Enum):
    """What is counted, each from 1.

    CONNECTION: a program connects. FLASH: an erase or a write of flash. WRITE: a write to a register of the eFuse
    controller. BURN: a burn command that sets at least one new bit.
    """

    CONNECTION = "connection"
    FLASH = "flash"
    WRITE = "write"
    BURN = "burn"


class PowerLost(Exception):
    """The power is gone."""


class Power:
    """Counts events into a log, and cuts at one of them.

    Args:
        cut: the event and its number; None for never. It happens once. A CONNECTION is refused, a WRITE is not done,
            a FLASH or BURN stops half-way.
        log: JSON lines, one an event that changes the chip or begins a connection, and one for the cut.
    """

    def __init__(self, cut: tuple[Event, int] | None, log: Path | None) -> None:
        self._cut = cut
        self._log: TextIO | None = log.open("a", encoding="ascii") if log else None
        self.counts: Counter[Event] = Counter()

    def count(self, event: Event) -> bool:
        """Notes an event; whether the power goes now."""
        self.counts[event] += 1
        if event is not Event.WRITE:
            self._note(event.value)
        if self._cut != (event, self.counts[event]):
            return False
        self._cut = None
        self._note(CUT)
        return True

    def _note(self, event: str) -> None:
        if self._log:
            line = {"event": event, **{str(name.value): self.counts[name] for name in Event}}
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()

    def close(self) -> None:
        """Closes the log."""
        if self._log:
            self._log.close()
