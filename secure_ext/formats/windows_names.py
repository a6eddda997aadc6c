# SPDX-License-Identifier: Apache-2.0
"""Names that Windows takes for a device, in every folder and with any ending: no file can have them there.

Source: Microsoft, "Naming Files, Paths, and Namespaces".
"""

from __future__ import annotations

_PORTS = tuple(f"{port}{number}" for port in ("com", "lpt") for number in range(10))
_DEVICES = frozenset(("con", "prn", "aux", "nul", "conin$", "conout$", *_PORTS))


def is_device(name: str) -> bool:
    """Whether the name of a file or folder, without those above it, is one."""
    return name.partition(".")[0].rstrip(" ").lower() in _DEVICES
