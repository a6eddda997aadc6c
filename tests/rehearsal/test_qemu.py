# SPDX-License-Identifier: Apache-2.0
"""The rehearsal in QEMU, with a stand-in for the emulator: a program of its name that serves the virtual chip.

The real one is not to be had here; what it is given (machine, eFuse file, flash file, strapping) is what is tested.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rehearsal_bundles import BundleOf, copied_bundles  # noqa: F401 (a fixture)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Cell

from secure_ext.errors import ToolError
from secure_ext.prove.rehearsal import qemu

CELL = Cell("esp32c3", "boot")
STAND_IN = """
import os, pathlib, sys, time
words = sys.argv[1:]
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
chip = words[words.index("-M") + 1]
efuses = pathlib.Path(next(w for w in words if "id=efuse" in w).split(",")[0].removeprefix("file="))
content = efuses.read_bytes()
assert len(content) == (124 if chip == "esp32" else 1024)
if (here / "broken").exists():
    sys.exit("no such machine")
serial = words[words.index("-serial") + 1]
if not any("strap_mode" in w for w in words):
    output = None
    if serial.startswith("file:"):
        output = open(serial.removeprefix("file:"), "w")
    elif serial == "stdio" and os.read(0, 1):  # its character device closes with the standard input, and all is lost
        output = sys.stdout
    delay = here / "seconds"
    time.sleep(float(delay.read_text()) if delay.exists() else 0)
    if output:
        output.write((here / "boot.log").read_text())
        output.flush()
    time.sleep(600)  # firmware does not end by itself
(here / "fab.bin").write_bytes(content)
if chip == "esp32" and content[16] != 80:
    sys.exit("asked for baud 0")  # from CK8M_FREQ
if "-icount" not in words:
    time.sleep(600)  # a busy computer loses serial bytes: nothing that answers
port = serial.split(":")[2].split(",")[0]
reading, writing = os.pipe()
os.set_inheritable(writing, True)
os.dup2(reading, 0)
state = here / "state"
state.mkdir()
bits = "0:111,180" if chip == "esp32" else "1:114,115"
os.execv(sys.executable, [sys.executable, "-m", "secure_ext.prove.virtual_chip", "--chip", chip, "--port", port,
                          "--state", str(state), "--bits", bits])
"""


@pytest.fixture
def emulator(tmp_path: Path) -> Path:
    """A folder with the stand-in; its next boot prints the file ``boot.log``."""
    folder = tmp_path / "emulator"
    folder.mkdir()
    for name in ("qemu-system-riscv32", "qemu-system-xtensa"):
        program = folder / name
        program.write_text(f"#!{sys.executable}\n{STAND_IN}")
        program.chmod(0o755)
    (folder / "boot.log").write_text("ESP-ROM:esp32c3\nI (60) boot: Loaded app from partition at offset 0x20000\n")
    return folder


def test_the_script_runs_and_the_result_boots(
    bundle_of: BundleOf, emulator: Path, run_cli: Callable[..., Result]
) -> None:
    """The report names this means too, with the serial output."""
    bundle = bundle_of(CELL)
    done = run_cli("rehearse", bundle.folder, "--qemu", "--qemu-dir", emulator, "--format", "json")
    assert done.exit_code == 0, done.output
    last = json.loads(done.stdout)["means"][-1]
    assert "qemu-system-riscv32" in last["name"]
    assert last["evidence"][-1] == "I (60) boot: Loaded app from partition at offset 0x20000"
    download, boot = (emulator / "calls").read_text().splitlines()
    assert "driver=esp32c3.gpio,property=strap_mode,value=0x02" in download
    assert "strap_mode" not in boot
    assert "-M esp32c3" in boot and "if=mtd" in boot
    assert "-serial file:" in boot and "stdio" not in boot
    assert "-icount 4" in download


@pytest.mark.parametrize(
    "log",
    [
        "I (60) boot: Loaded app from partition at offset 0x20000\nSecure boot V2 verification failed.\n",
        pytest.param("", marks=pytest.mark.long),
        pytest.param("invalid header\n", marks=pytest.mark.long),
    ],
    ids=["not verified", "silent", "no header"],
)
def test_a_boot_that_fails_fails_the_rehearsal(
    log: str, bundle_of: BundleOf, emulator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "BOOT_SECONDS", 8)
    (emulator / "boot.log").write_text(log)
    found = qemu.find_emulator(CELL.chip, emulator)
    assert not qemu.rehearse_in_qemu(bundle_of(CELL), lambda _: None, found).passed


@pytest.mark.long
def test_a_slow_boot_is_waited_for(bundle_of: BundleOf, emulator: Path) -> None:
    """An esp32 decrypts for up to 31 seconds before it says a word."""
    (emulator / "seconds").write_text("31")
    found = qemu.find_emulator(CELL.chip, emulator)
    assert qemu.rehearse_in_qemu(bundle_of(CELL), lambda _: None, found).passed


def test_an_esp32_is_one_as_it_is_sold(bundle_of: BundleOf, emulator: Path) -> None:
    """Of the emulated silicon, with the calibration that esptool reckons the baud rate by, whatever the plan says."""
    bundle = bundle_of(Cell("esp32", "release"))
    assert bundle.plan.min_revision < 300
    assert qemu.rehearse_in_qemu(bundle, lambda _: None, qemu.find_emulator("esp32", emulator)).passed
    fab = int.from_bytes((emulator / "fab.bin").read_bytes(), "little")
    assert (fab >> 128 & 0xFF, fab >> 111 & 1, fab >> 180 & 1) == (80, 1, 1)


def test_what_cannot_be_emulated_is_said_at_once(
    bundle_of: BundleOf, emulator: Path, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    """No emulator, and a chip that it does not know: before anything else is done."""
    missing = run_cli("rehearse", bundle_of(CELL).folder, "--qemu", "--qemu-dir", tmp_path)
    assert (missing.exit_code, "SE843" in missing.stderr) == (4, True), missing.output
    other = run_cli("rehearse", bundle_of(Cell("esp32c6", "boot")).folder, "--qemu", "--qemu-dir", emulator)
    assert (other.exit_code, "SE842" in other.stderr) == (3, True), other.output


def test_an_emulator_that_ends_at_once(bundle_of: BundleOf, emulator: Path) -> None:
    """Its own words are in the error."""
    (emulator / "broken").touch()
    with pytest.raises(ToolError) as raised:
        qemu.rehearse_in_qemu(bundle_of(CELL), lambda _: None, qemu.find_emulator(CELL.chip, emulator))
    assert raised.value.code == "SE843"
    assert "no such machine" in raised.value.cause
