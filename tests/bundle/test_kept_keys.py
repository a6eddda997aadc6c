# SPDX-License-Identifier: Apache-2.0
"""Keys that are kept: the command says which they are and from where, and the doctor looks at them as at named ones."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from key_home_project import FLASH_KEY, SECURE, Project, posix, somebody_elses, writable_by_others

from secure_ext.doctor import published_keys

pytestmark = pytest.mark.usefixtures("six_rsa_keys")

Cli = Callable[..., Result]
SIGNING_KEY = "secure_boot_signing_key_0.pem"


@pytest.fixture
def project(tmp_path: Path, run_cli: Cli) -> Project:
    return Project(tmp_path / "project", run_cli)


def forget_bundle(project: Project) -> Path:
    """Only the home is left; returns it."""
    shutil.rmtree(project.build_dir / "secure")
    (home,) = project.homes
    return home


def secrets(project: Project) -> set[bytes]:
    return {content for name, content in project.keys().items() if name != ".gitignore"}


def verify(project: Project, bundle: Path) -> Result:
    return project.run_cli("verify", bundle, "-B", project.build_dir, "--profile", project.profile)


# ---- what is said


def test_it_says_where_each_kept_key_was_found(project: Project) -> None:
    assert json.loads(project.bundle("--format", "json").stdout)["generated_keys"][0]["from"] is None
    home = forget_bundle(project)
    said = project.bundle().stdout
    assert "NEW" not in said
    for name in (FLASH_KEY, SIGNING_KEY):
        assert any(name in line and "as before" in line and str(home / name) in line for line in said.splitlines())
    shown = json.loads(project.bundle("--format", "json").stdout)["generated_keys"]
    assert {(key["state"], Path(key["from"]).parent) for key in shown} == {("kept", home)}


def test_it_says_which_key_came_from_the_earlier_bundle(project: Project) -> None:
    project.bundle()
    project.forget_homes()
    assert f"taken over from the earlier bundle: {project.build_dir / 'secure' / 'keys' / FLASH_KEY}" in (
        project.bundle().stdout
    )


# ---- the doctor's rules


WEAK = {"counts": bytes(range(32)), "zero": bytes(32), "text": b"0123456789abcdef" * 2, "one byte": b"\xaa" * 32}


@pytest.mark.parametrize("key", [FLASH_KEY, "nvs_hmac_key.bin"])
@pytest.mark.parametrize("weak", WEAK.values(), ids=WEAK)
def test_a_weak_key_in_the_home_is_refused(weak: bytes, key: str, project: Project) -> None:
    project.bundle()
    home = forget_bundle(project)
    (home / key).write_bytes(weak)
    done = project.run_cli("bundle", "-B", project.build_dir, "--profile", project.profile)
    assert done.exit_code == 3 and "error SE62" in done.stderr, done.output


def test_a_published_signing_key_in_the_home_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.bundle()
    home = forget_bundle(project)
    pem = (home / SIGNING_KEY).read_text(encoding="ascii").splitlines()
    der = base64.b64decode("".join(line for line in pem if "-----" not in line))
    monkeypatch.setattr(published_keys, "PUBLISHED_KEYS", frozenset({hashlib.sha256(der).hexdigest()}))
    done = project.bundle(code="SE404")
    assert "SP085" in done.stderr and SIGNING_KEY in done.stderr


@posix
def test_a_kept_key_that_others_can_read_is_a_finding(project: Project) -> None:
    project.bundle()
    home = forget_bundle(project)
    (home / FLASH_KEY).chmod(0o644)
    said = project.bundle().stdout
    assert "SP080" in said and f"kept key: {FLASH_KEY}" in said
    done = project.run_cli(
        "verify", project.build_dir / "secure", "-B", project.build_dir, "--profile", project.profile
    )
    assert done.exit_code == 0, done.output


# ---- what is planted elsewhere than in the keys themselves


@posix
@pytest.mark.parametrize("how", [writable_by_others, somebody_elses])
def test_the_place_of_the_homes_is_nobody_elses(how: Callable[[Path], None], project: Project) -> None:
    """Whoever can write there can exchange a home after it was looked at."""
    project.bundle()
    forget_bundle(project)
    how(project.root / "secure_keys")
    project.bundle(code="SE735")


@posix
def test_a_place_that_root_has_prepared(project: Project) -> None:
    if os.geteuid() != 0:
        pytest.skip("a place that root made for another user can be made by root alone; this run is not root's")
    project.bundle("--key-home", project.root / "prepared")
    project.bundle("--key-home", project.root / "prepared")


@posix
def test_what_seems_to_be_left_of_a_killed_run_is_not_taken(project: Project) -> None:
    """Somebody else has put a bundle where a run that was killed would have moved the earlier one."""
    project.bundle()
    project.forget_homes()
    planted = secrets(project)
    aside = project.build_dir / ".secure.old-abcdefgh"
    (project.build_dir / "secure").rename(aside)
    for path in (aside, *aside.rglob("*")):
        somebody_elses(path)
    project.bundle(code="SE735")
    assert not project.homes
    shutil.rmtree(project.build_dir / "secure")
    assert "NEW" in project.bundle().stdout
    assert not planted & secrets(project)


@posix
def test_a_home_in_the_making_that_somebody_else_has_begun(project: Project) -> None:
    project.bundle()
    home = forget_bundle(project)
    begun = home.with_name(f".{home.name}.partial")
    home.rename(begun)
    somebody_elses(begun)
    before = {path.read_bytes() for path in begun.glob("[!.]*")}
    assert "NEW" in project.bundle().stdout
    assert not before & secrets(project)


@posix
def test_a_umask_of_002_makes_nothing_that_is_refused(project: Project) -> None:
    """Where each user has a group of his own, folders are writable by that group; those of keys never are."""
    before = os.umask(0o002)
    try:
        project.build()
        project.bundle()
        project.bundle()
        project.forget_homes()
        assert "taken over" in project.bundle().stdout
        (project.root / "work").mkdir()
        project.bundle("-o", project.root / "work" / "factory")
        assert "NEW" not in project.bundle("-o", project.root / "work" / "factory").stdout
    finally:
        os.umask(before)


# ---- git


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, encoding="utf-8")  # noqa: S607
    return done.stdout


def test_git_takes_no_key_of_a_bundle(project: Project, tmp_path: Path) -> None:
    git(project.root, "init", "-q")
    output = project.root / "release"
    for _ in range(2):
        said = project.bundle("-o", output, "--archive", tmp_path / "factory.zip").stdout
        assert "SP162" in said, "the same the second time"
        git(project.root, "add", ".")
        staged = git(project.root, "ls-files")
        assert "release/plan.json" in staged and "/keys/" not in staged and "secure_keys" not in staged
        git(project.root, "rm", "-rq", "--cached", ".")
    for place in (output, tmp_path / "factory.zip"):
        done = verify(project, place)
        assert done.exit_code == 0, done.output
    with zipfile.ZipFile(tmp_path / "factory.zip") as archive:
        assert not [name for name in archive.namelist() if name.startswith("keys/")]


@pytest.mark.parametrize("rule", ["/release/", "keys/", "*.bin\n*.pem"])
def test_what_the_repository_ignores_itself_is_no_finding(rule: str, project: Project) -> None:
    git(project.root, "init", "-q")
    (project.root / ".gitignore").write_text(rule + "\n", encoding="utf-8")
    assert "SP162" not in project.bundle("-o", project.root / "release").stdout


def test_another_gitignore_in_the_keys_fails(project: Project) -> None:
    project.bundle()
    ignored = project.build_dir / "secure" / "keys" / ".gitignore"
    assert ignored.read_bytes().endswith(b"\n*\n")
    ignored.write_text("!*\n", encoding="utf-8")
    done = project.run_cli(
        "verify", project.build_dir / "secure", "-B", project.build_dir, "--profile", project.profile
    )
    assert done.exit_code == 1 and "keys/.gitignore" in done.output


def test_destroying_leaves_no_folder_behind(project: Project) -> None:
    project.build(options=SECURE)
    project.bundle()
    project.bundle()
    done = project.run_cli("keys", "destroy", project.build_dir / "secure", "--yes", "--with-signing-keys")
    assert done.exit_code == 0, done.output
    assert ".gitignore" not in done.output
    assert not (project.build_dir / "secure" / "keys").exists()
