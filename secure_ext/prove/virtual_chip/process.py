# SPDX-License-Identifier: Apache-2.0
"""Starts and stops the process of a virtual chip, and reads what it kept."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from secure_ext.documents.rehearsal import BoardTime
from secure_ext.errors import ToolError
from secure_ext.prove.virtual_chip.wire_clock import WIRE_CLOCK_FILE
from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import read_document

_PACKAGE = Path(__file__).resolve().parents[2]
_RUN_OWN_MODULE = """\
import runpy, sys
sys.path[:] = [sys.argv.pop(1), *(entry for entry in sys.path if entry)]
import secure_ext
del sys.path[0]
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
CUT = "cut"
"""The event in a chip's log that its power went."""
EFUSE_FILE = "efuses.json"
EFUSES_BEFORE_THE_CUT = "efuses_before_the_cut.json"
"""Kept where the power goes half-way through a burn."""


def own_module(module: str) -> list[str]:
    """The command line that runs a module of this very package with this Python, installed or not.

    As a component of an ESP-IDF project the package lies in a folder that only this process knows. The child gets the
    folder for the import of the package alone, and never the current directory: nothing that lies there can take the
    place of esptool or of a module of Python.
    """
    return [sys.executable, "-c", _RUN_OWN_MODULE, str(_PACKAGE.parent), module]


@frozen
class ChipOptions:
    """What kind of chip it is.

    Attributes:
        chip: target name.
        flash_size: bytes of flash of a new chip.
        bits: what the fab burned into a new chip: block number and bit numbers.
        cut: the event and its number at which the power goes, such as ``burn:2``; see `virtual_chip.power`.
        log: file for what happens on it.
        port: TCP port; 0 for a free one.
        mac: MAC address of a new chip, 12 hexadecimal digits; one that no manufacturer gives.
        assume: what is assumed of how long a real board takes, as ``NAME=VALUE``; see `wire_clock`.
    """

    chip: str
    flash_size: int = 0x400000
    bits: tuple[tuple[int, tuple[int, ...]], ...] = ()
    cut: str | None = None
    log: Path | None = None
    port: int = 0
    mac: str = "020000000001"
    assume: tuple[str, ...] = ()

    def words(self) -> Iterable[str]:
        """The options of the process."""
        yield from ("--chip", self.chip, "--flash-size", hex(self.flash_size), "--port", str(self.port))
        yield from ("--mac", self.mac)
        for block, numbers in self.bits:
            yield from ("--bits", f"{block}:{','.join(str(number) for number in numbers)}")
        for word in self.assume:
            yield from ("--assume", word)
        if self.cut:
            yield from ("--cut", self.cut)
        if self.log:
            yield from ("--log", str(self.log))


@dataclass
class ChipProcess:
    """A running virtual chip, as a context manager. Its eFuses and flash are kept in the folder `state`."""

    options: ChipOptions
    state: Path
    tcp_port: int = 0
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """What esptool and espefuse take as ``--port``."""
        return f"socket://127.0.0.1:{self.tcp_port}"

    def __enter__(self) -> ChipProcess:
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [*own_module("secure_ext.prove.virtual_chip"), "--state", str(self.state), *self.options.words()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line.strip().isdigit():
            _, errors = self._process.communicate()
            raise _does_not_start(self.options.chip, errors)
        self.tcp_port = int(line)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.communicate()  # closing its stdin ends it

    def wait(self) -> None:
        """Returns when the process has ended by itself."""
        if self._process:
            self._process.wait()

    @property
    def efuses(self) -> dict[str, str]:
        """What is burned, block by block, in hexadecimal; keys included."""
        path = self.state / EFUSE_FILE
        stored: dict[str, str] = json.loads(path.read_text(encoding="ascii")) if path.exists() else {}
        return stored

    @property
    def board_time(self) -> BoardTime | None:
        """How long a real board would have taken until the last program has left; None before the first has."""
        path = self.state / WIRE_CLOCK_FILE
        return read_document(BoardTime, json.loads(path.read_text(encoding="ascii"))) if path.exists() else None

    @property
    def flash(self) -> bytes:
        """The content of the flash."""
        return (self.state / "flash.bin").read_bytes()


def _does_not_start(chip: str, errors: str) -> ToolError:
    last = " ".join(errors.split()[-12:])
    missing = re.search(r"No module named '?(\w+)", last)
    what = "--upgrade esptool" if missing is None else missing[1]
    return ToolError(
        "SE840",
        f"the virtual {chip} does not start: {last}",
        cure=f"run: {sys.executable} -m pip install {what}",
    )


def events(log: Path) -> list[dict[str, Any]]:
    """What a chip wrote into its log."""
    return [json.loads(line) for line in log.read_text(encoding="ascii").splitlines()]
