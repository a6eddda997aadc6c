# SPDX-License-Identifier: Apache-2.0
"""What must outlive a loss of power is on the disk before the first eFuse is burned: its bytes, its name, its folders.

A board lives from the station's USB port: when the power goes, it goes for both. Two proofs: the system calls of whole
runs in their order, and a file system as it lies on its disk at some moment, which is what a cut leaves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from board_runs import Station, template

from secure_ext.bundle.read import read_bundle
from secure_ext.station.durable import write_durably
from secure_ext.station.journal import Journal

MAC = "0200000000aa"
TRACED = "fsync,fdatasync,rename,renameat,renameat2,mkdir,mkdirat,write"
CALL = re.compile(r"^(?P<time>[0-9.]+) (?P<name>\w+)\((?P<rest>.*)\) = (?P<result>-?\d+)")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
OF_FILE = re.compile(r"^\d+<([^>]*)>")
BURN = r"{\"do\": \"burn\""
"""In what is written to the process that holds the board, as strace shows it."""

pytestmark = pytest.mark.cold  # the calls of real programs are looked at
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace, which shows the system calls, is not installed"
)


@dataclass
class Disk:
    """What of the files that a traced run has made is on the disk: bytes of files; and names in folders that are not.

    Attributes:
        synced: files whose bytes are on the disk.
        names_in_memory: files and folders whose name in their folder is not.
        made: everything that was seen to be made.
    """

    synced: set[Path] = field(default_factory=set)
    names_in_memory: set[Path] = field(default_factory=set)
    made: set[Path] = field(default_factory=set)

    def see(self, name: str, rest: str) -> None:
        """One call that succeeded."""
        paths = [Path(text) for text in QUOTED.findall(rest)]
        if name in ("fsync", "fdatasync") and (found := OF_FILE.match(rest)):
            path = Path(found[1])
            if path not in self.made and not path.is_dir():  # it was made before, and nobody saw its folder synced
                self._name(path)
            self.synced.add(path)
            self.names_in_memory = {other for other in self.names_in_memory if other.parent != path}
        elif name.startswith("mkdir"):
            self._name(paths[0])
        elif name.startswith("rename"):
            old, new = paths
            for paths_of_a_kind in (self.synced, self.names_in_memory, self.made):
                moved = {path for path in paths_of_a_kind if path == old or old in path.parents}
                paths_of_a_kind.difference_update(moved)
                paths_of_a_kind.update(new / path.relative_to(old) for path in moved)
            self._name(new)

    def _name(self, path: Path) -> None:
        self.names_in_memory.add(path)
        self.made.add(path)

    def lost(self, path: Path) -> list[Path]:
        """What a cut would take of a file: its name, the name of a folder that it lies in, or its bytes."""
        names = [part for part in (path, *path.parents) if part in self.names_in_memory]
        return names + ([path] if path not in self.synced else [])


def disk_at_the_first_burn(line: list[str], environment: dict[str, str], folder: Path) -> Disk:
    """Runs a command to its end under strace; the disk in the moment in which it is asked to burn."""
    disk = Disk()
    for name, rest in calls(line, environment, folder):
        if name == "write" and BURN in rest:
            return disk
        disk.see(name, rest)
    raise AssertionError("nothing was burned")


def calls(line: list[str], environment: dict[str, str], folder: Path) -> Iterator[tuple[str, str]]:
    """The calls of a command and all that it starts, in their order, those that failed left out: name and arguments."""
    folder.mkdir()
    strace = [
        "strace",
        "-ff",
        "--seccomp-bpf",
        "-ttt",
        "-y",
        "-v",
        "-s",
        "4096",
        "-e",
        f"trace={TRACED}",
        "-o",
        str(folder / "calls"),
    ]
    done = subprocess.run(
        [*strace, *line], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in folder.iterdir())
    found = [match for text in texts for line in text.splitlines() if (match := CALL.match(line))]
    for call in sorted(found, key=lambda call: float(call["time"])):
        if int(call["result"]) >= 0:
            yield call["name"], call["rest"]


# ---- the calls in their order


@needs_strace
def test_the_journal_is_on_the_disk_before_the_first_burn(signing_keys: dict[str, Path], tmp_path: Path) -> None:
    """In folders that are new, as all are at the first board."""
    made = template(tmp_path, "esp32c3", signing_keys["rsa_0"], flash_encryption__key="generate", nvs__key="generate")
    station = Station(made, tmp_path)
    journal = tmp_path / "new" / "and" / "newer"
    with station.board(MAC) as board:
        line = [sys.executable, "-u", str(made.folder / "provision.py"), "--port", board.url, "--yes"]
        line += ["--until", "burn", "--journal", str(journal)]
        disk = disk_at_the_first_burn(line, station.environment, tmp_path / "trace")
    entry = journal / f"{MAC}.json"
    assert entry in disk.made and journal in disk.made, "it was made in this run"
    assert disk.lost(entry) == []


@needs_strace
def test_record_and_sealed_copy_are_on_the_disk_before_the_first_burn(
    signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    """With keys per device: without the record nobody could finish the board; without the copy its keys are lost."""
    sealed = {"per_device__keep": "sealed", "per_device__seal_to": str(tmp_path / "public.pem")}
    station = Station(template(tmp_path, "esp32c3", signing_keys["rsa_0"], **sealed), tmp_path)
    with station.board(MAC) as board:
        line = station.line(board, "--until", "burn")
        disk = disk_at_the_first_burn(line, station.environment, tmp_path / "trace")
    record = station.record(MAC)
    needed = [path for path in record.rglob("*") if path.is_file()]
    assert {"plan.json", "manifest.json", "provision.py", "sample.bin"} <= {path.name for path in needed}
    needed += [station.bundle.folder / "journal" / f"{MAC}.json"]
    needed += [station.bundle.folder / "sealed" / f"{MAC}.sealed"]
    for path in needed:
        assert path in disk.made
        assert disk.lost(path) == []
    assert read_bundle(record).plan.steps, "and it counts as evidence of what was begun"


@needs_strace
def test_generated_keys_are_on_the_disk_when_the_bundle_is_there(
    signing_keys: dict[str, Path], sample_project: Callable[[str], Path], tmp_path: Path
) -> None:
    """In the bundle and in their home: boards may carry them a second later."""
    output, home = tmp_path / "new" / "bundle", tmp_path / "newer" / "keys"
    line = [sys.executable, "-m", "secure_ext", "bundle", "-B", str(sample_project("esp32c3") / "build")]
    line += ["-o", str(output), "--key-home", str(home), "--signing-key", str(signing_keys["rsa_0"])]
    disk = Disk()
    for name, rest in calls(line, dict(os.environ), tmp_path / "trace"):
        disk.see(name, rest)
    keys = [*(output / "keys").glob("*.bin"), *home.rglob("*.bin"), *home.rglob("home.json")]
    assert len(keys) >= 3
    for path in keys:
        assert path in disk.made
        assert disk.lost(path) == []


# ---- what a power cut leaves


def program(name: str) -> str:
    """Where a program is, also those of the administrator; skips without it."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    """A file system in a file; skips where that is not allowed."""
    place.mkdir()
    done = subprocess.run([program("mount"), "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run([program("umount"), place], check=True)


def new_file_system(path: Path) -> Path:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a file system, to look at it as it lies on its disk")
    with path.open("wb") as file:
        file.truncate(0x1000000)
    subprocess.run([program("mkfs.ext4"), "-q", "-F", path], check=True, capture_output=True)
    return path


def test_a_power_cut_leaves_the_journal(tmp_path: Path) -> None:
    """The disk is copied in the moment in which burning would begin; a file without fsync shows that it can be lost."""
    image = new_file_system(tmp_path / "disk.img")
    with mounted(image, tmp_path / "station") as station:
        (station / "lost.json").write_text("not synced")
        image_before = tmp_path / "before.img"
        shutil.copyfile(image, image_before)
        Journal(station / "journal" / "new" / "board.json", "keys", "images").note_burning()
        write_durably(station / "journal" / "boards" / "plan.json", b"record")
        shutil.copyfile(image, tmp_path / "cut.img")
    with mounted(image_before, tmp_path / "earlier") as earlier:
        assert not (earlier / "lost.json").exists() or not (earlier / "lost.json").read_text(), "the proof can fail"
    with mounted(tmp_path / "cut.img", tmp_path / "afterwards") as afterwards:
        journal = Journal(afterwards / "journal" / "new" / "board.json", "keys", "images")
        assert journal.burning_begun and journal.never_read_back
        assert (afterwards / "journal" / "boards" / "plan.json").read_bytes() == b"record"
