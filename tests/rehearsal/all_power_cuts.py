# SPDX-License-Identifier: Apache-2.0
"""Every power cut, for ten chips and every set of features: a table row each, as docs/power-cuts.md shows it.

Run by ``make power-cuts``; arguments choose cells by a part of their name. Exit code 1 if one cut is not recovered from
or recognised.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from pathlib import Path

from support.matrix_bundles import signing_keys
from support.matrix_cells import ONE_SLOT, TEN_CHIPS, Cell, make
from support.matrix_tools import esptool_version

from secure_ext.bundle.read import read_bundle
from secure_ext.documents.rehearsal import DAMAGED, FAILED, RECOVERED
from secure_ext.prove.rehearsal.power_cuts import power_cuts

CELLS = [
    *(Cell(chip, features) for features in ("both", "boot", "release", "development") for chip in TEN_CHIPS),
    *(Cell(chip, "both", keys=3) for chip in TEN_CHIPS if chip not in ONE_SLOT),
    *(Cell(chip, "both", key_bits=256) for chip in ("esp32s2", "esp32s3", "esp32p4")),
]


def main(wanted: list[str]) -> int:
    """Prints the table; returns how many cells failed."""
    failed = 0
    say("| chip, features | register writes | cuts | recovered | damaged, and refused | failed | seconds |")
    say("|---|---|---|---|---|---|---|")
    for cell in CELLS:
        if (wanted and not any(part in str(cell) for part in wanted)) or esptool_version() < cell.needs_esptool:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            made = make(cell, functools.partial(signing_keys, folder=folder), folder / "cell")
            bundle = read_bundle(made.folder)
            begin = time.monotonic()
            report = power_cuts(bundle, lambda _: None)
        seconds = time.monotonic() - begin
        counts = " | ".join(str(report.counts[outcome]) for outcome in (RECOVERED, DAMAGED, FAILED))
        say(f"| {cell} | {report.register_writes} | {len(report.cuts)} | {counts} | {seconds:.0f} |")
        for cut in report.cuts:
            if cut.outcome == FAILED:
                say(f"  {cut}")
        failed += not report.passed
    return failed


def say(line: str) -> None:
    """A line at once, also into a file."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
