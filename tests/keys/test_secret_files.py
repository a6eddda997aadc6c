# SPDX-License-Identifier: Apache-2.0
"""Secret files: private from the first moment, and never written over anything."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from secure_ext.errors import InputError
from secure_ext.keys.files import write_secret_file

posix_only = pytest.mark.skipif(os.name != "posix", reason="file modes mean nothing here")
SECRET = bytes.fromhex("8f1c33a95be0672d0a0d0a1af7c85e7b")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix_only
def test_file_and_new_directory_are_private_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "bundle" / "keys" / "key.bin"
    before = os.umask(0)
    try:
        write_secret_file(path, SECRET)
    finally:
        os.umask(before)
    assert path.read_bytes() == SECRET
    assert _mode(path) == 0o600
    assert _mode(path.parent) == 0o700


@posix_only
def test_file_is_private_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    fdopen = os.fdopen

    def watch(descriptor: int, mode: str) -> object:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return fdopen(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", watch)
    write_secret_file(tmp_path / "key.bin", SECRET)
    assert modes == [0o600]


@posix_only
def test_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write_secret_file(tmp_path / "key.bin", SECRET)
    assert _mode(tmp_path) == 0o755


def test_existing_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key.bin"
    path.write_bytes(b"older key")
    with pytest.raises(InputError) as caught:
        write_secret_file(path, SECRET)
    assert caught.value.code == "SE630"
    assert caught.value.place == str(path)
    assert path.read_bytes() == b"older key"


@posix_only
def test_link_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "key.bin"
    path.symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(InputError) as caught:
        write_secret_file(path, SECRET)
    assert caught.value.code == "SE630"
    assert not (tmp_path / "elsewhere.bin").exists()


def test_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        write_secret_file(tmp_path / "keys" / "key.bin", SECRET)
    assert caught.value.code == "SE631"


def test_directory_that_refuses_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError) as caught:
        write_secret_file(tmp_path / "key.bin", SECRET)
    assert caught.value.code == "SE631"
    assert "Permission denied" in caught.value.cause


def test_half_written_secret_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError) as caught:
        write_secret_file(tmp_path / "key.bin", SECRET)
    assert caught.value.code == "SE631"
    assert "No space left" in caught.value.cause
    assert SECRET.hex() not in str(caught.value.as_dict())
    assert list(tmp_path.iterdir()) == []
