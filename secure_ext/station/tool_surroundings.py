# SPDX-License-Identifier: Apache-2.0
"""Where esptool and espefuse run: in an empty folder of this run's own, so that the current folder decides nothing.

Started as modules they would look for modules in the current folder first, and for a configuration (``esptool.cfg``,
``setup.cfg``, ``tox.ini``) there, too, which can name steps that esptool executes (``custom_reset_sequence``). A
configuration that the owner of the station names with ESPTOOL_CFGFILE is used.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path

from secure_ext.station.frozen import frozen

_CONFIGURATION = "ESPTOOL_CFGFILE"


@frozen
class Surroundings:
    """The current folder of a tool, and what is added to its environment."""

    folder: str
    added: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment."""
        return {**os.environ, **self.added}


@functools.lru_cache(maxsize=None)
def tool_surroundings() -> Surroundings:
    """Those of this run; the folder is gone when it ends. Where none can be made, Python's own folder serves."""
    added = {"PYTHONSAFEPATH": "1"}
    try:
        folder = tempfile.mkdtemp(prefix="secure-provision-tools-")
        empty = Path(folder, "esptool.cfg")
        empty.write_text("[esptool]\n", encoding="ascii")
    except OSError:
        return Surroundings(sys.prefix, added)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Surroundings(folder, added if _CONFIGURATION in os.environ else {**added, _CONFIGURATION: str(empty)})


def from_anywhere(place: str) -> str:
    """A path as it is called from another folder; what is not there, such as COM3 or a URL, is no path."""
    path = Path(place)
    return str(path.absolute()) if path.exists() else place
