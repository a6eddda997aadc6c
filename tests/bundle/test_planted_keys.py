# SPDX-License-Identifier: Apache-2.0
"""A key that a stranger may have planted, in a bundle or in a home, is not taken over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from key_home_project import FLASH_KEY, Cli, Project, posix, somebody_elses, writable_by_others

pytestmark = pytest.mark.usefixtures("six_rsa_keys")


@pytest.fixture
def project(tmp_path: Path, run_cli: Cli) -> Project:
    return Project(tmp_path / "project", run_cli)


def a_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def a_second_name(path: Path) -> None:
    if path.is_dir():
        pytest.skip("a folder cannot have a hard link")
    os.link(path, path.parents[2] / "elsewhere")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def writable_by_all(path: Path) -> None:
    path.chmod(0o666)


@posix
@pytest.mark.parametrize(
    ("how", "planted"),
    [
        *((how, part) for how in (writable_by_others, somebody_elses) for part in ("keys/" + FLASH_KEY, "keys", ".")),
        *((a_link, part) for part in ("keys/" + FLASH_KEY, "keys")),  # a bundle that is a link is SE701
        *((how, "keys/superseded/x") for how in (writable_by_others, somebody_elses, a_link, a_second_name, a_pipe)),
        *((how, "keys/" + FLASH_KEY) for how in (a_second_name, a_pipe)),
        *((how, "manifest.json") for how in (writable_by_all, somebody_elses, a_second_name)),
    ],
)
def test_a_planted_key_in_a_bundle_is_not_taken_over(
    how: Callable[[Path], None], planted: str, project: Project
) -> None:
    project.bundle()
    project.forget_homes()
    superseded = project.build_dir / "secure" / "keys" / "superseded"
    superseded.mkdir(mode=0o700)
    (superseded / "x").write_bytes(bytes(range(32)))
    how((project.build_dir / "secure" / planted).resolve())
    before = project.keys()
    done = project.bundle(code="SE735")
    assert "chown" in done.stderr
    assert (project.keys(), project.homes) == (before, [])


@posix
@pytest.mark.parametrize("planted", [FLASH_KEY, "home.json", "."])
@pytest.mark.parametrize("how", [writable_by_others, somebody_elses, a_link, a_second_name])
def test_a_planted_key_at_home_is_not_used(how: Callable[[Path], None], planted: str, project: Project) -> None:
    project.bundle()
    (home,) = project.homes
    shutil.rmtree(project.build_dir / "secure")
    how(home / planted if planted != "." else home)
    project.bundle(code="SE735")
    assert not (project.build_dir / "secure").exists()
