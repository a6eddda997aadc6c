# SPDX-License-Identifier: Apache-2.0
"""How far writing the flash is, on a terminal: an operator who sees nothing for a minute pulls the plug.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence

from secure_ext.station.plan_document import ImageEntry

_WIDTH = 79


def is_terminal() -> bool:
    """Whether somebody looks on."""
    return bool(sys.stdout) and sys.stdout.isatty()


class WriteProgress:
    """A line that is overwritten: image, percentage of all that is written, and the seconds that are left."""

    def __init__(self, images: Sequence[ImageEntry]) -> None:
        self._images = sorted(images, key=lambda image: image.offset)
        self._whole = sum(image.end - image.offset for image in images)
        self._begin = 0.0
        self._is_shown = False

    def __call__(self, offset: int, percent: int) -> None:
        """Shows it.

        Args:
            offset: flash address that was written last; esptool 4 gives the begin of a block, later ones the end.
            percent: how much of the image at that place is written.
        """
        at = [image for image in self._images if image.offset <= offset <= image.end]
        if not at or not is_terminal():
            return
        image = at[0] if percent == 100 else at[-1]
        size = image.end - image.offset
        before = sum(each.end - each.offset for each in self._images if each.offset < image.offset)
        done = before + size * percent // 100
        now = time.monotonic()
        if not self._is_shown:
            self._begin = now
        left = (now - self._begin) * (self._whole - done) / done if done else 0
        text = f"  {image.file}: {100 * done // max(self._whole, 1)} %, {left:.0f} s left. Do not unplug the board."
        self._print("\r" + text[:_WIDTH].ljust(_WIDTH))
        self._is_shown = True

    def clear(self) -> None:
        """Makes room for another line."""
        if self._is_shown:
            self._is_shown = False
            self._print("\r" + " " * _WIDTH + "\r")

    @staticmethod
    def _print(text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            sys.stdout.write(text)
            sys.stdout.flush()


def announcement(text: str) -> str:
    """The operator's last line; on a terminal between two bars, so that it is seen from where the next board lies."""
    if not is_terminal():
        return text
    bar = "=" * min(len(text), _WIDTH)
    return f"\n{bar}\n{text}\n{bar}"
