# SPDX-License-Identifier: Apache-2.0
"""A damaged bundle or a wrong esptool ends ``provision.py`` before it does anything to the board."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sabotage import (
    ESP32C3,
    Station,
    check_stop,
    new_station,  # noqa: F401 (a fixture)
    shared_bundles,  # noqa: F401 (a fixture)
)
from support.matrix_tools import Done, run
from support.warm_python import REAL_PYTHON

from secure_ext.prove.virtual_chip.process import events


def swap(folder: Path) -> None:
    """Two images, each whole."""
    images = folder / "images"
    (images / "otadata.bin").rename(images / "aside.bin")
    (images / "phy_init.bin").rename(images / "otadata.bin")
    (images / "aside.bin").rename(images / "phy_init.bin")


def alter(folder: Path) -> None:
    """One bit."""
    image = folder / "images" / "sample.bin"
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.write_bytes(content)


def cut_short(folder: Path) -> None:
    """As a copy that was interrupted."""
    image = folder / "images" / "sample.bin"
    image.write_bytes(image.read_bytes()[:-1])


def other_key(folder: Path) -> None:
    """Not the key the images were encrypted with."""
    (folder / "keys" / "flash_encryption_key.bin").write_bytes(bytes(range(32)))


@pytest.mark.parametrize("sabotage", [swap, alter, cut_short, other_key])
def test_a_changed_file(sabotage: Callable[[Path], None], station: Station) -> None:
    """The chip is not even connected to."""
    bundle = station.folder / "bundle"
    shutil.copytree(station.bundle(ESP32C3), bundle)
    sabotage(bundle)
    log = station.folder / "chip.log"
    with station.board(ESP32C3, log=log) as board:
        station.check_refusal(bundle, board, "SE820")
    assert events(log) == []


@pytest.mark.skipif(sys.platform == "win32", reason="programs are found by their first line")
@pytest.mark.parametrize("first_line", ["", "#!/bin/sh", "#!/no/such/python3"])
def test_no_esptool(first_line: str, station: Station) -> None:
    """A Python with no packages of its own, and on PATH nothing, or programs of no Python that is there."""
    check_stop(provision_without_packages(first_line, station, "socket://127.0.0.1:1"), "SE801")


@pytest.mark.skipif(sys.platform == "win32", reason="programs are found by their first line")
def test_an_esptool_of_another_python(station: Station) -> None:
    """Its programs are on PATH, as pipx leaves them: their Python holds the connection."""
    with station.board(ESP32C3) as board:
        done = provision_without_packages(f"#!{REAL_PYTHON}", station, board.url)
    assert done.exit_code == 0, done.output


def provision_without_packages(first_line: str, station: Station, port: str) -> Done:
    programs = station.folder / "bin"
    programs.mkdir()
    if first_line:
        program = programs / "espefuse"
        program.write_text(f"{first_line}\nfrom espefuse import _main\n_main()\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    _, *rest = station.command_line(station.bundle(ESP32C3), port)
    return run([REAL_PYTHON, "-I", "-S", *rest], environment={**os.environ, "PATH": str(programs)})
