# SPDX-License-Identifier: Apache-2.0
"""What idf.py knows of a project: the global arguments of its actions, and the configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Properties(dict[str, Any]):
    """As idf.py's PropertyDict."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def change_config(build: Path, **values: object) -> None:
    file = build / "config" / "sdkconfig.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")
