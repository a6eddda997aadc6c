# SPDX-License-Identifier: Apache-2.0
"""Whatever stands in a document, reading it ends with an answer or a coded error: no traceback, no hang, no bomb."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cold  # limits of a process are no limits of the server that forks warm ones

_MOST_MEMORY = 512 << 20
_PROGRAM = Path(__file__).with_name("fuzz_documents.py")


def limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


@pytest.mark.skipif(os.name != "posix", reason="this system cannot limit the memory of a process")
@pytest.mark.parametrize("cases", [6, pytest.param(400, marks=pytest.mark.long)])
def test_every_document_that_is_read_may_be_spoilt(cases: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, _PROGRAM, tmp_path, str(cases)],
        preexec_fn=limit_memory,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=30 * cases,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-3000:]
