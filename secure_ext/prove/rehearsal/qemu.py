# SPDX-License-Identifier: Apache-2.0
"""Espressif's emulator: the same script against it, and the boot of what it leaves behind.

The command lines are those of ESP-IDF's ``idf.py qemu`` (tools/idf_py_actions/qemu_ext.py): which machine, how eFuses
and flash are attached, and the strapping value of the download mode. It knows three chips.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from secure_ext.bundle.private_folder import virtual_chip_folder
from secure_ext.bundle.read import FinishedBundle
from secure_ext.chips.chip import load_chip
from secure_ext.documents.rehearsal import CheckedBy
from secure_ext.errors import InputError, ToolError
from secure_ext.prove.rehearsal.rehearse import Progress
from secure_ext.prove.rehearsal.script_run import NewChip, chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.station.frozen import frozen

START_SECONDS = 10
BOOT_SECONDS = 90
"""How long a boot may take until the bootloader has loaded the app: an encrypted esp32 takes up to 31 seconds."""
SETTLING_SECONDS = 5
"""How long the emulator is watched after that, or after the first fault: the app may abort in its first steps."""
_NO_RESET = ("--before", "no-reset")
"""QEMU is not reset by a connection."""
SCRIPT_SECONDS = 900
"""How long the script may take: emulated flash and eFuses are slow, and 300 seconds were near the limit."""
_FAULTS = ("invalid header", "verification failed", "flash read err", "No bootable app", "panic", "abort()")
_SUCCESS = "Loaded app from partition"
"""What ESP-IDF's bootloader says at its default log level, before it starts the app (bootloader_utility.c)."""


@frozen
class Machine:
    """How QEMU emulates a chip.

    Attributes:
        program: name of the emulator.
        words: options of the machine.
        strapping: value of the strapping pins for download mode.
        efuse_bytes: size of its eFuse file: the readable words of all blocks one after the other, then zeros.
        revision: the silicon that it emulates, major * 100 + minor; None if it takes what the eFuses say.
        fab_fields: what the chip's maker burns and the tools go by: eFuse and value.
    """

    program: str
    words: tuple[str, ...]
    strapping: str
    efuse_bytes: int
    revision: int | None = None
    fab_fields: tuple[tuple[str, int], ...] = ()


MACHINES = {
    # esptool reckons the crystal, and from it the baud rate, by the calibration that every esp32 is sold with
    "esp32": Machine(
        "qemu-system-xtensa", ("-M", "esp32", "-m", "4M"), "0x0f", 124, revision=300, fab_fields=(("CLK8M_FREQ", 80),)
    ),
    "esp32c3": Machine("qemu-system-riscv32", ("-M", "esp32c3"), "0x02", 1024),
    "esp32s3": Machine("qemu-system-xtensa", ("-M", "esp32s3", "-m", "32M"), "0x07", 1024),
}


@frozen
class Emulator:
    """An emulator that is installed: how it emulates the chip, and its program."""

    machine: Machine
    program: str


def find_emulator(chip: str, folder: Path | None) -> Emulator:
    """The emulator of a chip, in `folder` or, if that is None, on PATH.

    Raises InputError SE842 (QEMU has no such chip), ToolError SE843 (it is not installed).
    """
    if chip not in MACHINES:
        raise InputError(
            "SE842",
            f"Espressif's QEMU does not emulate the {chip}",
            cure=f"rehearse without --qemu; it emulates {', '.join(MACHINES)}",
        )
    machine = MACHINES[chip]
    program = shutil.which(machine.program, path=str(folder) if folder else None)
    if program is None:
        raise _unusable(machine, "is not installed" if folder is None else f"is not in {folder}")
    return Emulator(machine, program)


def rehearse_in_qemu(bundle: FinishedBundle, progress: Progress, emulator: Emulator) -> CheckedBy:
    """Provisions an emulated chip with the bundle's script, boots it, and reads its serial output.

    Raises ToolError SE843 if the emulator does not start.
    """
    chip, machine, program = bundle.plan.chip, emulator.machine, emulator.program
    with virtual_chip_folder() as work:
        progress("the script on an emulated chip")
        _new_chip_files(bundle, machine, work)
        with _download_mode(machine, program, chip, work) as url:
            run = run_script(bundle, url, work / "journal", *_NO_RESET, seconds=SCRIPT_SECONDS)
        if run.exit_code:
            return CheckedBy(_title(machine), passed=False, evidence=(run.last_line,))
        progress("the boot of the emulated chip")
        log = _boot(machine, program, chip, work)
    faults = [line for line in log if any(fault in line for fault in _FAULTS)]
    booted = any(_SUCCESS in line for line in log)
    return CheckedBy(_title(machine), passed=booted and not faults, evidence=tuple(log) or ("it printed nothing",))


