# SPDX-License-Identifier: Apache-2.0
"""Finding and calling espefuse and esptool, 4.8 to 5.x, without ever showing what they print about keys.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Optional

from secure_ext.station.tool_faults import ToolFault, fault_of_computer, other_version
from secure_ext.station.tool_surroundings import from_anywhere, tool_surroundings

MINIMUM_VERSION = (4, 8)
_INSTALL = f'on this computer (the board is not at fault): "{sys.executable}" -m pip install --upgrade esptool'
_ERROR_LINE = re.compile(
    r"(?:ERROR: )?(?:A (?:fatal|serial exception) error occurred: |[\w.]+(?:Error|Exception): )(.+)"
)
_HEX_RUN = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2}[ :,]?){8,}")
_HEX_DIGITS = re.compile(r"[0-9a-fA-F]{12,}")


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


@dataclass(frozen=True)
class Connection:
    """How the chip is reached: a serial port, or a file of virtual eFuses."""

    chip: str
    port: str | None
    baud: int
    before: str
    virtual_file: str | None


@dataclass(frozen=True)
class EspTools:
    """The installed esptool: how its programs are started, and its version."""

    commands: dict[str, tuple[str, ...]]
    version: tuple[int, int]

    @property
    def speaks_hyphens(self) -> bool:
        """True from 5.0 on; before, commands and reset modes are written with underscores."""
        return self.version >= (5, 0)

    def spell(self, word: str) -> str:
        """A command name or reset mode as this version writes it."""
        return word if self.speaks_hyphens else word.replace("-", "_")

    def espefuse(self, connection: Connection, arguments: Sequence[str]) -> list[str]:
        """The command line that runs espefuse with `arguments`, whose command names are written with hyphens."""
        line = [*self.commands["espefuse"], "--chip", connection.chip]
        if connection.virtual_file:
            line += ["--virt", "--path-efuse-file", str(Path(connection.virtual_file).absolute())]
        else:
            line += ["--before", self.spell(connection.before), "--port", from_anywhere(str(connection.port))]
        if self.version < (5, 2):
            # later ones do it by themselves: the eFuses that enable a feature are burned last
            line.append("--postpone")
        return [*line, "--do-not-confirm", *(self._spell_command(word) for word in arguments)]

    def esptool(
        self, connection: Connection, arguments: Sequence[str], *, after: str = "no-reset", stub: bool = False
    ) -> list[str]:
        """The command line that runs esptool. The chip is left in the loader, so that no firmware starts.

        Args:
            connection: how the chip is reached.
            arguments: the command, written with hyphens, and its own arguments.
            after: the reset mode at the end.
            stub: let esptool load its flasher stub into the chip. Without it the chip's own ROM loader does the work:
                it is there in every state of the chip, and a rehearsal runs exactly what a board will see.
        """
        line = [*self.commands["esptool"], "--chip", connection.chip, "--before", self.spell(connection.before)]
        line += [] if stub else ["--no-stub"]
        port = from_anywhere(str(connection.port))
        line += ["--after", self.spell(after), "--baud", str(connection.baud), "--port", port]
        return [*line, *(self._spell_command(word) for word in arguments)]

    def run(self, line: Sequence[str]) -> ToolResult:
        """As the function `run`. Raises Stop SE835, too, if another version answers than the one found first."""
        result = run(line)
        _stop_at(other_version(_program(line), result.output, self.version))
        return result

    def _spell_command(self, word: str) -> str:
        return self.spell(word) if word in _COMMANDS else word


_COMMANDS = frozenset(
    {
        "burn-key",
        "burn-efuse",
        "burn-bit",
        "write-protect-efuse",
        "read-protect-efuse",
        "check-error",
        "write-flash",
        "erase-flash",
        "erase-region",
        "verify-flash",
        "flash-id",
        "chip-id",
        "get-security-info",
    }
)

FAULTS_OF_COMPUTER = ("SE801", "SE802", "SE803", "SE833", "SE834", "SE835", "SE836", "SE837")
"""Codes that say nothing about a board, nor about a file of virtual eFuses."""


def find_tools() -> EspTools:
    """The esptool of this Python, or the one on PATH.

    Raises Stop (exit code 4): SE801 not found, SE802 too old or of an unknown version.
    """
    commands: dict[str, tuple[str, ...]] = {}
    for name in ("espefuse", "esptool"):
        if importlib.util.find_spec(name):
            commands[name] = (sys.executable, "-m", name)
            continue
        found = shutil.which(name) or shutil.which(name + ".py")
        if not found:
            raise Stop(4, "SE801", f"{name} is not installed for this Python", _INSTALL)
        commands[name] = (found,)
    match = re.search(r"v?(\d+)\.(\d+)", _version_text(commands["esptool"]))
    version = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    if version < MINIMUM_VERSION:
        raise Stop(4, "SE802", f"esptool {version[0]}.{version[1]} is too old", _INSTALL)
    return EspTools(commands, version)


def _version_text(command: tuple[str, ...]) -> str:
    if command[0] == sys.executable:
        try:
            return importlib.metadata.version("esptool")
        except importlib.metadata.PackageNotFoundError:
            pass  # it lies on the path without having been installed
    return run([*command, "version"]).output


@dataclass(frozen=True)
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


def _ignore_interruptions() -> None:
    for number in _INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)


def run_to_its_end(line: Sequence[str]) -> ToolResult:
    """As `run`, and no interruption ends it before: in the middle of a burn that would cost the board.

    Raises KeyboardInterrupt afterwards if there was one.
    """
    noticed: list[bool] = []
    with interruptions(lambda *_: noticed.append(True)):
        result = run(line, apart=True)
    if noticed:
        raise KeyboardInterrupt
    return result


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


def run(line: Sequence[str], *, apart: bool = False) -> ToolResult:
    """Runs a program and collects what it prints; `apart` keeps interruptions from it, wherever they come from.

    A result that comes back tells of the board. Raises Stop for what is wrong with this computer: SE803 if it cannot be
    started, and the codes of `fault_of_computer`.
    """
    surroundings = tool_surroundings()
    try:
        done = subprocess.run(
            list(line),
            cwd=surroundings.folder,
            env=surroundings.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            start_new_session=apart and os.name != "nt",
            preexec_fn=_ignore_interruptions if apart and os.name != "nt" else None,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0) if apart else 0,
        )
    except OSError as error:
        raise Stop(4, "SE803", f"{line[0]} cannot be started: {error}", _INSTALL) from None
    _stop_at(fault_of_computer(_program(line), done.returncode, done.stdout))
    return ToolResult(done.returncode, done.stdout)


def _stop_at(fault: Optional[ToolFault]) -> None:
    if fault:
        raise Stop(4, fault.code, redact(fault.cause), fault.cure)


def _program(line: Sequence[str]) -> str:
    """The name of the program that a command line starts."""
    names = [Path(word).stem for word in line[:3]]
    return next((name for name in ("espefuse", "esptool") if name in names), names[0])
