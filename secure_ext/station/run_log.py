# SPDX-License-Identifier: Apache-2.0
"""The log of a run: what was said, with the time. A disk that is full ends the log, and never the work on a board.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Optional, TextIO

from secure_ext.station.durable import make_folder_durably


class RunLog:
    """Nothing is logged before `open`, nor once a line could not be written; `lost` says then why."""

    def __init__(self) -> None:
        self.lost: Optional[str] = None
        self._file: Optional[TextIO] = None

    def open(self, path: Path) -> None:
        """Goes on with the log in a file, which is made with its folder. Raises OSError."""
        make_folder_durably(path.parent)  # the journal may lie in it, too
        self._file = path.open("a", encoding="utf-8")

    def write(self, text: str) -> bool:
        """Adds a line; False if the log was lost with it."""
        if self._file is None:
            return True
        try:
            self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self._file.flush()
        except OSError as error:
            self.lost = str(error.strerror or error)
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        return self.lost is None
