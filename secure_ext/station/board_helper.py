# SPDX-License-Identifier: Apache-2.0
"""Holds the connection to one board, and does on it what the runner asks for: one command, or one list of eFuses.

A program of its own, for esptool and espefuse, which it imports, are GPL programs; it gets its own text and then the
requests on stdin, a JSON line each. It answers on stdout with a JSON line each, after lines that tell how far it is.
No interruption ends it. When the runner is gone it ends, but never in the middle of a burn.

It starts both programs by what both document for a connected board in every version from 4.8 to 5.x: ``main`` with the
words of the command line and the board (``esp``). Part of ``provision.py``: standard library and esptool only, Python
3.9 and later.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import queue
import re
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any, Optional

from secure_ext.station.burn_guard import SYNC_BAUD, AnotherBoard, BurnGuard, Closed, change_baud, mac_of

_PIECE = 0x1000
_LINE = 400
"""Characters in which a line of progress is looked for: 5.x prints it in pieces."""
_POSTPONED_BY_ITSELF = (5, 2)
"""The first espefuse that burns the eFuses which enable a feature last without being told to."""
_CLOSING = frozenset({"ENABLE_SECURITY_DOWNLOAD", "DIS_DOWNLOAD_MODE", "UART_DOWNLOAD_DIS"})
_SECURE_DOWNLOAD = 1 << 2
"""The ROM's flag for secure download mode (esptool, ``loader.py``, `SECURITY_INFO_FLAG_MAP`)."""
_COMMANDS = {
    *("burn-key", "burn-block-data", "burn-efuse", "burn-bit", "write-protect-efuse", "read-protect-efuse"),
    "check-error",
    *("write-flash", "erase-flash", "erase-region", "read-flash", "verify-flash"),
    *("flash-id", "chip-id", "get-security-info"),
}
_OPTIONS = {"--flash-mode", "--flash-freq", "--flash-size"}
_WRITING = re.compile(r"Writing at 0x([0-9a-fA-F]+)[^\r\n]*?(\d+)(?:\.\d+)? ?%")


class Output(io.StringIO):
    """What the programs print. It may hold key material, and goes to the runner alone."""

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        super().__init__()
        self._tell = tell
        self._line = ""

    def write(self, text: str) -> int:
        """Keeps it, and tells what it says of a flash write: the offset, and the percentage of that image."""
        self._line = (self._line + text)[-_LINE:]
        *_, match = [None, *_WRITING.finditer(self._line)]
        if match:
            self._tell(int(match.group(1), 16), int(match.group(2)))
            self._line = self._line[match.end() :]
        return super().write(text)


def read_in_pieces(port: Any) -> None:
    """Lets a network port tell how much has come in, as a serial port does: pyserial knows only whether there is some.

    esptool reads as much as is there at once, which would be a byte.
    """
    kind = type(port)
    if kind.__module__ == "serial.urlhandler.protocol_socket" and hasattr(socket, "MSG_DONTWAIT"):
        port.__class__ = type("Serial", (kind,), {"in_waiting": property(_received)})


