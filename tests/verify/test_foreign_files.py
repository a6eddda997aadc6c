# SPDX-License-Identifier: Apache-2.0
"""A file that no bundle has is found, listed or not: by verify, by who runs the bundle, by who packs and unpacks it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from verify_bundles import Made, encrypted_bundle, readable_bundle  # noqa: F401 (fixtures)

from secure_ext.bundle.archive import write_archive
from secure_ext.bundle.file_names import foreign_files, name_fault, name_faults, needed_files
from secure_ext.bundle.read import read_bundle
from secure_ext.documents.read import read_manifest
from secure_ext.errors import InputError
from secure_ext.plan.read_document import read_plan

FOREIGN = (
    *("argparse.py", "esptool.cfg", "setup.cfg", "sitecustomize.py", "espefuse/__init__.py", "espefuse.exe"),
    *("images/more.bin", "images/sample.bin.bin", "digests/secure_boot_digest_2.bin", "images/run.py", "seal_to.pem"),
    *("Provision.py", "PLAN.JSON", "provision.py.", "provision.py ", "plan.json:stream", "NUL", "con.py", "COM1.txt"),
    *("a\nb", "images\\more.bin", "tab\t.py", "\u202efdp.py", "__pycache__/argparse.pyc", ".provision.py.7.new"),
)
FAULTS = (
    *("", "/", "/a", "a//b", "./a", "../a", "a/..", "a/...", "a.", "a ", "a./b", "a /b", "a:b", "a\\b", "a\0b", "a\nb"),
    *(
        "con",
        "Con.txt",
        "AUX",
        "com1",
        "LPT9.bin",
        "nul .x",
        "images/prn.bin",
        "conin$",
        "ä",
        "a*",
        "a?",
        "a|b",
        '"',
        "<",
    ),
)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("name", FOREIGN)
def test_nobody_takes_a_bundle_with_it(name: str, listed: bool, encrypted: Made, tmp_path: Path) -> None:
    made = encrypted.copy(tmp_path / "bundle")
    path = made.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"print('foreign')\n")
    if listed:
        made.relist()
        with pytest.raises(InputError, match=r"SE715|SE730"):
            write_archive(made.folder, tmp_path / "factory.zip")
    seen_by = {"file-foreign", "manifest-schema", "manifest-readable"} if listed else {"file-extra"}
    assert made.failures() & seen_by
    with pytest.raises(InputError, match=r"SE715|SE730"):
        read_bundle(made.folder)


@pytest.mark.parametrize("command", ["rehearse", "flash"])
def test_it_is_not_run(command: str, encrypted: Made, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    made = encrypted.copy(tmp_path / "bundle")
    (made.folder / "argparse.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    made.relist()
    done = run_cli(command, made.folder, *(("--port", "socket://127.0.0.1:1") if command == "flash" else ()))
    assert (done.exit_code, "SE715" in done.stderr, (tmp_path / "ran").exists()) == (3, True, False)


def test_what_an_interrupted_write_left_is_no_hindrance(encrypted: Made, tmp_path: Path) -> None:
    """Nothing reads it, and a board must not wait for it; verify shows it."""
    made = encrypted.copy(tmp_path / "bundle")
    (made.folder / ".manifest.json.4711.new").write_text("{")
    assert read_bundle(made.folder).identity == read_bundle(encrypted.folder).identity
    assert made.failures() == {"file-extra"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_name_that_is_not_one_file_everywhere(name: str) -> None:
    assert name_fault(name)


def test_names_that_differ_in_case_alone() -> None:
    assert {name for name, _ in name_faults(["plan.json", "images/a.bin", "Plan.json"])} == {"plan.json", "Plan.json"}


def test_every_bundle_has_good_names(encrypted: Made, readable: Made) -> None:
    for made in (encrypted, readable):
        bundle = read_bundle(made.folder)
        assert list(name_faults(bundle.manifest.files)) == []
        assert needed_files(bundle.manifest, bundle.plan) == set(bundle.manifest.files) - {"rehearsal.json"}


@given(st.text(max_size=20))
def test_any_other_name_is_foreign(encrypted: Made, name: str) -> None:
    manifest, plan = read_manifest(encrypted.folder), read_plan(encrypted.folder / "plan.json")
    known = {*manifest.files, "manifest.json", "manifest.dsse.json"}
    is_outside = name.startswith(("keys/", "journal/", "sealed/")) and not name_fault(name)
    assert bool(foreign_files([name], manifest, plan)) == (name not in known and not is_outside)


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "PLAN.json", "a\\b", "nul", "plan.json.", "plan.json:x"])
def test_an_archive_with_such_a_name_is_not_read(
    name: str, encrypted: Made, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    write_archive(encrypted.folder, tmp_path / "factory.zip")
    with zipfile.ZipFile(tmp_path / "factory.zip", "a") as archive:
        archive.writestr(name, json.dumps({}))
    done = run_cli("verify", tmp_path / "factory.zip")
    assert (done.exit_code, "SE750" in done.stderr) == (3, True)
