# SPDX-License-Identifier: Apache-2.0
"""Machines on which something is missing: room on the disk, folders that may be entered."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_ALL_MAY = ("-dac_override", "-dac_read_search", "-fowner")


def without_roots_rights(line: Sequence[str]) -> list[str]:
    """The command line, run by one who may enter only what its mode says, also where the tests run as root."""
    if os.geteuid() != 0:
        return list(line)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise FileNotFoundError("setpriv")
    rights = ",".join(_ALL_MAY)
    return [setpriv, f"--inh-caps={rights}", f"--bounding-set={rights}", *line]


def files_of_at_most(limit: int) -> Callable[[], None]:
    """For `subprocess`: no file grows beyond `limit` bytes, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def run(
    line: Sequence[str | Path],
    *,
    limit: int | None = None,
    narrow: bool = False,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; stdout and stderr are both in its stdout."""
    words = [str(word) for word in line]
    return subprocess.run(
        without_roots_rights(words) if narrow else words,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=120,
        preexec_fn=None if limit is None else files_of_at_most(limit),
    )