def _received(port: Any) -> int:
    try:
        return len(port._socket.recv(_PIECE, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return 0


def spare_work(esptool: Any) -> None:
    """Leaves out what takes most of the time of the programs, and changes nothing that they do."""
    yaml: Any = sys.modules.get("yaml")
    if hasattr(yaml, "CSafeLoader"):
        yaml.SafeLoader = yaml.CSafeLoader  # the same in C: espefuse reads its table of eFuses anew for each command
    loader: Any = getattr(esptool, "loader", None)
    if hasattr(loader, "HexFormatter"):
        loader.HexFormatter = Untraced  # 5.x writes each packet out for a trace that nobody has asked for


class Untraced:
    """Stands for bytes in a trace that is not shown."""

    def __init__(self, *_: object) -> None:
        pass


class Session:
    """The connection, and what can be asked of it; each public method is a request."""

    def __init__(self, programs: tuple[Any, Any], chip: str) -> None:
        self._esptool, self._espefuse = programs
        self._version = version_of(self._esptool.__version__)
        self._chip = chip
        self._port = ""
        self._esp: Any = None
        self._stub: Any = None
        self.is_burning = False

    def connect(self, port: str, before: str, baud: int) -> dict[str, Any]:
        """Connects, which resets the board into its ROM loader; an earlier connection is closed.

        It goes on at `baud`, but for the commands that burn.
        """
        self.close()
        sys.stdout.write(f"espefuse v{self._version[0]}.{self._version[1]}\n")
        self._port = port
        esp = self._espefuse.get_esp(port, SYNC_BAUD, self._spelled(before), self._chip)
        if esp.IS_STUB:
            self._stub = esp
        else:
            self._esp = esp
            change_baud(esp, baud)
        read_in_pieces(esp._port)
        for kind in (type(esp), esp.STUB_CLASS):
            kind.WRITE_FLASH_ATTEMPTS = 1  # from 4.9 on it would connect anew by itself, to whichever board is there
        return {"is_stub": bool(esp.IS_STUB)}

    def start_stub(self) -> dict[str, Any]:
        """Starts esptool's flasher stub where esptool has one that runs on this board."""
        start = getattr(self._esptool.cmds, "run_stub", lambda esp: esp.run_stub())
        esp = start(self._esp)
        if esp.IS_STUB:
            self._stub, self._esp = esp, None
        return {"is_stub": bool(esp.IS_STUB)}

    def set_baud(self, baud: int) -> dict[str, Any]:
        """Goes on at another baud rate."""
        change_baud(self._stub or self._esp, baud)
        return {}

    def esptool(self, words: list[str]) -> dict[str, Any]:
        """One command of esptool."""
        line = ["--chip", self._chip, "--port", self._port, "--baud", str(SYNC_BAUD)]
        if self._stub is None:
            line += ["--no-stub", "--after", self._spelled("no-reset")]
        else:
            self._stub.sync_stub_detected = True  # it runs already
            line += ["--after", self._spelled("no-reset-stub")]
        line += [self._spelled_word(word) for word in words]
        self._esptool.main(line, self._stub or self._esp)
        return {}

    def reset(self, mode: str) -> dict[str, Any]:
        """Starts the firmware; a board that is closed by now answers nothing, and can be reset all the same."""
        esp = self._stub or self._esp
        if hasattr(self._esptool.cmds, "reset_chip"):
            self._esptool.cmds.reset_chip(esp, mode)
        elif mode == "soft-reset":
            esp.soft_reset(False)
        else:
            getattr(esp, mode.replace("-", "_"))()
        return {}

    def flash_md5(self, ranges: list[list[int]]) -> dict[str, Any]:
        """MD5 of pieces of flash, each with its offset and size in bytes."""
        return {"md5": [(self._stub or self._esp).flash_md5sum(offset, size) for offset, size in ranges]}

    def encrypt(self, key: str, offset: int, content: str, *, xts: bool) -> dict[str, Any]:
        """Content in hex as flash encryption has it at a flash offset, by espsecure; the key is in no file."""
        espsecure = importlib.import_module("espsecure")
        output = io.BytesIO()
        settings = {
            "keyfile": io.BytesIO(bytes.fromhex(key)),
            "output": output,
            "plaintext_file": io.BytesIO(bytes.fromhex(content)),
            "address": offset,
            "flash_crypt_conf": 0xF,
            "aes_xts": xts,
        }
        if self._version >= (5, 0):
            espsecure.encrypt_flash_data(**settings)
        else:
            espsecure.encrypt_flash_data(argparse.Namespace(**settings))
        return {"content": output.getvalue().hex()}

    def mac(self) -> dict[str, Any]:
        """Whose registers answer now."""
        return {"mac": mac_of(self._stub or self._esp)}

    def espefuse(self, words: list[str], source: list[str]) -> dict[str, Any]:
        """Commands of espefuse that burn nothing; on the board, or on the `source` that its options name."""
        self._run_espefuse(words, source)
        return {}

    def burn(self, words: list[str], mac: str, source: list[str]) -> dict[str, Any]:
        """One list of commands that burn, on the board with that MAC address, through its ROM loader."""
        self.is_burning = True
        closes = bool(_CLOSING.intersection(words))
        try:
            if source:
                self._run_espefuse(words, source)
                return {}
            with BurnGuard(self._esp, self._chip, mac, closes=closes):
                self._run_espefuse(words, source)
        except Closed:
            return {"closed": self._how_closed()}
        finally:
            self.is_burning = False
        return {}

    def _how_closed(self) -> str:
        """What a board that has just been closed still tells: ``secure`` download mode, or it is ``silent``."""
        try:
            if "security_info" in self._esp.cache:
                self._esp.cache["security_info"] = None  # of before
            flags = int(self._esp.get_security_info()["flags"])
        except Exception:
            return "silent"
        return "secure" if flags & _SECURE_DOWNLOAD else "open"

    def close(self) -> None:
        """Closes the port."""
        for esp in (self._stub, self._esp):
            if esp is not None:
                with contextlib.suppress(Exception):
                    esp._port.close()
        self._esp = self._stub = None

    def _run_espefuse(self, words: list[str], source: list[str]) -> None:
        line = ["--chip", self._chip, *source]
        line += [] if self._version >= _POSTPONED_BY_ITSELF else ["--postpone"]
        line += ["--do-not-confirm", *map(self._spelled_word, words)]
        esp = None if source else self._esp
        if hasattr(self._espefuse, "cli"):
            # 5.x: its `main` takes the board, too, and loses it on the way to the command line, which keeps what
            # earlier calls registered: burning would be done once more after whatever is called next
            importlib.reload(self._espefuse).cli(args=line, obj={} if esp is None else {"esp": esp})
        else:
            self._espefuse.main(line, esp)

    def _spelled(self, word: str) -> str:
        """From 5.0 on words are written with hyphens, before with underscores."""
        return word if self._version >= (5, 0) else word.replace("-", "_")

    def _spelled_word(self, word: str) -> str:
        if word in _OPTIONS:
            return "--" + self._spelled(word[2:])
        return self._spelled(word) if word in _COMMANDS else word


REQUESTS = ("connect", "start_stub", "set_baud", "esptool", "reset", "flash_md5", "encrypt", "mac", "espefuse", "burn")


def outcome_of(work: Callable[[], dict[str, Any]], tell: Callable[[int, int], None]) -> dict[str, Any]:
    """What the programs would have ended with: exit code, all they printed, and what `work` returned."""
    output = Output(tell)
    sys.stdout = sys.stderr = output
    exit_code, result = 1, {}
    try:
        result = work()
        exit_code = 0
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except AnotherBoard as error:
        result = {"another_board": str(error)}
    except Exception as error:
        exit_code = _told(error, output)
    return {"exit_code": exit_code, "output": output.getvalue(), **result}


def _told(error: Exception, output: Output) -> int:
    """Prints an exception as the programs do; returns their exit code."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "FatalError" in names:
        output.write(f"\nA fatal error occurred: {error}\n")
        return 2
    if "SerialException" in names:
        output.write(f"\nA serial exception error occurred: {error}\n")
        return 1
    output.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    return 1


def version_of(text: str) -> tuple[int, int]:
    """Major and minor number; 0.0 if it names none."""
    match = re.match(r"v?(\d+)\.(\d+)", text)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def _requests(session: Callable[[], Optional[Session]]) -> Iterator[dict[str, Any]]:
    """The requests, one after the other. Ends the process when the runner is gone, unless it burns."""
    lines: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        for line in iter(sys.__stdin__.buffer.readline, b""):  # type: ignore[union-attr]
            lines.put(line)
        current = session()
        if current is None or not current.is_burning:
            os._exit(1)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    while line := lines.get():
        yield json.loads(line)


def main() -> None:
    """The process: its first request names the chip, its first answer the version of esptool."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    answers = sys.stdout

    def answer(content: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            answers.write(json.dumps(content) + "\n")
            answers.flush()

    def tell(offset: int, percent: int) -> None:
        answer({"offset": offset, "percent": percent})

    programs: list[Any] = []

    def load() -> dict[str, Any]:
        programs.extend(importlib.import_module(name) for name in ("esptool", "espefuse"))
        spare_work(programs[0])
        esptool = programs[0]
        with contextlib.suppress(metadata.PackageNotFoundError):  # on the path without being installed
            return {"version": version_of(esptool.__version__), "installed": version_of(metadata.version("esptool"))}
        return {"version": version_of(esptool.__version__)}

    sessions: list[Session] = []
    for request in _requests(lambda: sessions[0] if sessions else None):
        if not sessions:
            loaded = outcome_of(load, tell)
            answer(loaded)
            if loaded["exit_code"]:
                return
            sessions.append(Session((programs[0], programs[1]), request["chip"]))
            continue
        name = request.pop("do")
        if name not in REQUESTS:
            raise ValueError(name)
        answer(outcome_of(lambda: getattr(sessions[0], name)(**request), tell))  # noqa: B023 (called at once)
