# SPDX-License-Identifier: Apache-2.0
"""`plan` shows the maps: the same words on a terminal and in a log, and colour only on a terminal."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from secure_ext.cli.show.maps import show

LINES = ((("flash map", "bold"),), (("  |", ""), ("##--", "green"), ("|  [red]ota_0[/red]  " + "x" * 200, "")))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("chip", ["esp32", "esp32c2", "esp32c3"])
def test_plan_shows_every_partition_and_key_block(
    chip: str,
    sample_project: Callable[[str], Path],
    signing_key_for: Callable[[str], Path],
    run_cli: Callable[..., Result],
) -> None:
    shown = run_cli("plan", "-B", sample_project(chip) / "build", "--signing-key", signing_key_for(chip)).stdout
    maps = shown[shown.index("flash map: 4 MiB") : shown.index("flash: can be repeated")]
    for label in ("bootloader", "partition table", "nvs", "otadata", "nvs_keys", "ota_0", "ota_1", "storage"):
        assert re.search(rf"^  \|[ #-]{{32}}\|  0x[0-9a-f]{{6}} .*  {label} ", maps, re.MULTILINE), label
    assert re.search(r"ota_0 +signed \+ encrypted$", maps, re.MULTILINE)
    blocks = {"esp32": ["BLOCK1", "BLOCK2"], "esp32c2": ["BLOCK_KEY0"]}
    for name in blocks.get(chip, [f"BLOCK_KEY{number}" for number in range(6)]):
        assert f"  {name} " in maps
    assert maps.count("Flash encryption key") == 1 and "read-protected, write-protected" in maps
    assert "\x1b" not in shown and shown.isascii()


def printed(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        patch.setattr(sys, "stdout", stream)
        show(LINES)
    return stream.getvalue()


def test_colour_changes_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    log = printed(io.StringIO(), monkeypatch)
    terminal = printed(Terminal(), monkeypatch)
    assert "\x1b[" in terminal and "\x1b" not in log
    assert (
        re.sub(r"\x1b\[[0-9;]*m", "", terminal) == log == "flash map\n  |##--|  [red]ota_0[/red]  " + "x" * 200 + "\n"
    )
    monkeypatch.setenv("NO_COLOR", "1")
    assert printed(Terminal(), monkeypatch) == log
