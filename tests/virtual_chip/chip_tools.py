# SPDX-License-Identifier: Apache-2.0
"""Unmodified esptool and espefuse on a virtual chip, spelled for esptool 4 and 5; and the revisions of the chips."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from support.matrix_tools import Done, esptool_version, run

from secure_ext.chips.chip import load_chip, revision_bits
from secure_ext.prove.virtual_chip.process import ChipOptions, ChipProcess

TEN_CHIPS = (
    *("esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3"),
    *("esp32c5", "esp32c6", "esp32c61", "esp32h2", "esp32p4"),
)
REVISION = {"esp32": 300, "esp32c2": 100, "esp32c5": 100, "esp32p4": 100}
"""Revisions of the chips the tests use; 0.0 for the others. esptool has no stub for an ESP32-C2 v0.0."""
COMMANDS = {
    *("flash-id", "write-flash", "verify-flash", "read-flash", "read-mac", "erase-flash", "erase-region", "chip-id"),
    *("get-security-info", "read-reg", "no-reset"),
    *("burn-efuse", "burn-key", "burn-bit", "burn-block-data", "burn-custom-mac", "check-error"),
    *("read-protect-efuse", "write-protect-efuse"),
}


def some_chips(*quick: str, without: tuple[str, ...] = ()) -> list[Any]:
    """The ten chips as parameters; all but `quick` are for the long run."""
    chips = [chip for chip in TEN_CHIPS if chip not in without]
    return [pytest.param(chip, marks=() if chip in quick else pytest.mark.long) for chip in chips]


def fab_bits(chip: str, revision: int | None = None) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """The bits that give a new virtual chip its revision."""
    wanted = REVISION.get(chip, 0) if revision is None else revision
    named = revision_bits(load_chip(chip, wanted), wanted)
    return tuple((int(block.removeprefix("BLOCK")), bits) for block, bits in named)


def jtag_field(chip: str) -> str:
    """The field that disables JTAG: a flag that nothing else depends on."""
    return {"esp32": "JTAG_DISABLE", "esp32s2": "HARD_DIS_JTAG"}.get(chip, "DIS_PAD_JTAG")


def new_chip(chip: str, folder: Path, **options: Any) -> ChipProcess:
    """A virtual chip to use as a context manager, new unless `folder` holds one."""
    return ChipProcess(ChipOptions(chip, **{"bits": fab_bits(chip), **options}), folder)


def esptool(chip: ChipProcess, *words: str, stub: bool = False) -> Done:
    """Runs esptool; `words` start with a command in hyphens."""
    before = ["--before", _spelled("no-reset"), "--after", _spelled("no-reset")]
    start = ["--chip", chip.options.chip, "--port", chip.url, *before, *([] if stub else ["--no-stub"])]
    return run([sys.executable, "-m", "esptool", *start, *map(_spelled, words)])


def espefuse(chip: ChipProcess, *words: str) -> Done:
    """Runs espefuse; `words` start with a command in hyphens."""
    start = ["--chip", chip.options.chip, "--port", chip.url, "--before", _spelled("no-reset"), "--do-not-confirm"]
    return run([sys.executable, "-m", "espefuse", *start, *map(_spelled, words)])


def summary(chip: ChipProcess) -> dict[str, Any]:
    """What ``espefuse summary`` says of each field."""
    done = succeed(espefuse(chip, "summary", "--format", "json"))
    fields: dict[str, Any] = json.loads(done[done.index("\n{") :])
    return fields


def dump(chip: ChipProcess) -> dict[int, bytes]:
    """What ``espefuse dump`` shows of each block, the first byte first."""
    lines = re.findall(r"\[\s*(\d+)\s*\] dump: ((?:[0-9a-f]{8}\s*)+)", succeed(espefuse(chip, "dump")))
    return {int(block): b"".join(bytes.fromhex(word)[::-1] for word in words.split()) for block, words in lines}


def succeed(done: Done) -> str:
    """The output of a program that must have succeeded."""
    assert done.exit_code == 0, done.output
    return done.output


def _spelled(word: str) -> str:
    return word.replace("-", "_") if word in COMMANDS and esptool_version() < (5, 0) else word
