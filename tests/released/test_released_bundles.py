# SPDX-License-Identifier: Apache-2.0
"""What 0.1.0 made keeps working: its bundles are verified, rehearsed and used, its begun boards are finished.

``made_by_0.1.0/`` holds what that version wrote, of sample builds, with keys that are for these tests alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from secure_ext.sample import SampleOptions

MADE = Path(__file__).parent / "made_by_0.1.0"
KINDS = sorted(path.stem for path in MADE.glob("*.zip"))
WITH_SHARED_KEYS = [kind for kind in KINDS if not kind.endswith("per-device")]


@pytest.fixture
def released(tmp_path: Path) -> Callable[[str], Path]:
    """Unpacks what was made of a kind, with the modes that keys had."""

    def unpack(kind: str) -> Path:
        folder = tmp_path / kind
        with zipfile.ZipFile(MADE / f"{kind}.zip") as archive:
            archive.extractall(folder)
        for path in folder.rglob("keys"):
            path.chmod(0o700)
            for key in path.iterdir():
                key.chmod(0o600)
        return folder

    return unpack


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_is_verified(kind: str, released: Callable[[str], Path], run_cli: Callable[..., Result]) -> None:
    done = run_cli("verify", released(kind) / "bundle", "--format", "json")
    failed = [check for check in json.loads(done.stdout)["checks"] if check["outcome"] == "failed"]
    assert (failed, done.exit_code) == ([], 0), done.output


def test_an_archive_is_verified(released: Callable[[str], Path], run_cli: Callable[..., Result]) -> None:
    done = run_cli("verify", released("esp32c3-both") / "factory.zip")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "esp32c3-both" else pytest.mark.long) for kind in WITH_SHARED_KEYS]
)
def test_a_bundle_is_rehearsed(kind: str, released: Callable[[str], Path], run_cli: Callable[..., Result]) -> None:
    done = run_cli("rehearse", released(kind) / "bundle")
    assert done.exit_code == 0, done.output


def test_a_begun_board_is_finished(released: Callable[[str], Path]) -> None:
    folder = released("esp32c3-both")
    script = [sys.executable, str(folder / "bundle" / "provision.py"), "--virt", str(folder / "chip.bin"), "--yes"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "ENABLE_SECURITY_DOWNLOAD" in done.stdout
    assert "burn-key" not in done.stdout


def test_its_boards_take_an_update(
    released: Callable[[str], Path], new_build: Callable[..., Path], run_cli: Callable[..., Result], tmp_path: Path
) -> None:
    build = new_build("esp32c3", SampleOptions(flash_encryption="release", secure_boot=True, app_size=4000))
    folder = released("esp32c3-both")
    key = MADE / "signing_key.pem"
    options = ("--signing-key", key, "-o", tmp_path / "update")
    done = run_cli("ota", "-B", build, "--fleet", folder / "bundle", *options)
    assert done.exit_code == 0, done.output


@pytest.mark.long
def test_its_boards_take_an_update_by_cable(
    released: Callable[[str], Path], new_build: Callable[..., Path], run_cli: Callable[..., Result]
) -> None:
    """The app; not the bootloader, since that bundle does not say how its own was built."""
    build = new_build("esp32c3", SampleOptions(flash_encryption="release", secure_boot=True, app_size=4000))
    options = ("--fleet", released("esp32c3-both") / "bundle", "--signing-key", MADE / "signing_key.pem", "--rehearse")
    done = run_cli("update", "-B", build, *options)
    assert (done.exit_code, "rehearsal: PASSED" in done.stdout) == (0, True), done.output
    refused = run_cli("update", "-B", build, *options, "--bootloader")
    assert (refused.exit_code, "SE980" in refused.stderr) == (1, True), refused.output


@pytest.mark.parametrize("kind", KINDS)
def test_its_plan_is_compared(kind: str, released: Callable[[str], Path], run_cli: Callable[..., Result]) -> None:
    bundle = released(kind) / "bundle"
    done = run_cli("plan", "--diff", bundle, bundle)
    assert done.exit_code == 0, done.output
