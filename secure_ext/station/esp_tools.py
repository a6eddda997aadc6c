# SPDX-License-Identifier: Apache-2.0
"""Where esptool is, what it and espefuse said, without ever showing what they print about keys, and how a run stops.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Optional

from secure_ext.station.frozen import frozen

INSTALL = f'on this computer (the board is not at fault): "{sys.executable}" -m pip install --upgrade esptool'
_ERROR_LINE = re.compile(
    r"(?:ERROR: )?(?:A (?:fatal|serial exception) error occurred: |[\w.]+(?:Error|Exception): )(.+)"
)
_HEX_RUN = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2}[ :,]?){8,}")
_HEX_DIGITS = re.compile(r"[0-9a-fA-F]{13,}")


class Stop(Exception):
    """Provisioning stops: a code, the cause, what to do next, and the exit code of the script."""

    def __init__(self, exit_code: int, code: str, cause: str, cure: str) -> None:
        super().__init__(f"{code}: {cause}")
        self.exit_code = exit_code
        self.code = code
        self.cause = cause
        self.cure = cure


def redact(text: str) -> str:
    """`text` without anything that could be key material: espefuse's own messages can hold key bytes."""
    return _HEX_DIGITS.sub("<hidden>", _HEX_RUN.sub("<hidden> ", text))


FAULTS_OF_COMPUTER = ("SE801", "SE802", "SE803", "SE833", "SE834", "SE835", "SE836", "SE837")
"""Codes that say nothing about a board, nor about a file of virtual eFuses."""


def find_python() -> str:
    """The Python that has esptool: this one, or the one that runs the esptool on PATH. Raises Stop SE801."""
    if importlib.util.find_spec("esptool") and importlib.util.find_spec("espefuse"):
        return sys.executable
    found = shutil.which("espefuse") or shutil.which("espefuse.py")
    python = _python_of(Path(found)) if found else None
    if python is None:
        raise Stop(4, "SE801", "esptool is not installed for this Python", INSTALL)
    return python


def _python_of(program: Path) -> Optional[str]:
    """The Python in the first line of a program that pip has installed; on Windows that line is inside the program."""
    with contextlib.suppress(OSError):
        lines = re.findall(rb"#!\"?([^\"\r\n]*?python[^\"\r\n]*)", program.read_bytes()[-0x40000:])
        names = (os.fsdecode(line).strip() for line in reversed(lines))
        return next((name for name in names if shutil.which(name)), None)
    return None


@frozen
class ToolResult:
    """What a program did. `output` may hold key material: show it only through `redact`."""

    exit_code: int
    output: str

    def last_words(self) -> str:
        """What the program ended with, safe to show: its error, or the last it said."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        errors = [match.group(1) for match in map(_ERROR_LINE.match, lines) if match]
        return redact(errors[-1] if errors else " / ".join(lines[-3:]))


_INTERRUPTIONS = [
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
    if (number := getattr(signal, name, None)) is not None
]
"""Ctrl-C, a polite kill, a terminal that is closed, Ctrl-\\, Ctrl-Break."""


@contextlib.contextmanager
def interruptions(handler: Callable[[int, Optional[FrameType]], object]) -> Iterator[None]:
    """Calls `handler` for every interruption that is not ignored."""
    numbers = [number for number in _INTERRUPTIONS if signal.getsignal(number) != signal.SIG_IGN]
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, earlier in before:
            signal.signal(number, earlier or signal.SIG_DFL)
