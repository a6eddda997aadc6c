# SPDX-License-Identifier: Apache-2.0
"""No interruption reaches espefuse while it burns: the call ends, and then the script stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.cold

TOOL = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1]).write_text(f"begun as {os.getpid()}\\n")
time.sleep(1.5)
Path(sys.argv[1]).write_text("ended")
"""
SCRIPT = """
import signal, sys
from secure_ext.station.esp_tools import interruptions, run_to_its_end
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore these
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
try:
    with interruptions(signal.default_int_handler):
        run_to_its_end([sys.executable, "-c", sys.argv[1], sys.argv[2]])
except KeyboardInterrupt:
    sys.exit(5)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal are sent to a process group")
@pytest.mark.parametrize(
    "interruptions",
    [(), ("SIGINT",), ("SIGINT", "SIGINT"), ("SIGTERM",), ("SIGHUP", "SIGTERM"), ("SIGQUIT",)],
    ids=["none", "Ctrl-C", "Ctrl-C twice", "kill", "terminal closed and kill", "Ctrl-backslash"],
)
def test_the_call_ends_before_the_script_does(tmp_path: Path, interruptions: tuple[str, ...]) -> None:
    told = tmp_path / "told"
    line = [sys.executable, "-c", SCRIPT, TOOL, str(told)]
    with subprocess.Popen(line, start_new_session=True) as script:
        tool = 0
        while not tool:
            time.sleep(0.02)
            tool = int(told.read_text().split()[-1]) if told.exists() and told.read_text().endswith("\n") else 0
        for name in interruptions:
            os.killpg(script.pid, signal.Signals[name])
            os.kill(tool, signal.Signals[name])  # as a service manager does, that ends all of a service's processes
            time.sleep(0.1)
        assert script.wait() == (5 if interruptions else 0)
    assert told.read_text() == "ended"
