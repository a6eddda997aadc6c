# SPDX-License-Identifier: Apache-2.0
"""``flash`` runs the bundle's script on a board, if the bundle was rehearsed; here the board is a virtual chip."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rehearsal_bundles import BundleOf, copied_bundles  # noqa: F401 (a fixture)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Cell
from support.typed_documents import outcome_for

from secure_ext.bundle.read import read_bundle, store_rehearsal
from secure_ext.prove.rehearsal.script_run import chip_for
from secure_ext.prove.virtual_chip.process import ChipProcess

RunScript = Callable[..., subprocess.CompletedProcess[str]]
CELL = Cell("esp32c6", "boot")


def test_a_rehearsed_bundle_is_flashed(bundle_of: BundleOf, tmp_path: Path, run_script: RunScript) -> None:
    bundle = bundle_of(CELL)
    store_rehearsal(bundle, outcome_for(bundle.identity))
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as chip:
        options = ("--port", chip.url, "--yes", "--until", "burn")
        done = run_script("flash", bundle.folder, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "STOPPED after stage 'burn'" in done.stdout
        assert len(chip.efuses) > 1


def test_a_bundle_that_was_not_rehearsed_is_refused_unless_told(
    bundle_of: BundleOf, tmp_path: Path, run_script: RunScript
) -> None:
    """A dry run changes nothing and needs no rehearsal."""
    bundle = bundle_of(CELL)
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as chip:
        options = ("flash", bundle.folder, "--port", chip.url, "--yes")
        before = chip.efuses
        refused = run_script(*options)
        assert (refused.returncode, "SE732" in refused.stderr) == (2, True)
        assert run_script(*options, "--dry-run").returncode == 0
        assert chip.efuses == before
        told = run_script(*options, "--without-rehearsal", "--until", "flash")
        assert (told.returncode, chip.efuses) == (0, before), told.stdout


@pytest.mark.parametrize(("passed", "foreign"), [(False, ""), (True, "0" * 64)])
def test_a_failed_or_foreign_rehearsal_does_not_count(
    passed: bool, foreign: str, bundle_of: BundleOf, run_cli: Callable[..., Result]
) -> None:
    bundle = bundle_of(CELL)
    store_rehearsal(bundle, outcome_for(foreign or bundle.identity, passed=passed))
    assert read_bundle(bundle.folder).identity == bundle.identity
    done = run_cli("flash", bundle.folder, "--port", "nowhere", "--yes")
    assert (done.exit_code, "SE732" in done.stderr) == (2, True)


def test_the_exit_code_is_the_scripts(bundle_of: BundleOf, run_script: RunScript) -> None:
    """No chip on the port: the script says so, with its own code."""
    done = run_script("flash", str(bundle_of(CELL).folder), "--port", "/dev/nowhere", "--yes", "--without-rehearsal")
    assert (done.returncode, "STOP SE810" in done.stdout) == (4, True), done.stdout


def test_without_a_port_nothing_starts(bundle_of: BundleOf, run_cli: Callable[..., Result]) -> None:
    done = run_cli("flash", str(bundle_of(CELL).folder))
    assert (done.exit_code, "SE733" in done.stderr) == (2, True)
