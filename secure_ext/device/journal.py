"""What this bundle has done to which board, so that an interrupted board can be told from a foreign one.

A read-protected key cannot be compared with the one in the bundle. The journal holds, for each board (by MAC address),
that its images were written and that burning was begun, and never a key. Part of ``provision.py``: standard library
only, Python 3.9 and later.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from secure_ext.device.esp_tools import Stop


class Journal:
    """The journal of one board; `plan_id` identifies the bundle."""

    def __init__(self, path: Path, plan_id: str) -> None:
        self.path = path
        self._plan_id = plan_id
        self._entry: dict[str, Any] = {}
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if isinstance(entry, dict) and entry.get("plan") == plan_id:
            self._entry = entry

    @property
    def images_written(self) -> bool:
        """Whether this bundle's images were written and verified on this board."""
        return "images_written" in self._entry

    @property
    def burning_begun(self) -> bool:
        """Whether this bundle has begun to burn this board's eFuses."""
        return "burning_begun" in self._entry

    def note(self, event: str) -> None:
        """Records an event with its time, whole or not at all. Raises Stop SE830 if that is impossible."""
        self._entry.setdefault("plan", self._plan_id)
        self._entry[event] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        beside = self.path.with_name(self.path.name + f".{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(self._entry, indent=1) + "\n", encoding="utf-8")
            beside.replace(self.path)
        except OSError as error:
            raise Stop(
                3,
                "SE830",
                f"the journal cannot be written: {error}",
                "give a writable folder with --journal; it is needed to continue an interrupted board",
            ) from None
