# SPDX-License-Identifier: Apache-2.0
"""What takes long to make: made once in a run of the tests, by the worker that needs it first, and shared by all."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, TypeVar, cast

import pytest

from secure_ext.station.file_lock import hold

Value = TypeVar("Value")


def once_a_run(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Value]) -> Value:
    """What `make` returned when it was given a new folder of that name; neither must be changed.

    An attempt that failed is made again by the next one who asks.
    """
    own = factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made-once"
    place.mkdir(exist_ok=True)
    folder, result = place / name, place / f"{name}.result"
    with (place / f"{name}.lock").open("a") as lock:
        _wait_for(lock)
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            content = pickle.dumps(make(folder))
            result.write_bytes(content)
        return cast(Value, pickle.loads(result.read_bytes()))  # noqa: S301 (the tests wrote it)


def _wait_for(lock: TextIO) -> None:
    while True:
        try:
            hold(lock)
        except OSError:
            time.sleep(0.05)
        else:
            return
