# SPDX-License-Identifier: Apache-2.0
"""No interruption reaches espefuse while it burns: the call ends, and then the script stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secure_ext.bundle.write import Bundle

pytestmark = pytest.mark.cold

# Python runs a module of this name at every start; in the board's process it makes each burn a slow one.
SLOW_BURN = """
import os, sys, time
from pathlib import Path
if "board_helper" in " ".join(sys.orig_argv):
    from espefuse.efuse.base_fields import EfuseBlockBase
    burn_words, told = EfuseBlockBase.burn_words, Path(os.environ["TOLD"])
    def slow_burn(block, words):
        told.write_text(f"begun by {os.getpid()}\\n")
        time.sleep(0.5)
        result = burn_words(block, words)
        told.write_text("ended")
        return result
    EfuseBlockBase.burn_words = slow_burn
"""
# A shell has its background jobs ignore some of them.
HEEDING = "import signal, sys, runpy; [signal.signal(s, signal.SIG_DFL) for s in (2, 3)]; signal.signal(2, "
HEEDING += "signal.default_int_handler); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal are sent to a process group")
@pytest.mark.parametrize(
    "interruptions",
    [("SIGINT", "SIGINT"), ("SIGTERM",), ("SIGHUP", "SIGTERM"), ("SIGQUIT",)],
    ids=["Ctrl-C twice", "kill", "terminal closed and kill", "Ctrl-backslash"],
)
def test_the_burn_ends_before_the_script_does(
    tmp_path: Path, interruptions: tuple[str, ...], made_bundle: Callable[[str], Bundle]
) -> None:
    told = tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(SLOW_BURN)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TOLD": str(told)}
    script = made_bundle("esp32c3").folder / "provision.py"
    line = [
        sys.executable,
        "-c",
        HEEDING,
        str(script),
        "--virt",
        str(tmp_path / "chip.bin"),
        "--yes",
        "--until",
        "burn",
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, start_new_session=True, env=environment, stdout=pipe, text=True) as running:
        tool = 0
        for shown in running.stdout or ():
            if shown.startswith("espefuse burn"):
                break
        while not tool:
            time.sleep(0.02)
            tool = int(told.read_text().split()[-1]) if told.exists() and told.read_text().endswith("\n") else 0
        for name in interruptions:
            os.killpg(running.pid, signal.Signals[name])
            os.kill(tool, signal.Signals[name])  # as a service manager does, that ends all of a service's processes
            time.sleep(0.1)
        rest = running.stdout.read() if running.stdout else ""
    assert running.returncode == 5 and "STOP SE827: interrupted; eFuses may be burned in part" in rest, rest
    assert told.read_text() == "ended"


@pytest.mark.skipif(os.name != "posix", reason="a process is killed")
def test_a_burn_ends_though_the_script_is_killed(tmp_path: Path, made_bundle: Callable[[str], Bundle]) -> None:
    """Nobody is there any more to ask for more: the process of the board ends, too."""
    told = tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(SLOW_BURN)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TOLD": str(told)}
    script = made_bundle("esp32c3").folder / "provision.py"
    line = [sys.executable, str(script), "--virt", str(tmp_path / "chip.bin"), "--yes"]
    with subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL) as running:
        while not (told.exists() and told.read_text().endswith("\n")):
            time.sleep(0.02)
        # the new chip's revision is burned first: wait for the plan's own keys
        while not (tmp_path / "chip.bin.journal.json").exists() or not told.read_text().endswith("\n"):
            time.sleep(0.02)
        tool = int(told.read_text().split()[-1])
        running.kill()
    while Path(f"/proc/{tool}").exists():
        time.sleep(0.05)
    assert told.read_text() == "ended"