def _title(machine: Machine) -> str:
    return f"the bundle's script against {machine.program}, and the boot of the result"


def _new_chip_files(bundle: FinishedBundle, machine: Machine, work: Path) -> None:
    """The eFuses of a new chip, and erased flash, as QEMU reads them."""
    with ChipProcess(chip_for(bundle, _new_chip(bundle, machine)), work / "chip") as chip:
        burned = chip.efuses
        (work / "flash.bin").write_bytes(chip.flash)
    layout = json.loads((work / "chip" / "efuse_layout.json").read_text(encoding="ascii"))
    content = b"".join(
        bytes.fromhex(burned.get(str(block["id"]), ""))[: block["len"] * 4].ljust(block["len"] * 4, b"\0")
        for block in sorted(layout["blocks"], key=lambda block: int(block["id"]))
    )
    (work / "efuse.bin").write_bytes(content.ljust(machine.efuse_bytes, b"\0"))


def _new_chip(bundle: FinishedBundle, machine: Machine) -> NewChip:
    """A chip as it is sold, of the emulated silicon."""
    least = bundle.plan.min_revision
    revision = None if machine.revision is None else max(machine.revision, least)
    table = load_chip(bundle.plan.chip, least).efuses
    fields = [(table.require(name), value) for name, value in machine.fab_fields]
    burned = [
        (field.block, field.start + bit) for field, value in fields for bit in range(field.bits) if value >> bit & 1
    ]
    return NewChip(revision=revision, burned=tuple(burned))


def _words(machine: Machine, program: str, chip: str, work: Path) -> list[str]:
    return [
        *(program, *machine.words, "-nographic", "-monitor", "none", "-nic", "none"),
        *("-drive", f"file={work / 'flash.bin'},if=mtd,format=raw"),
        *("-drive", f"file={work / 'efuse.bin'},if=none,format=raw,id=efuse"),
        *("-global", f"driver=nvram.{chip}.efuse,property=drive,value=efuse"),
        *("-global", f"driver=timer.{chip}.timg,property=wdt_disable,value=true"),
    ]


@contextlib.contextmanager
def _download_mode(machine: Machine, program: str, chip: str, work: Path) -> Iterator[str]:
    """An emulated chip that waits for esptool; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = _words(machine, program, chip, work)
    line += ["-global", f"driver={chip}.gpio,property=strap_mode,value={machine.strapping}"]
    # by a clock of its own, or a busy computer loses serial bytes
    line += ["-icount", "4", "-serial", f"tcp:127.0.0.1:{port},server,nowait"]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _wait_for(process, machine, port)
            yield f"socket://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.communicate()


def _wait_for(process: subprocess.Popen[bytes], machine: Machine, port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            errors = process.stderr.read() if process.stderr else b""
            raise _unusable(machine, f"ended: {errors.decode(errors='replace').strip()[-200:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise _unusable(machine, f"opened no port within {START_SECONDS} seconds")


def _boot(machine: Machine, program: str, chip: str, work: Path) -> list[str]:
    """The serial output of a normal boot. It goes to a file: on a closed standard input the emulator drops it all."""
    serial = work / "serial.log"
    line = [*_words(machine, program, chip, work), "-serial", f"file:{serial}"]
    with subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            return _watched(process, serial)
        finally:
            process.terminate()  # firmware does not end by itself
            process.communicate()


def _watched(process: subprocess.Popen[bytes], serial: Path) -> list[str]:
    """What the emulator has printed when it has ended, or come to a verdict, or its time is up."""
    end = time.monotonic() + BOOT_SECONDS
    is_settling = False
    while True:
        has_ended = process.poll() is not None
        rows = _rows(serial)
        if has_ended or time.monotonic() > end:
            return rows
        if not is_settling and any(text in row for row in rows for text in (_SUCCESS, *_FAULTS)):
            is_settling = True
            end = min(end, time.monotonic() + SETTLING_SECONDS)
        time.sleep(0.2)


def _rows(serial: Path) -> list[str]:
    text = serial.read_bytes().decode(errors="replace") if serial.exists() else ""
    return ["".join(c for c in row if c.isprintable()) for row in text.splitlines() if row.strip()]


def _unusable(machine: Machine, how: str) -> ToolError:
    return ToolError(
        "SE843",
        f"{machine.program} {how}",
        cure="install it with ESP-IDF (idf_tools.py install qemu-xtensa qemu-riscv32), or name its folder: --qemu-dir",
    )
