# SPDX-License-Identifier: Apache-2.0
"""The connection to one board, which a process of its own holds: starts it, asks it, and tells what is wrong with it.

See `board_helper` for that process. Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Optional

from secure_ext.station.chip_facts import FACTS
from secure_ext.station.esp_tools import (
    INSTALL,
    Stop,
    ToolResult,
    find_python,
    interruptions,
    redact,
)
from secure_ext.station.frozen import frozen
from secure_ext.station.helper_program import BOARD_HELPER
from secure_ext.station.tool_faults import fault_of_computer, other_version
from secure_ext.station.tool_surroundings import from_anywhere, tool_surroundings

MINIMUM_VERSION = (4, 8)
CONNECT_BAUD = 115200
"""At which esptool connects (`ESPLoader.ESP_ROM_BAUD`), and espefuse burns."""
ROM_BAUD = 460800
"""The fastest that is asked of the ROM loader."""
_RUN_STDIN = 'import sys; exec(compile(sys.stdin.buffer.read({size}), "board_helper", "exec")); main()'
Progress = Callable[[int, int], None]
"""Is told the flash offset that is written, and the percentage of the image it belongs to."""


@frozen
class Connection:
    """How the chip is reached: a serial port, a file of virtual eFuses, or an eFuse token, which is only read.

    Attributes:
        chip: target name; ``auto`` for whichever it is.
        port: serial port, as esptool takes it.
        before: reset before connecting.
        baud: the fastest that the line holds; None if nobody has said.
        virtual_file: file of virtual eFuses.
        token: text of an eFuse token. It may hold a key.
    """

    chip: str
    port: Optional[str] = None
    before: str = "default-reset"
    baud: Optional[int] = None
    virtual_file: Optional[str] = None
    token: Optional[str] = field(default=None, repr=False)

    @property
    def resets(self) -> bool:
        """Whether connecting again finds the board reset: at its first baud rate, with nothing loaded into its RAM.

        Where it does not, only the ROM loader can be used, at the baud rate at which it was found.
        """
        return self.before != "no-reset"

    @property
    def read_baud(self) -> int:
        """At which the ROM loader is asked what it can be asked again."""
        facts = FACTS.get(self.chip)
        if facts is None or facts.crystal_by_baud or not self.resets:
            return CONNECT_BAUD
        return min(self.baud or ROM_BAUD, ROM_BAUD)

    @property
    def source(self) -> list[str]:
        """Where espefuse reads instead of on a board."""
        if self.token:
            return ["--token", self.token]
        return virtual_source(self.virtual_file) if self.virtual_file else []


def virtual_source(file: str) -> list[str]:
    """espefuse's options for a file of virtual eFuses."""
    return ["--virt", "--path-efuse-file", str(Path(file).absolute())]


