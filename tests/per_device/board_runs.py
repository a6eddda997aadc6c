# SPDX-License-Identifier: Apache-2.0
"""Bundles with keys per device, ``secure-provision flash`` on virtual boards, and where keys may be looked for."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.sealing import generate_sealing_pair
from secure_ext.policy.profile import Profile, Value
from secure_ext.prove.rehearsal.script_run import chip_for
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

CONFIG_256 = {"SECURE_FLASH_ENCRYPTION_AES256": True, "SECURE_FLASH_ENCRYPTION_AES128": False}


def template(folder: Path, chip: str, signing_key: Path, **values: Value) -> FinishedBundle:
    """A small bundle of a chip whose boards get flash encryption (and, where there is one, NVS) keys of their own."""
    options = SampleOptions(
        flash_encryption="release",
        secure_boot=True,
        app_size=20_000,
        config=CONFIG_256 if chip == "esp32s3" else {},
    )
    build = make_sample_build(folder / "project", chip, options=options)
    private, public = generate_sealing_pair()
    write_secret_file(folder / "private.pem", private)
    (folder / "public.pem").write_bytes(public)
    settings: dict[str, Value] = {
        "secure_boot.keys": (str(signing_key),),
        "flash_encryption.key": "per-device",
        "lockdown.download_mode": "open",
    }
    if chip not in ("esp32", "esp32c2"):
        settings["nvs.key"] = "per-device"
    settings |= {key.replace("__", "."): value for key, value in values.items()}
    made = write_bundle(decide(build, Profile(folder, settings)), folder / "bundle", lambda _: None)
    return read_bundle(made.folder)


@dataclass
class Station:
    """A bundle, and a place for virtual boards and temporary files of its own."""

    bundle: FinishedBundle
    folder: Path

    @property
    def temporary(self) -> Path:
        """TMPDIR of what runs here."""
        path = self.folder / "tmp"
        path.mkdir(exist_ok=True)
        return path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"TMPDIR": str(self.temporary)}

    @property
    def private(self) -> list[str]:
        """A place of its own for private folders, where no other run looks."""
        return ["--private", str(self.temporary)] if self.bundle.has_per_device_keys else []

    def board(self, mac: str, cut: str | None = None) -> ChipProcess:
        """A virtual board, new or as it was left."""
        return ChipProcess(dataclasses.replace(chip_for(self.bundle, cut=cut), mac=mac), self.folder / mac)

    def line(self, chip: ChipProcess, *options: str) -> list[str]:
        words = [sys.executable, "-m", "secure_ext", "flash", str(self.bundle.folder), "--port", chip.url]
        return [*words, "--yes", "--without-rehearsal", *self.private, *options]

    def flash(self, chip: ChipProcess, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end; its output is on stdout."""
        return subprocess.run(
            self.line(chip, *options),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )

    def kill_when(self, chip: ChipProcess, is_time: Callable[[str], bool], *, politely: bool = False) -> str:
        """Runs the command and kills it, with all it started, at a moment told by its output; returns the output.

        `politely` asks the command alone to end, as a shutdown does.
        """
        output = self.folder / "killed.txt"
        with output.open("w") as file:
            process = subprocess.Popen(
                self.line(chip),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            end = time.monotonic() + 120
            while not is_time(output.read_text()) and process.poll() is None and time.monotonic() < end:
                time.sleep(0.005)
            assert process.poll() is None, "it ended before it could be killed: " + output.read_text()
            if politely:
                process.terminate()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return output.read_text()

    def record(self, mac: str) -> Path:
        """Where what is needed to finish a board without its keys is kept."""
        return self.bundle.folder / "journal" / "boards" / mac


def keys_on(chip: ChipProcess, bundle: FinishedBundle) -> dict[str, bytes]:
    """The board's own keys as they are burned on a chip, by role, with their bytes in the order of key files."""
    keys = {}
    for step in bundle.plan.keys:
        if step.role in bundle.own_roles:
            block = bytes.fromhex(chip.efuses.get(str(step.block_number), "")).ljust(32, b"\0")
            content = block[: step.length]
            keys[str(step.role)] = content[::-1] if step.reversed else content
    return keys


def files_below(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that can be read below some folders."""
    for folder in folders:
        for path in folder.rglob("*"):
            try:
                if path.is_file():
                    yield path, path.read_bytes()
            except OSError:
                continue


def private_folders(station: Station) -> list[Path]:
    """The private folders for keys that are there now."""
    return sorted(station.temporary.glob("secure-provision-keys-*"))
