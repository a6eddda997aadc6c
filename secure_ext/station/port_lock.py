# SPDX-License-Identifier: Apache-2.0
"""One script a port: a second one must not slip in between two calls of a tool.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from secure_ext.station.esp_tools import Stop
from secure_ext.station.file_lock import hold

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_THIS_MACHINE = re.compile(r"//(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?=[:/]|$)")


def lock_port(port: str) -> TextIO:
    """Holds the port until the file that is returned is closed, or the process ends. Raises Stop SE832.

    The lock is a file in the folder for temporary files; it may stay there, and says nothing when nobody holds it.
    Where no file can be made or locked nothing is held: a station that cannot keep a lock works all the same.
    """
    name = hashlib.sha256(f"{_user()} {port_identity(port)}".encode()).hexdigest()[:16]
    for folder in _folders():
        try:
            file = _own_file(folder / f"secure-provision-{name}.lock")
        except OSError:
            continue
        try:
            hold(file)
            return file
        except OSError as error:
            file.close()
            if error.errno in _HELD:
                raise Stop(
                    5,
                    "SE832",
                    f"another script works on {port}",
                    "wait until it has ended; if you see none, end the provision.py or secure-provision that still "
                    "runs on this computer. Resetting the board does not help",
                ) from None
    return io.StringIO()


def port_identity(port: str) -> str:
    """The port under one name, however it is spelled: ``com3``, a link to a device, another name of this machine."""
    if "://" in port:
        return _THIS_MACHINE.sub("//127.0.0.1", port.lower()).partition("?")[0].rstrip("/")
    return port.upper().removeprefix("\\\\.\\") if os.name == "nt" else os.path.realpath(port)


def _user() -> str:
    """A name is not needed, and a user of a container may have none."""
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")


def _folders() -> Iterator[Path]:
    """Where a file can be tried: in a kiosk, or a container with a read-only root, perhaps nowhere."""
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())
    with contextlib.suppress(OSError, RuntimeError):
        yield Path.home()


def _own_file(path: Path) -> TextIO:
    """Opens or makes a file of this user. Raises OSError for a link, and for what is somebody else's."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o600)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        os.close(descriptor)
        raise OSError(errno.EPERM, "it is not a file of this user", str(path))
    return os.fdopen(descriptor, "a+", encoding="ascii")
