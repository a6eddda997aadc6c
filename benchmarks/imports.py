# SPDX-License-Identifier: Apache-2.0
"""How long `import secure_ext` takes, and whether it drags in anything slow."""

from __future__ import annotations

import re
import subprocess
import sys

RUNS = 9
SLOW = ("cryptography", "esptool", "numpy", "yaml", "click", "rich")


def import_time(module: str) -> float:
    """Milliseconds that `python -X importtime` accounts to a module."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"], capture_output=True, text=True, check=True
    )
    line = next(line for line in done.stderr.splitlines() if re.search(rf"\|\s+{re.escape(module)}$", line))
    return int(line.split("|")[1]) / 1000


def loaded(module: str) -> list[str]:
    """The slow packages that importing a module loads."""
    code = f"import sys, {module}; print(*(name for name in {SLOW!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip().split()


def main() -> None:
    for module in ("secure_ext", "secure_ext.cli.main"):
        times = sorted(import_time(module) for _ in range(RUNS))
        names = ", ".join(loaded(module)) or "none of the slow ones"
        print(f"import {module:16} {times[RUNS // 2]:6.2f} ms (median of {RUNS}), loads {names}")


if __name__ == "__main__":
    main()
