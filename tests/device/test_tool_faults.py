# SPDX-License-Identifier: Apache-2.0
"""A fault of the computer is told from one of the board: broken, killed, replaced, or without the right to the port."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from board_on_a_port import Board, make_board

from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.policy.profile import Profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions
from secure_ext.station.tool_faults import fault_of_computer

pytestmark = pytest.mark.cold
CHIP = "esp32c3"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    build = make_sample_build(folder, CHIP, options=SampleOptions(flash_encryption="release"))
    return write_bundle(decide(build, Profile(folder, {})), folder / "bundle", lambda _: None).folder


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return make_board(tmp_path / "board", CHIP, 3)


# Python runs a module of this name at every start; the board's process, which loads both tools, is what it breaks.
BREAK = """
import os, sys
if "board_helper" in " ".join(sys.orig_argv):
    import espefuse, esptool
    from importlib import metadata

    def breaking(call):
        def broken(*words, **named):
            if {when!r} in str((words, named)):
                {how}
            return call(*words, **named)
        return broken

    for module in (espefuse, sys.modules.get("espefuse.efuse_interface"), esptool, metadata):
        for name in ("get_esp", "get_efuses", "init_commands", "main", "version"):
            if hasattr(module, name):
                setattr(module, name, breaking(getattr(module, name)))
"""
CONNECT, FLASH_ID, READ, WRITE, LOAD = "no", "flash", "do_not_confirm", "write", "'esptool'"
"""What the calls have in them: of `get_esp`, of esptool's two commands, of espefuse's table, of the version."""


def broken(folder: Path, when: str, how: str) -> dict[str, str]:
    """The environment of a station whose esptool does `how` at the calls with the word `when` in them."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BREAK.format(when=when, how=how))
    return {**os.environ, "PYTHONPATH": str(folder)}


NAME = "from os import BitStream"
SYNTAX = "compile('match x:', 'esptool/cmds.py', 'exec')"
KILLED = "os.kill(os.getpid(), 9)"
MEMORY = "raise MemoryError"
NO_ROOM = "raise OSError(28, 'No space left on device')"
OTHER = "return '4.5.1'"
NOT_OPENED = "Could not open /dev/ttyUSB0, the port is busy or is not there."
NO_RIGHT = "[Errno 13] could not open port /dev/ttyUSB0: [Errno 13] Permission denied"
DENIED = f"raise esptool.FatalError('{NOT_OPENED}\\n({NO_RIGHT})')"
BUSY = (
    f"raise esptool.FatalError('{NOT_OPENED}\\n([Errno 11] Could not exclusively lock port /dev/ttyUSB0: "
    "[Errno 11] Resource temporarily unavailable)')"
)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ((FLASH_ID, NAME), "SE833"),
        ((FLASH_ID, SYNTAX), "SE833"),
        ((READ, NAME), "SE833"),
        ((FLASH_ID, KILLED), "SE834"),
        ((READ, MEMORY), "SE834"),
        ((FLASH_ID, "sys.exit(137)"), "SE834"),
        ((FLASH_ID, NO_ROOM), "SE834"),
        ((LOAD, OTHER), "SE835"),
        ((CONNECT, DENIED), "SE836"),
        ((CONNECT, BUSY), "SE837"),
    ],
)
def test_the_computer_is_named_and_the_board_is_not(
    fault: tuple[str, str], code: str, bundle: Path, board: Board, tmp_path: Path
) -> None:
    """Wherever it shows first. Nothing is changed, and nobody looks for a cable."""
    done = board.provision(bundle, "--yes", environment=broken(tmp_path / "hook", *fault))
    assert (done.exit_code, f"STOP {code}:" in done.output) == (4, True), done.output
    assert "cable" not in done.output
    assert board.is_untouched


def test_it_breaks_in_the_middle_and_the_next_run_goes_on(bundle: Path, board: Board, tmp_path: Path) -> None:
    """Killed before a flash write: the board is finished by a whole installation."""
    done = board.provision(bundle, "--yes", environment=broken(tmp_path / "hook", WRITE, KILLED))
    assert (done.exit_code, "STOP SE834:" in done.output) == (4, True), done.output
    assert board.provision(bundle, "--yes").exit_code == 0


@pytest.mark.parametrize("module", ["esptool", "espefuse"])
def test_a_package_that_cannot_be_imported(module: str, bundle: Path, board: Board, tmp_path: Path) -> None:
    package = tmp_path / "path" / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from json import A_CLASS_OF_ANOTHER_VERSION\n")
    done = board.provision(bundle, "--yes", environment={**os.environ, "PYTHONPATH": str(tmp_path / "path")})
    assert (done.exit_code, "STOP SE833:" in done.output) == (4, True), done.output
    assert "A_CLASS_OF_ANOTHER_VERSION" in done.output and "Traceback" not in done.output
    assert board.is_untouched


def test_an_esptool_that_is_too_old(bundle: Path, board: Board, tmp_path: Path) -> None:
    for module in ("esptool", "espefuse"):
        (tmp_path / "path" / module).mkdir(parents=True)
        (tmp_path / "path" / module / "__init__.py").write_text("__version__ = '4.7.0'\n")
    done = board.provision(bundle, "--yes", environment={**os.environ, "PYTHONPATH": str(tmp_path / "path")})
    assert (done.exit_code, "STOP SE802: esptool 4.7 is too old" in done.output) == (4, True), done.output
    assert board.is_untouched


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
