# SPDX-License-Identifier: Apache-2.0
"""The console script on a pseudo-terminal, as a person has it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys


def at_a_terminal(answer: str, *arguments: object) -> tuple[int, str]:
    """Runs the console script on a pseudo-terminal, types lines, and gives its exit code and all that was shown."""
    import pty

    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "secure_ext", *(str(argument) for argument in arguments)]
    environment = os.environ | {"TERM": "dumb", "COLUMNS": "400"}
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        os.write(ours, answer.encode() + b"\n")
        shown = b""
        with contextlib.suppress(OSError):  # what a terminal gives when the last program on it has ended
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    return process.returncode, shown.decode().replace("\r\n", "\n")
