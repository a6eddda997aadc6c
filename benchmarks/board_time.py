# SPDX-License-Identifier: Apache-2.0
"""How long a real board takes: the script, and esptool and espefuse by hand, on the same virtual chip with its clock.

The images are 4 MiB. The seconds of the board are computed (docs/board-time.md); those of the host are measured.
"""

from __future__ import annotations

import resource
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.documents.rehearsal import BoardTime
from secure_ext.formats.partition_table import (
    DATA_NVS,
    DATA_NVS_KEYS,
    FLAG_ENCRYPTED,
    TYPE_APP,
    TYPE_DATA,
    Partition,
)
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.policy.profile import Profile
from secure_ext.prove.rehearsal.script_run import chip_for
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

CHIPS = ("esp32c3", "esp32")
APP = 0x3C0000
PARTITIONS = (
    Partition("nvs", TYPE_DATA, DATA_NVS, 0xD000, 0x6000),
    Partition("nvs_keys", TYPE_DATA, DATA_NVS_KEYS, 0x13000, 0x1000, FLAG_ENCRYPTED),
    Partition("factory", TYPE_APP, 0x00, 0x20000, 0x3E0000),
)
"""One app that fills a flash of 4 MB."""


@dataclass(frozen=True)
class Board:
    """What one way of provisioning took."""

    time: BoardTime
    host: float


def make_bundle(chip: str, folder: Path) -> FinishedBundle:
    """With flash encryption and secure boot."""
    options = SampleOptions(flash_encryption="release", secure_boot=True, app_size=APP, partitions=PARTITIONS)
    build = make_sample_build(folder / chip, chip, options=options)
    pem = folder / chip / "key.pem"
    write_secret_file(pem, generate_signing_key(SignatureScheme.RSA3072))
    decision = decide(build, Profile(folder, {"secure_boot.keys": (str(pem),)}))
    return read_bundle(write_bundle(decision, folder / f"{chip}-bundle", lambda _: None).folder)


def measured(bundle: FinishedBundle, folder: Path, *lines: list[str]) -> Board:
    """Runs command lines one after the other on a new virtual chip; ``PORT`` in them is its port."""
    with ChipProcess(chip_for(bundle), folder) as chip:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for line in lines:
            words = [word.replace("PORT", chip.url) for word in line]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=bundle.folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        host = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if chip.board_time is None:
            raise RuntimeError("nothing has connected")
        return Board(chip.board_time, host)


def by_hand(bundle: FinishedBundle) -> list[list[str]]:
    """The commands of commands.sh, as esptool's documentation spells them."""
    lines = (bundle.folder / "commands.sh").read_text(encoding="utf-8").splitlines()
    commands = [
        shlex.split(line.replace('"$PORT"', "PORT")) for line in lines if line.startswith(("esptool", "espefuse"))
    ]
    programs = [[sys.executable, "-m", command[0], *command[1:]] for command in commands]
    fast = ["--baud", "921600"]
    return [[*line[:3], *(fast if line[2] == "esptool" else ["--do-not-confirm"]), *line[3:]] for line in programs]


def main() -> None:
    """Prints a table."""
    print("| chip | way | board, s | connections | round trips | host CPU, s | of it |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for chip in CHIPS:
            bundle = make_bundle(chip, folder)
            script = [sys.executable, str(bundle.script), "--port", "PORT", "--yes"]
            ways = {
                "provision.py": [[*script, "--journal", str(folder / f"{chip}-journal")]],
                "by hand": by_hand(bundle),
            }
            for way, lines in ways.items():
                board = measured(bundle, folder / f"{chip}-{way}", *lines)
                stages = ", ".join(f"{one.name} {one.milliseconds / 1000:.1f}" for one in board.time.stages)
                size = sum(image.end - image.offset for image in bundle.plan.images) / (1 << 20)
                print(
                    f"| {chip} | {way} | {board.time.milliseconds / 1000:.1f} | {board.time.connections} "
                    f"| {board.time.round_trips} for {size:.1f} MiB | {board.host:.2f} | {stages} |"
                )


if __name__ == "__main__":
    main()
