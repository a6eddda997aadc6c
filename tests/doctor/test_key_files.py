# SPDX-License-Identifier: Apache-2.0
"""Where key files lie: what git does with them, and keys that are published."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.doctor_case import rsa_key

from secure_ext.doctor import published_keys
from secure_ext.doctor.repository import Kept, kept_by_git

VECTORS = os.environ.get("SECURE_EXT_ESPTOOL_VECTORS", "")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S607


def test_what_git_does_with_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "a repository" / "keys"
    folder.mkdir(parents=True)
    key = folder / "key.pem"
    key.write_text("secret")
    assert kept_by_git(key) is Kept.UNKNOWN
    git(folder.parent, "init", "-q")
    assert kept_by_git(key) is Kept.NOT_IGNORED
    (folder.parent / ".gitignore").write_text("*.pem\n")
    assert kept_by_git(key) is Kept.IGNORED
    git(folder, "add", "-f", "key.pem")
    assert kept_by_git(key) is Kept.TRACKED
    link = tmp_path / "link.pem"
    link.symlink_to(key)
    assert kept_by_git(link) is Kept.TRACKED


def test_a_file_whose_name_looks_like_an_option_is_asked_for_by_name(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "--others").write_text("secret")
    assert kept_by_git(tmp_path / "--others") is Kept.NOT_IGNORED


def test_without_git_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "key.pem").write_text("secret")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kept_by_git(tmp_path / "key.pem") is Kept.UNKNOWN


def test_a_damaged_repository_says_nothing(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("this is no repository")
    (tmp_path / "key.pem").write_text("secret")
    assert kept_by_git(tmp_path / "key.pem") is Kept.UNKNOWN


def test_settings_of_the_caller_do_not_lead_astray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "key.pem").write_text("secret")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert kept_by_git(tmp_path / "key.pem") is Kept.NOT_IGNORED


def test_a_published_key_is_known_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    pem = rsa_key()
    assert not published_keys.is_published(pem)
    der = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
    monkeypatch.setattr(published_keys, "PUBLISHED_KEYS", frozenset({hashlib.sha256(der).hexdigest()}))
    assert published_keys.is_published(pem)
    assert published_keys.is_published(b"a comment\n" + pem.replace(b"\n", b"\r\n"))
    for other in (b"", b"\x00" * 32, b"-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n"):
        assert not published_keys.is_published(other)


@pytest.mark.skipif(
    not VECTORS, reason="SECURE_EXT_ESPTOOL_VECTORS does not name a copy of esptool's test/secure_images"
)
def test_the_keys_of_esptool_are_known() -> None:
    keys = [path for path in Path(VECTORS).glob("*_secure_boot_signing_key*.pem") if "192" not in path.name]
    assert len(keys) >= 10
    for path in keys:
        assert published_keys.is_published(path.read_bytes()), path.name


@pytest.mark.parametrize(
    ("words", "secret"),
    [
        (("generate", "rsa3072", "key.pem"), "key.pem"),
        (("generate", "hmac", "key.bin"), "key.bin"),
        (("sealing-pair", "private.pem", "public.pem"), "private.pem"),
    ],
)
def test_whoever_makes_a_secret_hears_that_git_would_take_it_in(
    words: tuple[str, ...],
    secret: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_cli: Callable[..., Result],
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert "git" not in run_cli("keys", *words).stderr
    for path in folder.iterdir():
        path.unlink()
    git(folder, "init", "-q")
    done = run_cli("keys", *words)
    assert done.exit_code == 0
    assert f"warning: {secret} lies in a git repository that does not ignore it" in done.stderr
    assert f"/{secret} to the .gitignore" in done.stderr
    assert "public.pem lies" not in done.stderr
    (folder / ".gitignore").write_text("*.pem\n*.bin\n")
    for path in [*folder.glob("*.pem"), *folder.glob("*.bin")]:
        path.unlink()
    assert "git" not in run_cli("keys", *words).stderr
