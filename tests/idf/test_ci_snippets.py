# SPDX-License-Identifier: Apache-2.0
"""The snippets for build servers: their scripts run on a sample build, verify signatures and leave no key behind."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from idf_trees import REPOSITORY

from secure_ext.keys.symmetric import generate_secret

SNIPPETS = REPOSITORY / "docs" / "snippets"
SERVER_ONLY = ('. "$IDF_PATH/export.sh"', "python -m pip install", "idf.py build")
TOOLS = Path(sys.executable).parent
KEYS = ("FLASH_ENCRYPTION_KEY_BASE64", "NVS_HMAC_KEY_BASE64")

pytestmark = pytest.mark.skipif(
    not shutil.which("bash") or not shutil.which("espsecure", path=str(TOOLS)),
    reason="the snippets need bash and espsecure of esptool 5",
)


def github_script() -> str:
    steps = yaml.safe_load((SNIPPETS / "github-actions.yml").read_text(encoding="utf-8"))["jobs"]["bundle"]["steps"]
    (script,) = (step["run"] for step in steps if step.get("name") == "Bundle")
    return str(script)


def gitlab_script() -> str:
    job = yaml.safe_load((SNIPPETS / "gitlab-ci.yml").read_text(encoding="utf-8"))["factory-bundle"]
    return "\n".join(job["script"])


def environment(folder: Path, signing_key: Path, *, is_github: bool) -> dict[str, str]:
    """What a server gives to the job: GitHub the text of a secret, GitLab a file with it."""
    (folder / "runner").mkdir()
    keys = {}
    for name in KEYS:
        keys[name] = base64.b64encode(generate_secret(name, 32).data).decode()
        if not is_github:
            (folder / f"{name} key").write_text(keys[name], encoding="utf-8")
            keys[name] = str(folder / f"{name} key")
    return {
        "CI": "true",
        **keys,
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
        "RUNNER_TEMP": str(folder / "runner"),
        "SIGNING_KEY_PEM": signing_key.read_text(encoding="utf-8"),
        "SIGNING_KEY": str(signing_key),
    }


def run(script: Callable[[], str], project: Path, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    lines = [line for line in script().splitlines() if not line.startswith(SERVER_ONLY)]
    bash = [shutil.which("bash") or "", "-e", "-o", "pipefail", "-c", "\n".join(lines)]
    return subprocess.run(
        bash,
        cwd=project,
        env={**os.environ, **given, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


both = pytest.mark.parametrize("script", [github_script, gitlab_script])


@both
def test_the_script_runs_and_verifies_and_leaves_no_key(
    script: Callable[[], str], new_build: Callable[..., Path], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    project = new_build().parent
    given = environment(tmp_path, signing_keys["rsa_0"], is_github=script is github_script)
    done = run(script, project, given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.lower().count("signature block 0 verification successful") == 2
    assert "\x1b" not in done.stdout + done.stderr
    summary = json.loads((project / "summary.json").read_text(encoding="utf-8"))
    assert (summary["bundle"], summary["generated_keys"], summary["key_home"]) == ("bundle", [], None)
    assert not (project / "secure_keys").exists()
    assert (project / "bundle" / "provision.py").is_file()
    assert not (project / "bundle" / "keys").exists()
    assert not list((tmp_path / "runner").iterdir())


@both
def test_a_key_that_is_not_named_fails_the_job(
    script: Callable[[], str], new_build: Callable[..., Path], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    """Whoever leaves one out must not find it out when the first board is to be provisioned."""

    def without_nvs_key() -> str:
        return re.sub(r'--nvs-key "[^"]*"', "", script())

    given = environment(tmp_path, signing_keys["rsa_0"], is_github=script is github_script)
    done = run(without_nvs_key, new_build().parent, given)
    assert done.returncode == 1
    assert "nvs_hmac_key.bin" in done.stderr


def test_keys_are_never_archived() -> None:
    github = yaml.safe_load((SNIPPETS / "github-actions.yml").read_text(encoding="utf-8"))
    archived = github["jobs"]["bundle"]["steps"][-1]["with"]["path"].split()
    assert {"!bundle/keys", "!bundle/keys/**"} <= set(archived)
    gitlab = yaml.safe_load((SNIPPETS / "gitlab-ci.yml").read_text(encoding="utf-8"))["factory-bundle"]
    assert gitlab["artifacts"]["exclude"] == ["bundle/keys/**/*"]
