# SPDX-License-Identifier: Apache-2.0
"""A board for ``--port``: stand-ins for the programs esptool and espefuse, found on PATH.

espefuse is the real one, on virtual eFuses. esptool's flash commands work on a file, and its messages have the form of
the real one. The state of the board is a JSON file.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ESPTOOL = r"""
import hashlib, json, os, pathlib, sys
words = sys.argv[1:]
if words == ["version"]:
    print("esptool v5.6.0")
    sys.exit(0)
board = pathlib.Path(os.environ["BOARD"])
state = json.loads((board / "state.json").read_text())
with (board / "calls.log").open("a") as log:
    log.write("esptool " + " ".join(words) + "\n")
flash = board / "flash.bin"
command = next(w for w in words if w in ("flash-id", "erase-flash", "erase-region", "write-flash", "verify-flash",
                                         "get-security-info", "chip-id"))
rest = words[words.index(command) + 1:]
if words[words.index("--port") + 1] != state["port"]:
    print("A fatal error occurred: Could not open " + words[words.index("--port") + 1])
    sys.exit(2)
if words[words.index("--chip") + 1] != state["chip"]:
    print("A fatal error occurred: This chip is " + state["chip"].upper() + ", not ESP32-C3. Wrong chip argument?")
    sys.exit(2)
if state["sealed"]:
    print("Chip type:          " + state["chip"].upper() + " in Secure Download Mode")
    if command == "get-security-info":
        print("Secure Boot: Enabled\nFlash Encryption: Enabled\nSPI Boot Crypt Count (SPI_BOOT_CRYPT_CNT): 0x7")
        sys.exit(0)
    sys.exit(2)
if command == "flash-id":
    print("Chip type:          " + state["chip"].upper() + " (revision v0.0)\nDetected flash size: " + state["flash"])
elif command in ("erase-flash", "erase-region"):
    flash.write_bytes(b"\xff" * 0x400000)
elif command in ("write-flash", "verify-flash"):
    if state["fails_at"] == command:
        print("A fatal error occurred: MD5 of file does not match data in flash!")
        sys.exit(2)
    files = [w for w in rest if w.startswith("0x") or w.endswith(".bin")]
    content = bytearray(flash.read_bytes()) if flash.exists() else bytearray(b"\xff" * 0x400000)
    for address, name in zip(files[::2], files[1::2]):
        data = pathlib.Path(name).read_bytes()
        place = slice(int(address, 16), int(address, 16) + len(data))
        if command == "verify-flash" and content[place] != data:
            sys.exit(2)
        content[place] = data
    flash.write_bytes(content)
"""

ESPEFUSE = r"""
import json, os, pathlib, subprocess, sys
board = pathlib.Path(os.environ["BOARD"])
state = json.loads((board / "state.json").read_text())
words = sys.argv[1:]
with (board / "calls.log").open("a") as log:
    log.write("espefuse " + " ".join(words) + "\n")
for option in ("--port", "--before"):
    if option in words:
        place = words.index(option)
        del words[place:place + 2]
if state["fails_at"] == "espefuse" and "burn-key" in words:
    print("A fatal error occurred: Failed to write to target RAM")
    sys.exit(2)
words[2:2] = ["--virt", "--path-efuse-file", str(board / "efuses.bin")]
python = os.environ.pop("BOARD_PYTHON", sys.executable)
del os.environ["BOARD"]
sys.exit(subprocess.call([python, "-m", "espefuse", *words]))
"""


COMMANDS = {"flash-id", "erase-region", "write-flash", "verify-flash", "chip-id", "get-security-info"}
COMMANDS |= {"burn-key", "burn-efuse", "burn-bit", "write-protect-efuse", "read-protect-efuse"}
CHANGING = COMMANDS - {"flash-id", "verify-flash", "chip-id", "get-security-info"}


@dataclass(frozen=True)
class Board:
    """A board on a port, with what was called on it."""

    folder: Path

    @property
    def port(self) -> str:
        """A port of its own, for scripts lock it."""
        return f"/dev/tty{self.folder}"

    def change(self, **state: object) -> None:
        """Changes the board: chip, flash, sealed, fails_at."""
        path = self.folder / "state.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **state}))

    @property
    def calls(self) -> list[str]:
        """The command lines that reached the board."""
        log = self.folder / "calls.log"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def commands(self) -> list[str]:
        """The commands in them, in order."""
        return [word for call in self.calls for word in call.split() if word in COMMANDS]

    @property
    def flash(self) -> bytes:
        """What is in its flash."""
        return (self.folder / "flash.bin").read_bytes()

    def provision(self, bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs the bundle's script on the board, with a Python that has no esptool of its own."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "BOARD": str(self.folder), "BOARD_PYTHON": sys.executable}
        script = [sys.executable, "-S", str(bundle / "provision.py"), "--port", self.port, *options]
        return subprocess.run(
            script, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )


def make_board(folder: Path, chip: str) -> Board:
    """A new board with 4 MB of flash."""
    (folder / "bin").mkdir(parents=True)
    for name, source in (("esptool", ESPTOOL), ("espefuse", ESPEFUSE)):
        program = folder / "bin" / name
        program.write_text(f"#!{sys.executable}\n{source}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    board = Board(folder)
    state = {"chip": chip, "port": board.port, "flash": "4MB", "sealed": False, "fails_at": ""}
    (folder / "state.json").write_text(json.dumps(state))
    return board
