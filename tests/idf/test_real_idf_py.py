# SPDX-License-Identifier: Apache-2.0
"""The real idf.py finds the actions in every way there is, without a warning, and runs them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from idf_trees import COMPLAINT, Tree, copy_component, each_tree, make_installed

from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

ACTIONS = ("secure-doctor", "secure-plan", "secure-provision")
WAYS = ("extra path", "project", "entry point", "component")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a finished build of release flash encryption."""
    folder = tmp_path / "a project"
    make_sample_build(folder, "esp32c6", options=SampleOptions(flash_encryption="release"))
    (folder / "CMakeLists.txt").write_text("project(sample)\n", encoding="utf-8")
    return folder


@pytest.fixture
def component(tmp_path: Path) -> Path:
    return copy_component(tmp_path / "extra components")


def extra_path(component: Path) -> dict[str, str]:
    return {"IDF_EXTRA_ACTIONS_PATH": str(component / "secure_ext" / "cli" / "actions")}


def set_up(ways: tuple[str, ...], project: Path, component: Path) -> dict[str, str]:
    """Makes the actions reachable; returns the environment that belongs to it."""
    environment: dict[str, str] = {}
    if "extra path" in ways:
        environment |= extra_path(component)
    if "entry point" in ways:
        environment["PYTHONPATH"] = str(make_installed(component))
    if "project" in ways:
        command = [sys.executable, "-m", "secure_ext", "idf", "install", "-C", str(project)]
        subprocess.run(command, check=True, capture_output=True)
        environment.setdefault("PYTHONPATH", str(component))
    if "component" in ways:
        file = project / "build" / "project_description.json"
        description = json.loads(file.read_text(encoding="utf-8"))
        description["build_component_info"] = {"idf-secure-provision": {"dir": component.as_posix()}}
        description["all_component_info"] = {"idf-secure-provision": {"source": "project_extra_components"}}
        file.write_text(json.dumps(description), encoding="utf-8")
    return environment


@each_tree
@pytest.mark.parametrize("ways", [*((way,) for way in WAYS), WAYS], ids="+".join)
def test_the_actions_are_found_once_and_without_a_warning(
    tree: Tree, ways: tuple[str, ...], project: Path, component: Path
) -> None:
    tree.skip_without_environment()
    if tree.version < (6, 0) and set(ways) <= {"entry point", "component"}:
        pytest.skip("ESP-IDF 5.x looks neither at entry points nor at components")
    shown = tree.idf_py(project, "--help", environment=set_up(ways, project, component))
    assert shown.returncode == 0, shown.stderr
    for action in ACTIONS:
        assert len(re.findall(rf"^[ \u2502]*{action} ", shown.stdout, re.MULTILINE)) == 1, action
    assert ("\u256d" in shown.stdout) == tree.draws_help, "the help is drawn as this ESP-IDF draws it"
    assert not COMPLAINT.search(shown.stdout + shown.stderr), shown.stderr


@each_tree
def test_the_repository_itself_as_a_project(tree: Tree, project: Path, component: Path) -> None:
    tree.skip_without_environment()
    shutil.copytree(project / "build", component / "build")
    shown = tree.idf_py(component, "--help")
    assert "secure-plan" in shown.stdout
    assert not COMPLAINT.search(shown.stdout + shown.stderr), shown.stderr


@each_tree
@pytest.mark.parametrize(
    ("action", "expected"), [("secure-plan", "SPI_BOOT_CRYPT_CNT = 7"), ("secure-doctor", "doctor: ")]
)
def test_an_action_reads_the_build_and_names_the_next(
    tree: Tree, action: str, expected: str, project: Path, component: Path
) -> None:
    tree.skip_without_environment()
    done = tree.idf_py(project, action, environment=extra_path(component))
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert "next, with the same options: idf.py secure-p" in done.stderr


@each_tree
def test_two_releases_are_compared(tree: Tree, project: Path, component: Path) -> None:
    tree.skip_without_environment()
    shown = tree.idf_py(project, "secure-plan", "--format", "json", environment=extra_path(component)).stdout
    (project / "plan.json").write_text(shown[shown.index("{\n") : shown.rindex("}") + 1], encoding="utf-8")
    done = tree.idf_py(project, "secure-plan", "--diff", "plan.json", "plan.json", environment=extra_path(component))
    assert (done.returncode, "diff: equal" in done.stdout) == (0, True), done.stdout + done.stderr


@each_tree
def test_the_build_directory_is_that_of_idf_py(tree: Tree, project: Path, component: Path) -> None:
    tree.skip_without_environment()
    (project / "build").rename(project / "other build")
    found = tree.idf_py(project, "-B", "other build", "secure-plan", environment=extra_path(component))
    assert found.returncode == 0, found.stderr
    missing = tree.idf_py(project, "secure-plan", environment=extra_path(component))
    assert missing.returncode == 3
    assert "error SE101" in missing.stderr
    assert "what to do:" in missing.stderr
    assert "Traceback" not in missing.stderr


def unknown_option(project: Path) -> list[object]:
    return ["--nonsense"]


def unknown_choice(project: Path) -> list[object]:
    return ["--flash-encryption", "sometimes"]


def unknown_profile_key(project: Path) -> list[object]:
    profile = project / "profile.yaml"
    profile.write_text("schema: 1\nflash: encrypted\n", encoding="utf-8")
    return ["--profile", profile]


@each_tree
@pytest.mark.parametrize("wrong", [unknown_option, unknown_choice, unknown_profile_key])
def test_wrong_usage_ends_as_idf_py_does(
    tree: Tree, wrong: Callable[[Path], list[object]], project: Path, component: Path
) -> None:
    tree.skip_without_environment()
    done = tree.idf_py(project, "secure-plan", *wrong(project), environment=extra_path(component))
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


@each_tree
def test_the_help_shows_an_example_of_idf_py(tree: Tree, project: Path, component: Path) -> None:
    tree.skip_without_environment()
    for action in ACTIONS:
        shown = tree.idf_py(project, action, "--help", environment=extra_path(component))
        assert f"idf.py {action}" in shown.stdout.split("Example:")[1]
        assert "secure-provision bundle" not in shown.stdout


@each_tree
def test_flashing_a_provisioned_project_warns_first(tree: Tree, project: Path, component: Path) -> None:
    tree.skip_without_environment()
    before = tree.idf_py(project, "--dry-run", "flash", environment=extra_path(component))
    assert "plaintext" not in before.stderr
    (project / "build" / "secure").mkdir()
    (project / "build" / "secure" / "manifest.json").write_text("{}", encoding="utf-8")
    after = tree.idf_py(project, "--dry-run", "flash", environment=extra_path(component))
    assert after.returncode == before.returncode == 0
    assert "DOES NOT BOOT" in after.stderr
    assert "secure-flash --bundle" in after.stderr


@each_tree
def test_a_missing_package_is_one_line_and_idf_py_goes_on(tree: Tree, project: Path, component: Path) -> None:
    tree.skip_without_environment()
    set_up(("project",), project, component)
    shown = tree.idf_py(project, "--help")
    assert shown.returncode == 0
    complaints = [line for line in (shown.stdout + shown.stderr).splitlines() if COMPLAINT.search(line)]
    assert len(complaints) == 1
    assert "pip install idf-secure-provision" in complaints[0]
