# SPDX-License-Identifier: Apache-2.0
"""A lock on a file: held by one process at a time, and free as soon as that process has ended, however it ended.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import os
from typing import TextIO


def hold(file: TextIO) -> None:
    """Locks an open file until it is closed. Raises OSError if another process holds it, or locks are not supported."""
    if os.name == "nt":
        import msvcrt  # noqa: PLC0415 (only there is on Windows)

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl  # noqa: PLC0415 (not on Windows)

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
