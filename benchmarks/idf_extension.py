# SPDX-License-Identifier: Apache-2.0
"""What the actions add to the start of idf.py: ``python benchmarks/idf_extension.py [IDF_PATH PYTHON]``.

With an ESP-IDF and the Python of its environment, `idf.py --version` is measured without and with the extension, in
turns, so that a busy machine slows both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
ACTIONS = Path(__file__).resolve().parents[1] / "secure_ext" / "cli" / "actions"
# idf.py has imported these by the time it loads an extension.
LOAD = """
import argparse, click, dataclasses, importlib.metadata, json, os, pathlib, shlex, subprocess, sys, time
start = time.perf_counter()
from secure_ext.idf import action_extensions
assert action_extensions({}, ".")
print((time.perf_counter() - start) * 1000)
"""


def load_time() -> float:
    """Milliseconds for loading the extension and asking it for its actions."""
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)
    return float(done.stdout)


def start_time(idf_path: str, python: str, extra: str) -> float:
    """Milliseconds for starting idf.py."""
    environment = os.environ | {
        "IDF_PATH": idf_path,
        "IDF_PYTHON_ENV_PATH": str(Path(python).parents[1]),
        "IDF_PYTHON_CHECK_CONSTRAINTS": "no",
        "IDF_COMPONENT_MANAGER": "0",
        "LC_ALL": "C.UTF-8",
    }
    if extra:
        environment["IDF_EXTRA_ACTIONS_PATH"] = extra
    start = time.perf_counter()
    command = [python, str(Path(idf_path) / "tools" / "idf.py"), "--version"]
    subprocess.run(command, env=environment, capture_output=True, check=True)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    loads = [load_time() for _ in range(RUNS)]
    print(f"loading the extension            {statistics.median(loads):7.1f} ms  (median of {RUNS})")
    if len(sys.argv) != 3:
        return
    without, with_it = [], []
    for _ in range(RUNS):
        without.append(start_time(sys.argv[1], sys.argv[2], ""))
        with_it.append(start_time(sys.argv[1], sys.argv[2], str(ACTIONS)))
    print(f"idf.py --version without it      {statistics.median(without):7.1f} ms")
    print(f"idf.py --version with it         {statistics.median(with_it):7.1f} ms")


if __name__ == "__main__":
    main()
