# SPDX-License-Identifier: Apache-2.0
"""`bundle --merged`: what esptool merges of the same images, a chip that boots from it, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.matrix_tools import esptool_version, run

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.rehearsal.script_run import AS_PLANNED, chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess

IS_OLD = esptool_version() < (5, 0)
SPELLED = {word: word.replace("-", "_") for word in ("merge-bin", "write-flash", "no-reset")} if IS_OLD else {}
Bundled = Callable[..., tuple[Result, Path, Path]]


def esptool(chip: str, *words: object, port: str = "") -> None:
    on_board = ["--port", port, "--before", "no-reset", "--after", "no-reset", "--no-stub"] if port else []
    line = [SPELLED.get(str(word), str(word)) for word in (*on_board, *words)]
    done = run([sys.executable, "-m", "esptool", "--chip", chip, *line])
    assert done.exit_code == 0, done.output


@pytest.fixture
def bundled(
    sample_project: Callable[[str], Path],
    signing_key_for: Callable[[str], Path],
    run_cli: Callable[..., Result],
    tmp_path: Path,
) -> Bundled:
    """Makes a bundle with its merged image: what was said, the bundle, the file."""

    def make(chip: str = "esp32c3", *options: object, to: str = "merged.bin") -> tuple[Result, Path, Path]:
        words = ("-B", sample_project(chip) / "build", "--signing-key", signing_key_for(chip), "--key-home", tmp_path)
        done = run_cli("bundle", *words, "-o", tmp_path / "bundle", "--merged", tmp_path / to, *options)
        return done, tmp_path / "bundle", tmp_path / to

    return make


def provisioned_after(bundle: FinishedBundle, merged: Path, folder: Path) -> str:
    """A new board that a flash house has written: the script, then what the boot check says of it."""
    with ChipProcess(chip_for(bundle, AS_PLANNED), folder / "chip") as chip:
        esptool(bundle.plan.chip, "write-flash", "0x0", merged, port=chip.url)
        written = chip.flash
        assert written[: merged.stat().st_size] == merged.read_bytes()
        assert run_script(bundle, chip.url, folder / "journal", "--flash-is-written").exit_code == 0
        assert chip.flash == written
    report = boot_check(folder / "chip", bundle.folder)
    assert report.boots, report.faults
    return "\n".join(report.log)


@pytest.mark.parametrize("chip", ["esp32", pytest.param("esp32c3", marks=pytest.mark.long)])
def test_it_is_what_esptool_merges_and_a_chip_boots_from_it(chip: str, bundled: Bundled, tmp_path: Path) -> None:
    done, folder, merged = bundled(chip)
    assert done.exit_code == 0, done.output
    bundle = read_bundle(folder)
    parts = [word for image in bundle.manifest.images for word in (hex(image.offset), folder / image.file)]
    esptool(chip, "merge-bin", "--output", tmp_path / "by-esptool.bin", *parts)
    content = merged.read_bytes()
    assert content == (tmp_path / "by-esptool.bin").read_bytes()
    assert f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}" in done.stdout
    assert "Readable by whoever has the merged image: no firmware" in done.stdout
    assert "by itself" not in done.stdout
    log = provisioned_after(bundle, merged, tmp_path)
    assert "flash encryption is on" in log and "secure boot is on" in log


def test_it_says_what_can_be_read_in_it(bundled: Bundled, tmp_path: Path) -> None:
    """Firmware without flash encryption is said; an image with secrets in the clear is the owner's alone."""
    done, _, merged = bundled("esp32c3", "--flash-encryption", "off", "--accept", "SP023")
    assert done.exit_code == 0, done.output
    said = next(line for line in done.stdout.splitlines() if "has the merged image" in line)
    assert "FIRMWARE in the clear" in said
    assert "may turn secure boot on by itself" in done.stdout
    assert stat.S_IMODE(merged.stat().st_mode) == 0o644 & ~_umask()
    csv = tmp_path / "nvs.csv"
    csv.write_text("key,type,encoding,value\nwifi,namespace,,\npassword,data,string,secret\n", encoding="utf-8")
    profile = tmp_path / "profile.yaml"
    profile.write_text("schema: 1\nnvs:\n  scheme: off\n  images: {nvs: nvs.csv}\n", encoding="utf-8")
    options = ("--profile", profile, "--format", "json", "--accept", "SP034", "--accept", "SP090")
    done, _, merged = bundled("esp32c3", *options, to="secret.bin")
    assert done.exit_code == 0, done.output
    content = merged.read_bytes()
    told = {"file": str(merged), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert json.loads(done.stdout)["merged"] == told
    assert stat.S_IMODE(merged.stat().st_mode) == 0o600


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def test_only_what_the_earlier_bundle_still_gives_is_replaced(bundled: Bundled) -> None:
    done, folder, merged = bundled()
    assert done.exit_code == 0, done.output
    before = merged.read_bytes()
    done, _, _ = bundled()
    assert done.exit_code == 0 and merged.read_bytes() != before, "signatures are random"
    for content in (b"a flash encryption key", before):
        merged.write_bytes(content)
        made = (folder / "manifest.json").read_bytes()
        done, _, _ = bundled()
        assert (done.exit_code, "SE964" in done.stderr) == (3, True), done.output
        assert merged.read_bytes() == content
        assert (folder / "manifest.json").read_bytes() == made, "nothing was made"


@pytest.mark.parametrize(
    ("code", "to", "options"),
    [
        ("SE963", "bundle/images/merged.bin", ()),
        ("SE963", "bundle", ()),
        ("SE962", "merged.bin", ("--flash-encryption-key", "per-device")),
        ("SE965", "merged.bin", ("--profile",)),
        ("same file", "x.zip", ("--archive",)),
        ("SE669", "merged.bin", ("--to-be-signed",)),
    ],
)
def test_what_cannot_be_is_refused(
    code: str, to: str, options: tuple[str, ...], bundled: Bundled, tmp_path: Path
) -> None:
    (tmp_path / "keep.yaml").write_text("schema: 1\nkeep: [storage]\n", encoding="utf-8")
    values = {"--archive": to, "--to-be-signed": to, "--profile": "keep.yaml"}
    more = [word for option in options for word in (option, *([tmp_path / values[option]] if option in values else ()))]
    done, folder, merged = bundled("esp32c3", *more, to=to)
    assert (done.exit_code, code in done.stderr) == (2, True), done.output
    assert not folder.exists() and not merged.exists()


def test_a_place_that_cannot_be_written_is_said(bundled: Bundled, tmp_path: Path) -> None:
    """The bundle is there then; of the merged image neither a part nor a trace is."""
    (tmp_path / "circle").symlink_to("circle")
    done, folder, _ = bundled(to="circle")
    assert (done.exit_code, "SE964" in done.stderr, folder.exists()) == (3, True, False), done.output
    (tmp_path / "file").touch()
    done, folder, _ = bundled(to="file/merged.bin")
    assert (done.exit_code, "SE702" in done.stderr) == (3, True), done.output
    assert read_bundle(folder).folder == folder
    assert not list(tmp_path.glob("**/*.new"))
