"""One script a port: a second one must not slip in between two calls of a tool.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TextIO

from secure_ext.device.esp_tools import Stop
from secure_ext.keys.file_lock import hold


def lock_port(port: str) -> TextIO:
    """Holds the port until the file that is returned is closed, or the process ends. Raises Stop SE832.

    The lock is a file in the folder for temporary files; it may stay there, and says nothing when nobody holds it.
    """
    name = hashlib.sha256(f"{getpass.getuser()} {os.path.realpath(port)}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir(), f"secure-provision-{name}.lock")
    try:
        file = path.open("a+", encoding="ascii")
        hold(file)
    except OSError:
        raise Stop(
            5,
            "SE832",
            f"another script works on {port}",
            "wait until it has ended; if there is none, switch the board off and on and try again",
        ) from None
    return file
