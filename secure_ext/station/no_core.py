# SPDX-License-Identifier: Apache-2.0
"""Keeps a process that holds keys, and the programs it starts, from leaving its memory in a core file.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib


def no_core_files() -> None:
    """No core file is written of this process from now on; services that collect cores keep to the same limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows, which asks an administrator first
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