class BoardLink:
    """A board, as long as its connection is held; a context manager. `version` is esptool's.

    `is_stub` tells whether esptool's flasher stub answers, and no longer the ROM loader; `closed` how a burn has closed
    the board: ``secure`` download mode, as it says itself, or ``silent``, or ``open`` though it refused to go on.

    Each request raises Stop for what is wrong with this computer: SE803 if the process cannot be started, and the codes
    of `fault_of_computer`. What comes back tells of the board.
    """

    def __init__(self, connection: Connection, progress: Optional[Progress] = None) -> None:
        self.connection = connection
        self.version = (0, 0)
        self.is_stub = False
        self.closed = ""
        self._progress = progress
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._is_waiting = False

    def __enter__(self) -> BoardLink:
        """Starts the process, which loads esptool. Raises Stop SE801 (not found), SE802 (too old)."""
        surroundings = tool_surroundings()
        program = BOARD_HELPER.encode()
        line = [find_python(), "-c", _RUN_STDIN.format(size=len(program))]
        try:
            self._process = subprocess.Popen(
                line,
                cwd=surroundings.folder,
                env={**surroundings.environment, "PYTHONIOENCODING": "utf-8"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=os.name != "nt",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise Stop(4, "SE803", f"{line[0]} cannot be started: {error}", INSTALL) from None
        self._send(program)
        try:
            found = self._ask({"chip": self.connection.chip})
            self._result("esptool", found)
            self.version = _pair(found["version"])
            if self.version < MINIMUM_VERSION:
                raise Stop(4, "SE802", f"esptool {self.version[0]}.{self.version[1]} is too old", INSTALL)
            fault = other_version(self.version, _pair(found.get("installed", found["version"])))
            if fault:
                raise Stop(4, fault.code, fault.cause, fault.cure)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process; in the middle of a request, such as a flash write that was interrupted, at once."""
        process = self._process
        if process is None:
            return
        self._process = None
        if self._is_waiting:
            process.kill()
        with contextlib.suppress(OSError):
            process.communicate()

    def connect(self) -> ToolResult:
        """Connects, which resets the board; an earlier connection is closed."""
        port, baud = from_anywhere(str(self.connection.port)), self.connection.read_baud
        found = self._ask({"do": "connect", "port": port, "before": self.connection.before, "baud": baud})
        self.is_stub = bool(found.get("is_stub"))
        return self._result("esptool", found)

    def esptool(self, words: Sequence[str]) -> ToolResult:
        """One command of esptool, written with hyphens, through whatever answers."""
        return self._result("esptool", self._ask({"do": "esptool", "words": list(words)}))

    def reset(self, mode: str) -> ToolResult:
        """Resets the board in a way that esptool knows, such as ``hard-reset``, so that its firmware starts."""
        return self._result("esptool", self._ask({"do": "reset", "mode": mode}))

    def espefuse(self, words: Sequence[str], source: Optional[list[str]] = None) -> ToolResult:
        """Commands of espefuse that burn nothing, written with hyphens; on another `source` than the connection's."""
        given = self.connection.source if source is None else source
        request = {"do": "espefuse", "words": list(words), "source": given}
        return self._result("espefuse", self._ask(request))

    def burn(self, words: Sequence[str], mac: str, how_far: str = "") -> ToolResult:
        """Commands of espefuse that burn, on the board with that MAC address. No interruption ends it before.

        Raises Stop SE828, which says `how_far` the board was, if another one answers right before or after a burn; that
        one is not burned. Raises KeyboardInterrupt afterwards if there was an interruption.
        """
        noticed: list[bool] = []
        request = {"do": "burn", "words": list(words), "mac": mac, "source": self.connection.source}
        with interruptions(lambda *_: noticed.append(True)):
            found = self._ask(request, may_be_killed=False)
        if "another_board" in found:
            raise taken_away(mac, f"{found['another_board']} ({how_far})")
        self.closed = found.get("closed", "")
        result = self._result("espefuse", found)
        if noticed:
            raise KeyboardInterrupt
        return result

    def start_stub(self) -> ToolResult:
        """Starts esptool's flasher stub, where there is one that runs on this board; `is_stub` then says so."""
        found = self._ask({"do": "start_stub"})
        self.is_stub = bool(found.get("is_stub"))
        return self._result("esptool", found)

    def set_baud(self, baud: int) -> ToolResult:
        """Goes on at another baud rate."""
        return self._result("esptool", self._ask({"do": "set_baud", "baud": baud}))

    def flash_md5(self, ranges: Sequence[tuple[int, int]]) -> Optional[list[str]]:
        """MD5 of pieces of flash, each with its offset and size in bytes; None if the board does not tell."""
        found = self._ask({"do": "flash_md5", "ranges": [list(one) for one in ranges]})
        return None if self._result("esptool", found).exit_code else list(found["md5"])

    def encrypt(self, key: bytes, offset: int, content: bytes, *, xts: bool) -> bytes:
        """Content as flash encryption has it at a flash offset; by espsecure, in memory. Raises Stop SE803."""
        request = {"key": key.hex(), "offset": offset, "content": content.hex(), "xts": xts}
        found = self._ask({"do": "encrypt", **request})
        result = self._result("espsecure", found)
        if result.exit_code:
            raise Stop(4, "SE803", f"espsecure failed: {result.last_words()}", INSTALL)
        return bytes.fromhex(found["content"])

    def require_board(self, mac: str, otherwise: str) -> None:
        """Raises Stop SE828, which says `otherwise` what became of it, if not the board with that MAC answers."""
        found = self._ask({"do": "mac"})
        if self._result("esptool", found).exit_code or found["mac"] != mac:
            raise taken_away(mac, otherwise)

    def _send(self, content: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the board's process was not started")
        with contextlib.suppress(BrokenPipeError):  # it has ended, which the next answer tells
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def _ask(self, request: dict[str, Any], *, may_be_killed: bool = True) -> dict[str, Any]:
        """The answer to a request; of a process that ends instead, its exit code and what it said."""
        self._is_waiting = may_be_killed
        self._send(json.dumps(request).encode() + b"\n")
        process, said = self._process, ""
        if process is None or process.stdout is None:
            raise RuntimeError("the board's process was not started")
        for line in process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                said += line.decode("utf-8", "replace")
                continue
            if "percent" in answer:
                if self._progress:
                    self._progress(answer["offset"], answer["percent"])
                continue
            self._is_waiting = False
            return dict(answer)
        self._is_waiting = False
        return {"exit_code": process.wait() or 1, "output": said}

    def _result(self, program: str, found: dict[str, Any]) -> ToolResult:
        fault = fault_of_computer(program, found["exit_code"], found["output"])
        if fault:
            raise Stop(4, fault.code, redact(fault.cause), fault.cure)
        return ToolResult(found["exit_code"], found["output"])


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    major, minor = numbers
    return major, minor


def taken_away(mac: str, otherwise: str) -> Stop:
    """Why nothing goes on: the board with that MAC address is no longer there."""
    return Stop(
        5,
        "SE828",
        f"another board was connected in between, or the board {mac} has lost its power: {otherwise}",
        f"nothing was burned on any other board. Run the script again with the board {mac}: it reads it and continues",
    )
