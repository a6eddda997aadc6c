# SPDX-License-Identifier: Apache-2.0
"""The ESP-IDF trees the tests may use, and how idf.py is run from one."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
COMPONENT_FILES = ("CMakeLists.txt", "Kconfig.projbuild", "project_include.cmake", "idf_ext.py", "idf_component.yml")
COMPONENT_FOLDERS = ("secure_ext", "cmake", "menuconfig")
ROOTS_VARIABLE = "SECURE_EXT_IDF_PATHS"
PYTHONS_VARIABLE = "SECURE_EXT_IDF_PYTHONS"
COMPLAINT = re.compile(r"WARNING|Warning:|Traceback")
_NEEDED = "import click, esptool, esp_idf_monitor, idf_component_manager, kconfgen"


@dataclass(frozen=True)
class Tree:
    """An ESP-IDF and the Python that runs its idf.py."""

    root: Path
    python: str

    @functools.cached_property
    def version(self) -> tuple[int, int]:
        text = (self.root / "tools" / "cmake" / "version.cmake").read_text(encoding="utf-8")
        major, minor = (re.search(rf"IDF_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR"))
        assert major and minor
        return int(major[1]), int(minor[1])

    @functools.cached_property
    def draws_help(self) -> bool:
        """Whether its idf.py draws the help in frames, with rich-click, as ESP-IDF's newest does."""
        needed = (self.root / "tools" / "requirements" / "requirements.core.txt").read_text(encoding="utf-8")
        return "rich-click" in needed

    def idf_py(
        self, project: Path, *arguments: object, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs idf.py in a project; nothing of this package is on its path but what `environment` says."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("IDF_", "ESP", "PYTHON", "SECURE_"))}
        settings = {
            "IDF_PATH": str(self.root),
            "IDF_PYTHON_ENV_PATH": str(Path(self.python).parents[1]),
            "IDF_PYTHON_CHECK_CONSTRAINTS": "no",
            "IDF_COMPONENT_MANAGER": "0",
            "ESP_IDF_VERSION": "{}.{}".format(*self.version),
            "LC_ALL": "C.UTF-8",
        }
        return subprocess.run(
            [self.python, str(self.root / "tools" / "idf.py"), *(str(argument) for argument in arguments)],
            cwd=project,
            env=inherited | settings | (environment or {}),
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def skip_without_environment(self) -> None:
        """Skips the test if the Python has not what idf.py needs."""
        done = subprocess.run([self.python, "-c", _NEEDED], capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            pytest.skip(f"{self.python} cannot run idf.py of {self.root}: {last}; give others in {PYTHONS_VARIABLE}")


def _trees() -> list[Tree]:
    roots = [Path(part) for part in os.environ.get(ROOTS_VARIABLE, "").split(os.pathsep) if part]
    pythons = [part for part in os.environ.get(PYTHONS_VARIABLE, "").split(os.pathsep) if part]
    pythons += [sys.executable] * (len(roots) - len(pythons))
    return [Tree(root, python) for root, python in zip(roots, pythons, strict=False)]


TREES = _trees()
each_tree = pytest.mark.parametrize(
    "tree",
    TREES or [pytest.param(None, marks=pytest.mark.skip(reason=f"{ROOTS_VARIABLE} names no ESP-IDF tree"))],
    ids=[tree.root.name for tree in TREES] or ["none"],
)


def copy_component(destination: Path) -> Path:
    """The repository as a component, without anything that makes it look installed."""
    component = destination / "idf-secure-provision"
    component.mkdir(parents=True)
    for name in COMPONENT_FILES:
        shutil.copy(REPOSITORY / name, component)
    for name in COMPONENT_FOLDERS:
        shutil.copytree(REPOSITORY / name, component / name, ignore=shutil.ignore_patterns("__pycache__"))
    return component


def make_installed(component: Path) -> Path:
    """A folder for PYTHONPATH that has the package with its entry point, as pip installs it."""
    site = component.parent / "site"
    shutil.copytree(component / "secure_ext", site / "secure_ext")
    info = site / "idf_secure_provision-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: idf-secure-provision\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        "[idf_extension]\nsecure-provision = secure_ext.idf:action_extensions\n", encoding="utf-8"
    )
    return site


def without_the_package(folder: Path) -> str:
    """A Python that has everything this one has, but not our package."""
    if os.name == "nt":
        pytest.skip("the stand-in for another Python is a shell script")
    hidden = folder / "without package"
    hidden.mkdir()
    for entry in (entry for path in map(Path, sys.path) if path.name == "site-packages" for entry in path.iterdir()):
        if "secure_provision" not in entry.name and entry.name != "secure_ext" and not (hidden / entry.name).exists():
            (hidden / entry.name).symlink_to(entry)
    script = hidden / "python"
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH="{hidden}${{PYTHONPATH:+:$PYTHONPATH}}" exec "{sys.executable}" -S "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    return str(script)
