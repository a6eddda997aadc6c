# SPDX-License-Identifier: Apache-2.0
"""A rehearsal passes for every chip and set of features, leaves no key behind, and is worth nothing elsewhere."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rehearsal_bundles import BundleOf, copied_bundles  # noqa: F401 (a fixture)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import TEN_CHIPS, Cell, all_cells
from support.matrix_tools import esptool_version

from secure_ext.bundle.read import has_passed_rehearsal, read_bundle
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.sample.options import SampleOptions

QUICK = (Cell("esp32", "both"),)
PARAMETERS = [
    pytest.param(cell, id=str(cell), marks=[] if cell in QUICK else [pytest.mark.long])
    for cell in all_cells()
    if cell.chip in TEN_CHIPS
]


@pytest.mark.parametrize("cell", PARAMETERS)
def test_the_rehearsal_passes_and_leaves_nothing_behind(
    cell: Cell, bundle_of: BundleOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script ends, once more changes nothing, the chip boots; and the chip with its keys is gone."""
    if esptool_version() < cell.needs_esptool:
        pytest.skip(f"esptool {cell.needs_esptool[0]}.{cell.needs_esptool[1]} or later knows this chip's eFuses")
    private = tmp_path / "temporary"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    outcome = rehearse_bundle(bundle_of(cell), lambda _: None)
    assert outcome.passed, (outcome.means, outcome.script_output)
    assert outcome.boot_log
    assert list(private.iterdir()) == []


@pytest.mark.long
def test_a_build_that_has_signed_itself_passes(
    new_build: Callable[..., Path], signing_keys: dict[str, Path], run_cli: Callable[..., Result], tmp_path: Path
) -> None:
    """Its sources end in a signature sector; one more signature is appended to them."""
    build = new_build("esp32c3", SampleOptions(flash_encryption="release", secure_boot=True))
    first = load_signing_key(signing_keys["rsa_0"])
    for image in (build / "sample.bin", build / "bootloader" / "bootloader.bin"):
        image.write_bytes(sign(image.read_bytes(), [first], place=image.name))
    keys = [word for name in ("rsa_0", "rsa_1") for word in ("--signing-key", signing_keys[name])]
    assert run_cli("bundle", "-B", build, "-o", tmp_path / "bundle", *keys).exit_code == 0
    outcome = rehearse_bundle(read_bundle(tmp_path / "bundle"), lambda _: None)
    assert outcome.passed, outcome.means


def test_the_outcome_belongs_to_this_very_bundle(bundle_of: BundleOf, run_cli: Callable[..., Result]) -> None:
    """It is in the bundle, with its hash in the manifest, and is worth nothing for another bundle."""
    bundle = bundle_of(Cell("esp32c6", "boot"))
    assert not has_passed_rehearsal(bundle)
    done = run_cli("rehearse", str(bundle.folder), "--format", "json")
    assert done.exit_code == 0, done.output
    outcome = json.loads(done.stdout)
    assert (outcome["passed"], outcome["bundle"]) == (True, bundle.identity)
    again = read_bundle(bundle.folder)
    assert has_passed_rehearsal(again)
    assert again.identity == bundle.identity
    other = bundle_of_another_day(again.folder)
    assert not has_passed_rehearsal(read_bundle(other))


def bundle_of_another_day(folder: Path) -> Path:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "created": "2001-01-01T00:00:00Z"}))
    return folder


def test_a_failed_rehearsal_says_so_and_does_not_open_the_way(
    bundle_of: BundleOf, run_cli: Callable[..., Result]
) -> None:
    """A script that stops half-way: exit code 1, the place where it stopped, and `flash` goes on refusing."""
    bundle = bundle_of(Cell("esp32c6", "boot"))
    done = run_cli("rehearse", str(bundle.folder), "--flash-size", "1")
    assert done.exit_code == 1
    assert "STOP SE816" in done.output
    assert "rehearsal: FAILED" in done.stdout
    assert not has_passed_rehearsal(read_bundle(bundle.folder))


@pytest.mark.parametrize("name", ["images/sample.bin", "provision.py", "plan.json", "rehearsal.json"])
def test_a_changed_bundle_is_not_rehearsed(name: str, bundle_of: BundleOf, run_cli: Callable[..., Result]) -> None:
    """Before any chip is started, every public file is compared with its hash."""
    folder = bundle_of(Cell("esp32c6", "boot")).folder
    if name == "rehearsal.json":
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"][name] = "0" * 64
        (folder / "manifest.json").write_text(json.dumps(manifest))
    else:
        with (folder / name).open("ab") as file:
            file.write(b" ")
    done = run_cli("rehearse", str(folder))
    assert (done.exit_code, "SE731" in done.stderr) == (3, True), done.output


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"files": {}, "images": [{}]}', "\x00"])
def test_what_is_no_bundle_is_refused(content: str, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    for name in ("manifest.json", "plan.json"):
        (tmp_path / name).write_text(content)
    done = run_cli("rehearse", str(tmp_path))
    assert (done.exit_code, "SE730" in done.stderr) == (3, True), done.output
