# SPDX-License-Identifier: Apache-2.0
"""commands.sh does to a new board what provision.py does; commands.ps1 holds the same commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from board_on_a_port import Board, make_board
from support.warm_python import REAL_PYTHON

from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.policy.profile import Profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

CHIP = "esp32s3"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    build = make_sample_build(folder, CHIP, options=SampleOptions(flash_encryption="release", secure_boot=True))
    write_secret_file(folder / "key.pem", generate_signing_key(SignatureScheme.RSA3072))
    decision = decide(build, Profile(folder, {"secure_boot.keys": ("key.pem",)}))
    return write_bundle(decision, folder / "a bundle", lambda _: None).folder


def run_shell(bundle: Path, board: Board, answers: str) -> int:
    """Runs commands.sh on a terminal, as its questions need one; returns the exit code."""
    import pty

    path = os.pathsep.join([str(Path(REAL_PYTHON).parent), os.environ["PATH"]])
    master, terminal = pty.openpty()
    os.write(master, answers.encode())
    script = ["sh", str(bundle / "commands.sh")]
    with board.plugged_in() as chip:
        environment = {**os.environ, "PATH": path, "PORT": chip.url}
        done = subprocess.run(script, env=environment, stdin=terminal, capture_output=True, text=True, check=False)
    os.close(master)
    os.close(terminal)
    return done.returncode


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_shell_commands_complete_a_new_board(bundle: Path, tmp_path: Path) -> None:
    board = make_board(tmp_path / "board", CHIP)
    assert run_shell(bundle, board, "BURN\nBURN\nSEAL\nBURN\n") == 0
    again = board.provision(bundle, "--yes", "--journal", str(tmp_path / "journal"))
    assert "STOP SE811: the board is sealed" in again.output, again.output


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_declined_burn_is_not_sealed(bundle: Path, tmp_path: Path) -> None:
    board = make_board(tmp_path / "board", CHIP)
    assert run_shell(bundle, board, "no\nno\nno\nBURN\n") != 0
    assert not board.happened["burn"]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_the_shell_commands_need_the_port(bundle: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}
    script = ["sh", str(bundle / "commands.sh")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "set PORT first" in done.stderr


def test_powershell_runs_the_same_commands(bundle: Path) -> None:
    def commands(name: str, port: str) -> list[list[str]]:
        text = (bundle / name).read_text().replace(port, "PORT")
        lines = [line for line in text.splitlines() if line.startswith(("esptool", "espefuse"))]
        return [shlex.split(line) for line in lines]

    assert commands("commands.ps1", "$env:PORT") == commands("commands.sh", '"$PORT"')
    assert not re.search(r"--force|--do-not-confirm", (bundle / "commands.sh").read_text())
