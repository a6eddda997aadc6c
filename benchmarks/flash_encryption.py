# SPDX-License-Identifier: Apache-2.0
"""Flash encryption beside espsecure, in one run: ``python benchmarks/flash_encryption.py [--json] [--repeat N]``.

Both are called as functions in this process on the same input; rounds alternate, so that a busy machine slows both.
The results are compared before anything is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import espsecure

from secure_ext.formats import esp32_flash, xts

MIB = 1024 * 1024
KEY = bytes(range(1, 33))
OFFSET = 0x10000
Run = Callable[[], bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeat", type=int, default=7, metavar="N", help="rounds per measurement (default: 7)")
    arguments = parser.parse_args()

    data = os.urandom(4 * MIB)
    groups = {
        "XTS-AES-128, 4 MiB": xts_runs(data),
        "ESP32, 1 MiB": esp32_runs(data[:MIB]),
        "ESP32, 4 MiB": esp32_runs(data),
    }
    report: dict[str, object] = {
        "python": platform.python_version(),
        "cryptography": importlib.metadata.version("cryptography"),
        "esptool": importlib.metadata.version("esptool"),
        "cores": os.cpu_count(),
        "results": {name: measure(runs, arguments.repeat) for name, runs in groups.items()},
    }
    print(json.dumps(report, indent=2) if arguments.json else as_table(report))


def xts_runs(data: bytes) -> dict[str, Run]:
    def ours(lanes: xts.Lanes) -> bytes:
        return b"".join(xts.crypt(memoryview(data), key=KEY, flash_offset=OFFSET, decrypting=False, lanes=lanes))

    runs: dict[str, Run] = {
        "espsecure": lambda: by_espsecure(espsecure._flash_encryption_operation_aes_xts, data, False),
        "espsecure, command line": lambda: by_command_line(data, "--aes-xts"),
        "ours, standard library": lambda: ours(xts.integer_lanes),
    }
    if importlib.util.find_spec("numpy"):
        runs["ours, numpy"] = lambda: ours(xts.numpy_lanes)
    return runs


def esp32_runs(data: bytes) -> dict[str, Run]:
    def ours(workers: int | None) -> bytes:
        return esp32_flash.crypt(
            memoryview(data),
            key=KEY,
            flash_offset=OFFSET,
            flash_crypt_config=0xF,
            decrypting=False,
            workers=workers,
        )

    return {
        "espsecure": lambda: by_espsecure(espsecure._flash_encryption_operation_esp32, data, 0xF, False),
        "ours, one process": lambda: ours(1),
        "ours, a process per core": lambda: ours(os.cpu_count() or 1),
        "ours, default": lambda: ours(None),
    }


def by_espsecure(operation: Callable[..., None], data: bytes, *options: object) -> bytes:
    output = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()):
        operation(output, io.BytesIO(data), OFFSET, io.BytesIO(KEY), *options)
    return output.getvalue()


def by_command_line(data: bytes, *options: str) -> bytes:
    """The same through ``espsecure``'s command line, start-up and files included."""
    words = ["encrypt-flash-data", *options]
    if importlib.metadata.version("esptool").startswith("4."):
        words = ["encrypt_flash_data", *(option.replace("-xts", "_xts") for option in options)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key.bin").write_bytes(KEY)
        (folder / "plain.bin").write_bytes(data)
        files = ["--keyfile", "key.bin", "--address", hex(OFFSET), "--output", "cipher.bin", "plain.bin"]
        command = [sys.executable, "-m", "espsecure", *words, *files]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (folder / "cipher.bin").read_bytes()


def measure(runs: dict[str, Run], repeat: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of each run, and how many times faster than the first one it is."""
    assert len({run() for run in runs.values()}) == 1, "the results differ"
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * 1000)
    medians = {name: statistics.median(values) for name, values in times.items()}
    reference = next(iter(medians.values()))
    return {name: {"ms": round(ms, 1), "times_faster": round(reference / ms, 2)} for name, ms in medians.items()}


def as_table(report: dict[str, object]) -> str:
    lines = [
        f"Python {report['python']}, cryptography {report['cryptography']}, "
        f"esptool {report['esptool']}, {report['cores']} cores"
    ]
    results = report["results"]
    assert isinstance(results, dict)
    for group, rows in results.items():
        lines += ["", f"{group:<28}{'median':>12}{'espsecure / this':>20}"]
        lines += [f"  {name:<26}{row['ms']:>9.1f} ms{row['times_faster']:>19.1f}x" for name, row in rows.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
