"""A script that is being run is not killed by Ctrl-C: it ends by itself, and says how."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, lambda *_: None)
Path(sys.argv[1]).write_text("begun")
time.sleep(1.5)
Path(sys.argv[1]).write_text("ended")
sys.exit(5)
"""
STATION = """
import signal, sys
from secure_ext.device.call_script import call_script
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(call_script([sys.executable, "-c", sys.argv[1], sys.argv[2]]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal are sent to a process group")
def test_ctrl_c_leaves_the_end_to_the_script(tmp_path: Path) -> None:
    told = tmp_path / "told"
    line = [sys.executable, "-c", STATION, SCRIPT, str(told)]
    with subprocess.Popen(line, start_new_session=True) as station:
        while not (told.exists() and told.read_text() == "begun"):
            time.sleep(0.02)
        os.killpg(station.pid, signal.SIGINT)
        assert station.wait() == 5
    assert told.read_text() == "ended"
