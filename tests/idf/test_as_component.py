# SPDX-License-Identifier: Apache-2.0
"""As a component of a project the package is installed nowhere; its own children find it all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from idf_trees import copy_component, without_the_package

from secure_ext.bundle.write import Bundle
from secure_ext.prove.virtual_chip.process import own_module

IDF_PY = """\
import sys
sys.path.append(sys.argv.pop(1))
from secure_ext.cli.main import main
main()
"""
"""As idf_ext.py does it: the component's folder comes last on the path of the program alone."""


@pytest.fixture
def run_component(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the component's commands with a Python that has all but the package."""
    component, python = copy_component(tmp_path / "my components"), without_the_package(tmp_path)
    program = tmp_path / "tools" / "idf.py"
    program.parent.mkdir()
    program.write_text(IDF_PY, encoding="utf-8")
    project = tmp_path / "a project"
    project.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, str(program), str(component), *(str(argument) for argument in arguments)],
            cwd=project,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
        )

    return run


def test_a_rehearsal_runs(
    run_component: Callable[..., subprocess.CompletedProcess[str]], made_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(made_bundle("esp32c3").folder, folder)
    done = run_component("rehearse", folder)
    assert (done.returncode, "rehearsal: PASSED" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_child_is_this_package_whatever_lies_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("argparse", "esptool", "secure_ext", "serial", "shutil"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command = [*own_module("secure_ext.prove.virtual_chip"), "--help"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, "A virtual ESP chip" in done.stdout) == (0, True), done.stderr


def test_it_can_be_run_by_its_path(tmp_path: Path) -> None:
    component = copy_component(tmp_path / "my components")
    command = [without_the_package(tmp_path), str(component / "secure_ext"), "--version"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert "secure-provision, version" in done.stdout, done.stderr
