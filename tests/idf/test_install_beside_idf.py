# SPDX-License-Identifier: Apache-2.0
"""Installing the package into ESP-IDF's Python environment changes no version of what is there."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from idf_trees import REPOSITORY, Tree, each_tree


@pytest.mark.long
@each_tree
def test_pip_would_install_nothing_but_the_package(tree: Tree) -> None:
    tree.skip_without_environment()
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [tree.python, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", str(REPOSITORY)],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert [package["metadata"]["name"] for package in report["install"]] == ["idf-secure-provision"]
