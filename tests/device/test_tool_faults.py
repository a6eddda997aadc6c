# SPDX-License-Identifier: Apache-2.0
"""A fault of the computer is told from one of the board: broken, killed, replaced, or without the right to the port."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from board_stand_in import CHANGING, Board, make_board
from test_provision_on_a_port import set_revision

from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.policy.profile import Profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions
from secure_ext.station.tool_faults import fault_of_computer

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-in programs are started by their first line"),
    pytest.mark.cold,
]
CHIP = "esp32c3"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    build = make_sample_build(folder, CHIP, options=SampleOptions(flash_encryption="release"))
    return write_bundle(decide(build, Profile(folder, {})), folder / "bundle", lambda _: None).folder


@pytest.fixture
def board(tmp_path: Path) -> Board:
    board = make_board(tmp_path / "board", CHIP)
    set_revision(board)
    return board


def break_it(board: Board, program: str, when: str, how: str) -> None:
    """Puts `how` before the stand-in of a program, for the calls that have the word `when` in them."""
    path = board.folder / "bin" / program
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{first}\nimport sys\nif {when!r} in sys.argv:\n    {how}\n{rest}")


IMPORT = "import bitstring_that_is_not_there"
NAME = "from os import BitStream"
SYNTAX = "compile('match x:', 'esptool/cmds.py', 'exec')"
KILLED = "import os; os.kill(os.getpid(), 9)"
MEMORY = "print('esptool v5.6.0', flush=True); raise MemoryError"
NO_ROOM = "print('esptool v5.6.0', flush=True); raise OSError(28, 'No space left on device')"
OTHER = "print('esptool.py v4.8.1', flush=True)"
DENIED = (
    "print('esptool v5.6.0\\nA fatal error occurred: Could not open /dev/ttyUSB0, the port is busy or is not there.\\n"
    "([Errno 13] could not open port /dev/ttyUSB0: [Errno 13] Permission denied: \\'/dev/ttyUSB0\\')'); sys.exit(2)"
)
BUSY = (
    "print('esptool v5.6.0\\nA fatal error occurred: Could not open /dev/ttyUSB0, the port is busy or is not there.\\n"
    "([Errno 11] Could not exclusively lock port /dev/ttyUSB0: [Errno 11] Resource temporarily unavailable)')"
    "; sys.exit(2)"
)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (("esptool", "version", IMPORT), "SE833"),
        (("esptool", "flash-id", NAME), "SE833"),
        (("esptool", "flash-id", SYNTAX), "SE833"),
        (("espefuse", "dump", NAME), "SE833"),
        (("espefuse", "dump", "sys.exit(127)"), "SE833"),
        (("esptool", "flash-id", KILLED), "SE834"),
        (("espefuse", "dump", MEMORY), "SE834"),
        (("esptool", "flash-id", "sys.exit(137)"), "SE834"),
        (("esptool", "flash-id", NO_ROOM), "SE834"),
        (("espefuse", "dump", OTHER), "SE835"),
        (("esptool", "flash-id", OTHER), "SE835"),
        (("esptool", "flash-id", DENIED), "SE836"),
        (("espefuse", "dump", DENIED), "SE836"),
        (("esptool", "flash-id", BUSY), "SE837"),
        (("espefuse", "dump", BUSY), "SE837"),
    ],
)
def test_the_computer_is_named_and_the_board_is_not(
    fault: tuple[str, str, str], code: str, bundle: Path, board: Board
) -> None:
    """Wherever it shows first. Nothing is changed, and nobody looks for a cable."""
    break_it(board, *fault)
    done = board.provision(bundle, "--yes")
    assert (done.returncode, f"STOP {code}:" in done.stdout) == (4, True), done.stdout
    assert "cable" not in done.stdout
    assert not CHANGING & set(board.commands)


def test_it_breaks_in_the_middle_and_the_next_run_goes_on(bundle: Path, board: Board) -> None:
    """Killed in a flash write, then broken at a burn: the board is finished by a whole installation."""
    whole = {name: (board.folder / "bin" / name).read_text() for name in ("esptool", "espefuse")}
    for program, when, how, code in (
        ("esptool", "write-flash", KILLED, "SE834"),
        ("espefuse", "burn-key", NAME, "SE833"),
    ):
        break_it(board, program, when, how)
        done = board.provision(bundle, "--yes")
        assert (done.returncode, f"STOP {code}:" in done.stdout) == (4, True), done.stdout
        (board.folder / "bin" / program).write_text(whole[program])
    assert board.provision(bundle, "--yes").returncode == 0


@pytest.mark.parametrize("module", ["esptool", "espefuse"])
def test_a_package_that_cannot_be_imported(module: str, bundle: Path, tmp_path: Path) -> None:
    """As a Python finds it: the script starts it as a module, and its first import fails."""
    package = tmp_path / "path" / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from json import A_CLASS_OF_ANOTHER_VERSION\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "path")}
    from support.matrix_tools import run

    line = [sys.executable, str(bundle / "provision.py"), "--yes"]
    where = ["--virt", str(tmp_path / "efuses.bin")] if module == "espefuse" else ["--port", "/dev/ttyNONE"]
    done = run([*line, *where], environment=environment)
    assert (done.exit_code, "STOP SE833:" in done.output) == (4, True), done.output
    assert "A_CLASS_OF_ANOTHER_VERSION" in done.output and "Traceback" not in done.output


WINDOWS = (
    "A fatal error occurred: Could not open COM5, the port is busy or is not there.\n(could not open port 'COM5': "
)


@pytest.mark.parametrize(
    ("exit_code", "output", "code"),
    [
        (2, WINDOWS + "PermissionError(13, 'Access is denied.', None, 5))", "SE837"),
        (2, WINDOWS + "FileNotFoundError(2, 'The system cannot find the file specified.', None, 2))", None),
        (1, "/usr/bin/python3: No module named esptool", "SE833"),
        (1, "Traceback (most recent call last):\nAttributeError: module 'bitstring' has no attribute 'Bits'", "SE833"),
        (1, "esptool v5.6.0\nTraceback (most recent call last):\nKeyError: 3", None),
        (1, "Traceback (most recent call last):\nKeyboardInterrupt", None),
        (0xC0000005, "", "SE834"),
        (2, "esptool v5.6.0\nA fatal error occurred: Failed to connect to ESP32-C3: No serial data received.", None),
        (2, "esptool v5.6.0\n[Errno 13] Permission denied: 'esptool.cfg'", None),
        (0, "esptool v5.6.0\nWarning: Permission denied for port lock, opened all the same", None),
    ],
)
def test_what_a_program_left_behind(exit_code: int, output: str, code: str | None) -> None:
    fault = fault_of_computer("esptool", exit_code, output)
    assert (fault.code if fault else None) == code
