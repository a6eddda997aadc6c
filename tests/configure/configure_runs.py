# SPDX-License-Identifier: Apache-2.0
"""How tests run `configure`, and see what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Run = Callable[..., Result]


def configure(run_cli: Run, project: Path, *words: str) -> Result:
    return run_cli("configure", "-B", str(project / "build"), "--yes", *words)


def files_of(project: Path) -> dict[str, bytes]:
    return {str(path.relative_to(project)): path.read_bytes() for path in project.rglob("*") if path.is_file()}
