# SPDX-License-Identifier: Apache-2.0
"""One run of a bundle's script on a virtual chip, as an operator would run it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from secure_ext.bundle.read import FinishedBundle
from secure_ext.chips.chip import load_chip, revision_bits
from secure_ext.prove.virtual_chip.process import ChipOptions
from secure_ext.station.board_needs import needed_flash
from secure_ext.station.frozen import frozen

TIMEOUT = 300
"""Seconds after which a run has hung."""
_SMALLEST_FLASH = 0x200000


@frozen
class ScriptRun:
    """What came of it. `output` is what the script printed; it never prints a key."""

    exit_code: int
    output: str

    @property
    def stop_code(self) -> str | None:
        """The code of its STOP line."""
        found = re.search(r"^STOP (SE\d{3})", self.output, re.MULTILINE)
        return found.group(1) if found else None

    @property
    def last_line(self) -> str:
        """What it said last, without its advice."""
        lines = [line for line in self.output.splitlines() if line.strip() and not line.startswith("  ")]
        return lines[-1].strip() if lines else "nothing"


@frozen
class NewChip:
    """What a new virtual chip is, where it is not as the plan wants it.

    Attributes:
        flash_size: bytes; what the firmware asks for if None.
        revision: major * 100 + minor; the least that the plan is for if None.
        burned: block and bit numbers that are burned already.
        assume: what is assumed of how long a real board takes, as ``NAME=VALUE``.
    """

    flash_size: int | None = None
    revision: int | None = None
    burned: tuple[tuple[int, int], ...] = ()
    assume: tuple[str, ...] = ()


AS_PLANNED = NewChip()


def chip_for(bundle: FinishedBundle, new: NewChip = AS_PLANNED, *, cut: str | None = None) -> ChipOptions:
    """The options of a virtual chip for `bundle`.

    Raises InputError SE204 and the ToolErrors of `load_chip` if a revision is given and the chip cannot be looked up.
    """
    needed = max(needed_flash(bundle.plan), bundle.manifest.flash_size or 0, _SMALLEST_FLASH)
    size = new.flash_size or 1 << (needed - 1).bit_length()
    name = bundle.plan.chip
    revision = bundle.plan.virtual_revision_bits
    if new.revision is not None:
        asked = bundle.plan.requirements
        burned = {"FLASH_TYPE": 1} if asked and asked.octal_flash else {}
        chip = load_chip(name, new.revision)
        revision = revision_bits(chip, new.revision, asked.min_block_revision if asked else 0, burned)
    bits = [(int(block.removeprefix("BLOCK")), tuple(numbers)) for block, numbers in revision]
    bits += [(block, (bit,)) for block, bit in new.burned]
    return ChipOptions(name, flash_size=size, bits=tuple(bits), cut=cut, assume=new.assume)


def carry(bundle: FinishedBundle, chip: ChipOptions, state: Path) -> None:
    """Gives a new virtual chip something in each part of its flash that the plan keeps, the same each time.

    The boot check compares it with what is there in the end (``flash_before.bin``).
    """
    if not bundle.plan.kept:
        return
    flash = bytearray(b"\xff" * chip.flash_size)
    for step in bundle.plan.kept:
        flash[step.offset : step.end] = hashlib.shake_256(f"kept at {step.offset}".encode()).digest(step.size)
    state.mkdir(mode=0o700, parents=True)
    for name in ("flash.bin", "flash_before.bin"):
        (state / name).write_bytes(flash)


def run_script(bundle: FinishedBundle, url: str, journal: Path, *options: str, seconds: int = TIMEOUT) -> ScriptRun:
    """Runs ``provision.py --port URL --yes`` with this Python's esptool, for at most so many `seconds`."""
    line = [sys.executable, str(bundle.script), "--port", url, "--yes"]
    try:
        done = subprocess.run(
            [*line, "--journal", str(journal), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        shown = error.stdout if isinstance(error.stdout, str) else ""
        return ScriptRun(-1, f"{shown}\nthe script did not end within {seconds} seconds")
    return ScriptRun(done.returncode, done.stdout)
