# SPDX-License-Identifier: Apache-2.0
"""The private folder for keys: for the owner alone, gone in every way a run can end, and after a kill with the next."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from secure_ext.bundle import private_folder as module
from secure_ext.bundle.private_folder import private_folder, remove_left_over, roots
from secure_ext.errors import InputError

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="kills processes as POSIX does"), pytest.mark.cold]
HOLDER = """
import pathlib, subprocess, sys, time
from secure_ext.bundle import private_folder as module
module.roots = lambda: [pathlib.Path(sys.argv[1])]
with module.private_folder() as (folder, lock):
    (folder / "key.bin").write_bytes(b"secret")
    if sys.argv[2:]:
        subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=[lock.fileno()], stdout=subprocess.DEVNULL)
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of other runs on this machine is touched."""
    monkeypatch.setattr(module, "roots", lambda: [tmp_path])


def holder(tmp_path: Path, *words: str) -> tuple[subprocess.Popen[str], Path]:
    """A process with a private folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_it_is_gone_however_the_block_ends(error: type[BaseException] | None, tmp_path: Path) -> None:
    try:
        with private_folder() as (folder, _):
            assert folder.stat().st_mode & 0o777 == 0o700
            (folder / "keys").mkdir()
            (folder / "keys" / "key.bin").write_bytes(b"secret")
            assert remove_left_over() == [], "it is in use"
            if error:
                raise error
    except (ValueError, KeyboardInterrupt, SystemExit):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    process, folder = holder(tmp_path)
    assert remove_left_over() == [] and (folder / "key.bin").exists()
    process.kill()
    process.communicate()
    assert (folder / "key.bin").exists()
    assert remove_left_over() == [folder]
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_outlives_the_killed_run_keeps_it(tmp_path: Path) -> None:
    """It may be burning the key in this moment."""
    process, folder = holder(tmp_path, "with a child")
    process.kill()
    process.wait()
    assert remove_left_over() == [] and (folder / "key.bin").exists()
    assert process.stdin
    process.stdin.close()  # ends the child
    for _ in range(200):
        if remove_left_over() == [folder]:
            break
        time.sleep(0.02)
    assert not folder.exists()
    assert process.stdout
    process.stdout.close()


def test_it_lies_in_memory_where_there_is_some() -> None:
    memory = Path("/dev/shm")  # noqa: S108
    usable = sys.platform == "linux" and memory.is_dir() and os.access(memory, os.W_OK)
    assert roots()[0] == (memory if usable else Path(tempfile.gettempdir()))


def test_no_place_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "roots", lambda: [tmp_path / "nowhere"])
    with pytest.raises(InputError) as raised, private_folder():
        pass
    assert raised.value.code == "SE686"


def test_only_private_folders_of_this_user_are_removed(tmp_path: Path) -> None:
    """Everybody writes into /tmp: a link there leads to what is not ours, and an open folder was not made here."""
    victim = tmp_path / "home"
    victim.mkdir(mode=0o700)
    for name in ("lock", "thesis.txt"):
        (victim / name).write_text("precious", encoding="ascii")
    (tmp_path / "secure-provision-keys-link").symlink_to(victim)
    shared = tmp_path / "secure-provision-keys-open"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "lock").touch()
    lured = tmp_path / "secure-provision-keys-lured"
    lured.mkdir(mode=0o700)
    (lured / "lock").symlink_to(victim / "lock")
    assert remove_left_over() == []
    assert sorted(path.name for path in victim.iterdir()) == ["lock", "thesis.txt"]
    assert shared.exists() and lured.exists()
