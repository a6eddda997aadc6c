# SPDX-License-Identifier: Apache-2.0
"""What is made once in a run is made once, whole, and by whoever asks first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.once_a_run import once_a_run


def test_all_who_ask_at_once_get_the_same(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    def make(folder: Path) -> tuple[Path, int]:
        time.sleep(0.2)
        (folder / "content").write_text("whole")
        return folder, time.monotonic_ns()

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: once_a_run(tmp_path_factory, f"test-{tmp_path.name}", make), range(4)))
    assert len(set(got)) == 1
    assert (got[0][0] / "content").read_text() == "whole"


def test_an_attempt_that_failed_is_made_again(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    name = f"test-{tmp_path.name}"

    def fail(folder: Path) -> int:
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        once_a_run(tmp_path_factory, name, fail)
    assert once_a_run(tmp_path_factory, name, lambda folder: len(list(folder.iterdir()))) == 0
