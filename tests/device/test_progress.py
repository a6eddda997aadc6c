# SPDX-License-Identifier: Apache-2.0
"""What an operator sees while the flash is written, and at the end; and that nothing of it is in a log of CI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from board_on_a_port import make_board

from secure_ext.bundle.write import Bundle

CHIP = "esp32c3"


def on_a_terminal(line: list[str]) -> str:
    """What a program shows on a terminal."""
    import pty

    master, terminal = pty.openpty()
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal) as running:
        os.close(terminal)
        shown = b""
        while True:
            try:
                piece = os.read(master, 0x1000)
            except OSError:  # all who had it open are gone
                break
            if not piece:
                break
            shown += piece
        running.wait()
    os.close(master)
    return shown.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_on_a_terminal(made_bundle: Callable[[str], Bundle], tmp_path: Path) -> None:
    """Each image with a percentage of all, never less than before, and a last line between bars."""
    bundle = made_bundle(CHIP).folder
    with make_board(tmp_path / "board", CHIP, 3).plugged_in() as chip:
        line = [sys.executable, str(bundle / "provision.py"), "--port", chip.url, "--yes"]
        shown = on_a_terminal([*line, "--journal", str(tmp_path / "journal")])
    told = re.findall(r"\r  images/(\S+): (\d+) %, \d+ s left\. Do not unplug the board\.", shown)
    assert {name for name, _ in told} >= {"bootloader.bin", "sample.bin"}
    percentages = [int(percent) for _, percent in told]
    assert percentages == sorted(percentages) and percentages[-1] == 100
    assert re.search(r"\n=+\r\nDONE\. Label this board and take the next one\.\r\n=+\r\n", shown)
    log = next((tmp_path / "journal").glob("*.log")).read_text(encoding="utf-8")
    assert "DONE." in log and "%" not in log


def test_without_one(made_bundle: Callable[[str], Bundle], tmp_path: Path) -> None:
    """One line a stage."""
    done = make_board(tmp_path / "board", CHIP, 3).provision(
        made_bundle(CHIP).folder, "--yes", "--journal", str(tmp_path)
    )
    assert done.exit_code == 0 and "%" not in done.output and "\r" not in done.output
    assert "\nesptool write-flash ...\n" in done.output and done.output.endswith("take the next one.\n")
