# SPDX-License-Identifier: Apache-2.0
"""A Python for tests that has esptool, espefuse and this package loaded: programs start in no time.

`sys.executable` of a test process names a stand-in while it runs; a test of how programs are started, or of what
happens when they are killed, asks for real ones with the marker ``cold``.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REAL_PYTHON = sys.executable
_HERE = Path(__file__).parent


def is_possible() -> bool:
    """Whether this system has what the server needs, and nobody has asked to do without."""
    return hasattr(os, "pidfd_open") and Path("/proc/self/fd").exists() and "SECURE_EXT_COLD_TESTS" not in os.environ


@contextlib.contextmanager
def warm_python() -> Iterator[str]:
    """Starts a server; gives the path of a stand-in for Python that uses it."""
    for name in {"COLUMNS", "LINES"} - set(os.environ):
        os.unsetenv(name)  # readline, which pytest loads, sets them where os.environ does not show them
    folder = Path(tempfile.mkdtemp(prefix="warm-python-"))
    stand_in = folder / "python3"
    stand_in.write_text(f"#!{REAL_PYTHON} -IS\n{(_HERE / 'stand_in_python.py').read_text('utf-8')}", encoding="utf-8")
    stand_in.chmod(0o755)
    (folder / "environment").write_bytes(marshal.dumps(dict(os.environb)))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        server = subprocess.Popen(
            [REAL_PYTHON, str(_HERE / "warm_server.py"), str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
    try:
        yield str(stand_in)
    finally:
        server.kill()  # it may still be loading
        server.communicate()
        shutil.rmtree(folder, ignore_errors=True)
