"""The snippets for build servers: their scripts run on a sample build, verify signatures and leave no key behind."""

from __future__ import annotations

import base64
import json
import os
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


def environment(folder: Path, signing_key: Path) -> dict[str, str]:
    """What either server gives to the job."""
    secret = base64.b64encode(generate_secret("flash_encryption_key", 32).data).decode()
    (folder / "flash key.b64").write_text(secret, encoding="utf-8")
    (folder / "runner").mkdir()
    return {
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
        "RUNNER_TEMP": str(folder / "runner"),
        "SIGNING_KEY_PEM": signing_key.read_text(encoding="utf-8"),
        "SIGNING_KEY": str(signing_key),
    }


@pytest.mark.parametrize("script", [github_script, gitlab_script])
def test_the_script_runs_and_verifies_and_leaves_no_key(
    script: Callable[[], str], new_build: Callable[..., Path], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    project = new_build().parent
    given = environment(tmp_path, signing_keys["rsa_0"])
    secret = tmp_path / "flash key.b64"
    is_github = script is github_script
    given["FLASH_ENCRYPTION_KEY_BASE64"] = secret.read_text(encoding="utf-8") if is_github else str(secret)
    lines = [line for line in script().splitlines() if not line.startswith(SERVER_ONLY)]
    bash = [shutil.which("bash") or "", "-e", "-o", "pipefail", "-c", "\n".join(lines)]
    done = subprocess.run(
        bash,
        cwd=project,
        env={**os.environ, **given, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.lower().count("signature block 0 verification successful") == 2
    assert "\x1b" not in done.stdout + done.stderr
    assert json.loads((project / "summary.json").read_text(encoding="utf-8"))["bundle"] == "bundle"
    assert (project / "bundle" / "provision.py").is_file()
    assert not (project / "bundle" / "keys").exists()
    assert not list((tmp_path / "runner").iterdir())


def test_keys_are_never_archived() -> None:
    github = yaml.safe_load((SNIPPETS / "github-actions.yml").read_text(encoding="utf-8"))
    archived = github["jobs"]["bundle"]["steps"][-1]["with"]["path"].split()
    assert {"!bundle/keys", "!bundle/keys/**"} <= set(archived)
    gitlab = yaml.safe_load((SNIPPETS / "gitlab-ci.yml").read_text(encoding="utf-8"))["factory-bundle"]
    assert gitlab["artifacts"]["exclude"] == ["bundle/keys/**/*"]
