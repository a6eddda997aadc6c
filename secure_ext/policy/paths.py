# SPDX-License-Identifier: Apache-2.0
"""What a path in a profile or in menuconfig means."""

from __future__ import annotations

from pathlib import Path


def given_path(folder: Path, text: str) -> Path:
    """The path that `text` names: relative to `folder`, and with ``~`` for the user's own folder, as in a shell."""
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return folder / text
