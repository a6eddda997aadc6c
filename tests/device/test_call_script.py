# SPDX-License-Identifier: Apache-2.0
"""A script that is being run is not killed by Ctrl-C, nor with the program that runs it: it ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.cold

SCRIPT = """
import signal, sys, time
from pathlib import Path
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
Path(sys.argv[1]).write_text("begun")
time.sleep(1.5)
Path(sys.argv[1]).write_text("ended")
sys.exit(5)
"""
STATION = """
import signal, sys
from secure_ext.per_device.call_script import call_script
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
sys.exit(call_script([sys.executable, "-c", sys.argv[1], sys.argv[2]]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal are sent to a process group")
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 5), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_the_end_is_left_to_the_script(tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    told = tmp_path / "told"
    line = [sys.executable, "-c", STATION, SCRIPT, str(told)]
    with subprocess.Popen(line, start_new_session=True) as station:
        while not (told.exists() and told.read_text() == "begun"):
            time.sleep(0.02)
        os.killpg(station.pid, number)
        assert station.wait() == exit_code
    assert told.read_text() == "ended"
