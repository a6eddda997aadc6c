# SPDX-License-Identifier: Apache-2.0
"""Runs a provisioning script to its end, whatever happens to the program that started it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import TextIO


def call_script(line: Sequence[str], lock: TextIO | None = None) -> int:
    """Runs the script and returns its exit code.

    Ctrl-C reaches the script as well, and is its own business: killed in the middle of a burn, it would leave a damaged
    board. The script inherits `lock`, and so holds it even if this process is killed.
    """
    inherited = (lock.fileno(),) if lock is not None and os.name != "nt" else ()
    with subprocess.Popen(list(line), pass_fds=inherited) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
            except BaseException:
                process.terminate()
                process.wait()
                raise
