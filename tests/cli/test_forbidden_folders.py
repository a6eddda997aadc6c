# SPDX-License-Identifier: Apache-2.0
"""Folders that may not be entered, and no room anywhere: a code, never a traceback; and idf.py goes on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from support.narrow_machine import run

from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits and rights are set as on Linux"),
    pytest.mark.cold,
]
Cli = Callable[..., Result]
COMMANDS = {
    "doctor": ["doctor", "-B", "project/build"],
    "plan": ["plan", "-B", "project/build"],
    "bundle": ["bundle", "-B", "project/build", "--signing-key", "key.pem"],
    "verify": ["verify", "project/build/secure"],
    "rehearse": ["rehearse", "project/build/secure"],
    "flash": ["flash", "project/build/secure", "-p", "/dev/nowhere", "--yes", "--without-rehearsal"],
    "audit": ["audit", "-B", "project/build", "-p", "/dev/nowhere"],
    "ota": ["ota", "-B", "project/build", "--signing-key", "key.pem", "-o", "update"],
    "destroy": ["keys", "destroy", "project/build/secure", "--yes"],
    "after-build": ["idf", "after-build", "-B", "project/build"],
}
FOLDERS = (
    *("project/build", "project/build/config", "project/build/secure", "project/build/secure/keys"),
    *("project/build/secure/journal", "project/build/secure/images", "project/secure_keys", "project"),
)
GUARD = """
import sys
from types import SimpleNamespace
from secure_ext.idf import action_extensions
extension = action_extensions({}, "project")
tasks = [SimpleNamespace(name=name) for name in ("flash", "fullclean")]
arguments = SimpleNamespace(build_dir="project/build", project_dir="project")
for warn in extension["global_action_callbacks"]:
    warn(None, arguments, tasks)
print("idf.py goes on")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path], run_cli: Cli) -> Path:
    """A project with a bundle."""
    world = tmp_path_factory.mktemp("world")
    options = SampleOptions(flash_encryption="release", secure_boot=True, app_size=20_000)
    make_sample_build(world / "project", "esp32c3", options=options)
    shutil.copy(signing_keys["rsa_0"], world / "key.pem")
    done = run_cli("bundle", "-B", world / "project" / "build", "--signing-key", world / "key.pem")
    assert done.exit_code == 0, done.output
    (world / "project" / "build" / "secure" / "journal").mkdir()
    return world


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, which pytest can remove again."""
    copy = tmp_path / "world"
    shutil.copytree(made, copy)
    yield copy
    for folder in FOLDERS[::-1]:
        if (copy / folder).exists():
            (copy / folder).chmod(0o700)


def ends_with_a_code(output: str, returncode: int) -> None:
    assert "Traceback" not in output, output
    assert returncode in range(6), output
    assert returncode in (0, 1) or "error S" in output or "STOP S" in output, output


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=() if name in ("bundle", "flash") else pytest.mark.long) for name in COMMANDS],
)
def test_a_folder_that_may_not_be_entered(command: str, folder: str, world: Path) -> None:
    (world / folder).chmod(0)
    done = run([sys.executable, "-m", "secure_ext", *COMMANDS[command]], narrow=True, cwd=world)
    (world / "project").chmod(0o700)
    ends_with_a_code(done.stdout, done.returncode)


@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=() if name in ("bundle", "rehearse") else pytest.mark.long) for name in COMMANDS],
)
def test_no_room_anywhere(command: str, world: Path) -> None:
    """Not even for temporary files."""
    done = run([sys.executable, "-m", "secure_ext", *COMMANDS[command]], limit=0, cwd=world)
    ends_with_a_code(done.stdout, done.returncode)


@pytest.mark.parametrize("variable", ["HOME", "TMPDIR"])
def test_a_home_and_a_place_for_temporary_files_that_may_not_be_entered(variable: str, world: Path) -> None:
    (world / "closed").mkdir(mode=0)
    for command in ("bundle", "flash"):
        line = [sys.executable, "-m", "secure_ext", *COMMANDS[command]]
        done = run(line, narrow=True, cwd=world, environment={variable: str(world / "closed")})
        ends_with_a_code(done.stdout, done.returncode)


@pytest.mark.parametrize("folder", [*FOLDERS, "."])
def test_a_plain_flash_is_not_kept_from_its_work(folder: str, world: Path) -> None:
    (world / folder).chmod(0)
    done = run([sys.executable, "-c", GUARD], narrow=True, cwd=world)
    world.chmod(0o700)
    (world / "project").chmod(0o700)
    assert "Traceback" not in done.stdout, done.stdout
    assert (done.returncode, done.stdout.endswith("idf.py goes on\n")) == (0, True), done.stdout


def test_a_package_that_may_not_be_read_is_no_reason_to_stop(tmp_path: Path) -> None:
    """As pip leaves it behind for other users, with a umask of 077."""
    package = tmp_path / "secure_ext" / "cli"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "extension.py").touch(mode=0)
    import secure_ext.cli

    actions = Path(secure_ext.cli.__file__).parent / "actions" / "secure_provision_ext.py"
    shutil.copy(actions, tmp_path)
    program = "import secure_provision_ext as e; print(e.action_extensions({}, '.'))"
    done = run([sys.executable, "-c", program], narrow=True, cwd=tmp_path)
    assert (done.returncode, done.stdout.endswith("{}\n")) == (0, True), done.stdout
    assert "WARNING: no secure-* actions" in done.stdout


def test_a_lock_that_another_user_left(world: Path, run_cli: Cli) -> None:
    """It is root's, of a run that was killed: whoever may read it can lock it, and who may not is told what to do."""
    import os

    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user (chown), and this run is not root's")
    lock = world / "project" / "build" / ".secure.lock"
    line = [sys.executable, "-m", "secure_ext", *COMMANDS["bundle"]]
    for mode, code in ((0o644, 0), (0o600, 3)):
        lock.touch()
        lock.chmod(mode)
        os.chown(lock, 12345, 12345)
        done = run(line, narrow=True, cwd=world)
        assert done.returncode == code, done.stdout
        assert code == 0 or ("error SE944" in done.stdout and str(lock.name) in done.stdout)
