# SPDX-License-Identifier: Apache-2.0
"""A full disk, a wrong clock, an interrupt, two at once: the output is whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_builds import truncated_app
from bad_requests import missing_signing_key, nothing_to_do
from bad_world import (
    CASES,
    Snapshot,
    World,
    check_coded_error,
    spoiled_world,  # noqa: F401 (a fixture)
)
from click.testing import Result

from secure_ext.station.fingerprint import fingerprint

pytestmark = pytest.mark.cold

# ---- disk, clock, interrupts, two at once


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("name", ["sample.bin", "secure_boot_digest_0.bin"])
def test_disk_full(
    *,
    number: int,
    name: str,
    world: World,
    run_cli: Callable[..., Result],
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_bytes = Path.write_bytes

    def fail(path: Path, data: bytes) -> int:
        if path.name == name and ".partial" in str(path):
            raise OSError(number, os.strerror(number))
        return write_bytes(path, data)

    before = snapshot(world.folder)
    monkeypatch.setattr(Path, "write_bytes", fail)
    result = run_cli(*world.arguments())
    check_coded_error(result.stdout, result.stderr, "SE702")
    assert result.exit_code == 3
    assert os.strerror(number) in result.stderr
    assert snapshot(world.folder) == before


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from secure_ext.cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is one of POSIX")
@pytest.mark.parametrize(("limit", "code"), [(10, "SE631"), (5000, "SE702"), (100_000, "SE702")])
def test_files_cannot_grow(limit: int, code: str, world: World, snapshot: Snapshot) -> None:
    before = snapshot(world.folder)
    words = [sys.executable, "-B", "-c", LIMITED, str(limit), *(str(word) for word in world.arguments())]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    check_coded_error(done.stdout, done.stderr, code)
    assert done.returncode == 3
    assert snapshot(world.folder) == before


def test_a_clock_that_makes_no_sense(
    world: World, run_cli: Callable[..., Result], snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "9" * 30)
    before = snapshot(world.folder)
    result = run_cli(*world.arguments())
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    if result.exit_code:
        assert snapshot(world.folder) == before


SLOW = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore these
signal.signal(getattr(signal, "SIGQUIT", signal.SIGTERM), signal.SIG_DFL)
import secure_ext.bundle.write as write
produce = write.produce
def slow(*arguments):
    Path(sys.argv[1]).touch()
    time.sleep(30)
    return produce(*arguments)
write.produce = slow
from secure_ext.cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize(("name", "exit_code"), [("SIGINT", 1), ("SIGTERM", 143), ("SIGHUP", 129), ("SIGQUIT", 131)])
@pytest.mark.parametrize("again", [False, True])
def test_interrupted(
    *,
    name: str,
    exit_code: int,
    again: bool,
    world: World,
    run_cli: Callable[..., Result],
    snapshot: Snapshot,
) -> None:
    if again:
        assert run_cli(*world.arguments()).exit_code == 0
    before = snapshot(world.folder)
    mark = world.folder / "begun"
    words = [sys.executable, "-c", SLOW, str(mark), *(str(word) for word in world.arguments())]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        for _ in range(300):
            if mark.exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        # it is in the middle: its keys are written, the bundle is not
        assert [path for path in world.folder.rglob("flash_encryption_key.bin") if ".partial" in str(path)]
        process.send_signal(signal.Signals[name])
        stdout, stderr = process.communicate(timeout=20)
    mark.unlink()
    assert process.returncode == exit_code
    assert "Traceback" not in stdout + stderr
    assert snapshot(world.folder) == before


def check_whole(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    present = {
        path.relative_to(bundle).as_posix()
        for path in bundle.rglob("*")
        if path.is_file() and path.parent.name not in ("keys", "journal")
    }
    assert present == {*manifest["files"], "manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest
    for key in manifest["keys"]:
        folder = "digests" if key["role"].startswith("secure_boot_digest") else "keys"
        assert fingerprint((bundle / folder / f"{key['role']}.bin").read_bytes()) == key["fingerprint"]


@pytest.mark.parametrize("again", [False, True])
def test_two_bundles_at_once(again: bool, world: World, run_cli: Callable[..., Result]) -> None:
    if again:
        assert run_cli(*world.arguments()).exit_code == 0
    words = [sys.executable, "-m", "secure_ext", *(str(word) for word in world.arguments())]
    processes = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") for _ in range(2)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr
        assert process.returncode in (0, 3), stderr
    assert any(process.returncode == 0 for process in processes)
    check_whole(world.folder / "out")
    assert sorted(path.name for path in world.folder.iterdir()) == ["out", "project"]


# ---- the same through a real process


@pytest.mark.parametrize("bad", [truncated_app, missing_signing_key, nothing_to_do], ids=lambda bad: bad.__name__)
def test_as_a_program(
    bad: Callable[[World], None],
    world: World,
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    snapshot: Snapshot,
) -> None:
    expected = next(registered for registered in CASES if registered.spoil is bad)
    bad(world)
    before = snapshot(world.folder)
    done = run_script(*world.arguments())
    check_coded_error(done.stdout, done.stderr, expected.code)
    assert done.returncode == expected.exit_code
    assert snapshot(world.folder) == before
