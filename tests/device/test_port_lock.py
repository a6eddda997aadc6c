# SPDX-License-Identifier: Apache-2.0
"""One script a port, whatever the port is called and whatever the station cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from secure_ext.station.esp_tools import Stop
from secure_ext.station.port_lock import lock_port, port_identity

pytestmark = [pytest.mark.skipif(os.name == "nt", reason="looks at files as POSIX has them"), pytest.mark.cold]


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


SPELLINGS = [
    ("socket://localhost:4000", "socket://127.0.0.1:4000"),
    ("socket://LOCALHOST:4000/", "socket://127.0.0.1:4000?logging=debug"),
    ("rfc2217://[::1]:4000?ign_set_control", "rfc2217://127.0.0.1:4000"),
]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_one_port_has_one_lock(one: str, other: str) -> None:
    with lock_port(one), pytest.raises(Stop) as caught:
        lock_port(other)
    assert caught.value.code == "SE832"
    lock_port(other).close()


def test_a_link_to_a_device_is_that_device(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "jig").symlink_to(tmp_path / "ttyUSB0")
    assert port_identity(str(tmp_path / "jig")) == port_identity(str(tmp_path / "ttyUSB0"))


def test_other_ports_are_others() -> None:
    with (
        lock_port("socket://127.0.0.1:4000"),
        lock_port("socket://127.0.0.1:4001"),
        lock_port("socket://10.0.0.1:4000"),
    ):
        pass


def test_a_user_without_a_name_holds_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs with a number for a user."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    with lock_port("/dev/null") as lock:
        assert not lock.closed


def test_a_station_that_keeps_no_files_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_folder() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    with lock_port("/dev/null"):
        pass


def test_a_lock_is_never_made_through_a_link_or_in_the_file_of_somebody_else(tmp_path: Path) -> None:
    with lock_port("/dev/null"):
        pass
    (path,) = tmp_path.glob("secure-provision-*.lock")
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="ascii")
    path.unlink()
    path.symlink_to(victim)
    with lock_port("/dev/null"):
        assert victim.read_text(encoding="ascii") == "precious"
        assert path.is_symlink()


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can leave a file of another user"
)
def test_a_file_that_somebody_else_left_there_is_no_refusal_for_ever(tmp_path: Path) -> None:
    with lock_port("/dev/null"):
        pass
    (path,) = tmp_path.glob("secure-provision-*.lock")
    os.chown(path, 12345, 12345)
    (tmp_path / "home").mkdir()
    with lock_port("/dev/null"):
        assert list((tmp_path / "home").glob("secure-provision-*.lock"))


def test_the_lock_is_free_when_its_process_has_been_killed() -> None:
    text = "from secure_ext.station import port_lock as p; lock = p.lock_port('/dev/null'); print('held', flush=True)"
    text += "; input()"
    environment = os.environ | {"TMPDIR": tempfile.gettempdir()}
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Stop):
            lock_port("/dev/null")
        process.kill()
    lock_port("/dev/null").close()
