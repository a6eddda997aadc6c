# SPDX-License-Identifier: Apache-2.0
"""Adds the secure-* actions to idf.py when this repository is a component of a project, or is the project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

try:
    import secure_ext  # noqa: F401 (asks whether it is installed)
except ImportError:
    # At the end of the path: whatever else ESP-IDF's environment has stays as it is.
    sys.path.append(str(Path(__file__).resolve().parent))


def action_extensions(base_actions: dict[str, Any], project_path: str) -> dict[str, Any]:
    """What idf.py calls."""
    try:
        from secure_ext.idf import action_extensions as extensions  # noqa: PLC0415 (after the path is complete)
    except Exception as error:  # also of a package that this user may not read: idf.py goes on
        print(f"WARNING: no secure-* actions: {error}. Run: python -m pip install idf-secure-provision")  # noqa: T201
        return {}
    return extensions(base_actions, project_path)
