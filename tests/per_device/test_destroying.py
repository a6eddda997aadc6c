# SPDX-License-Identifier: Apache-2.0
"""``keys destroy``: says what is there, who carries it and what is lost; deletes that and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from board_runs import Station
from click.testing import Result

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.policy.profile import Profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions
from secure_ext.station.journal import board_journal


@pytest.fixture
def bundle(tmp_path: Path) -> FinishedBundle:
    """One that generated all of its keys, stands where another one stood, and has provisioned a board."""
    options = SampleOptions(flash_encryption="release", secure_boot=True, app_size=20_000)
    build = make_sample_build(tmp_path / "project", "esp32c3", options=options)
    profile = Profile(tmp_path, {"secure_boot.keys": ("generate",), "lockdown.download_mode": "open"})
    folder = write_bundle(decide(build, profile), tmp_path / "bundle", lambda _: None).folder
    (folder / "keys" / "superseded").mkdir(mode=0o700)
    (folder / "keys" / "superseded" / "flash_encryption_key.0123").write_bytes(bytes(range(32)))
    made = read_bundle(folder)
    board_journal(made.plan, folder / "journal" / "0200000000aa.json").note_burning()
    other = {"keys": "of another bundle", "burning_begun": "then"}
    (folder / "journal" / "0200000000bb.json").write_text(json.dumps(other))
    return made


def names(bundle: FinishedBundle) -> set[str]:
    folder = bundle.folder / "keys"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file()}


def test_what_is_there_is_told_and_deleted(bundle: FinishedBundle, run_cli: Callable[..., Result]) -> None:
    """The signing key stays: without it no board ever gets an update."""
    keys = {path: path.read_bytes() for path in (bundle.folder / "keys").rglob("[!.]*") if path.is_file()}
    done = run_cli("keys", "destroy", bundle.folder, "--yes")
    assert done.exit_code == 0, done.output
    for path, content in keys.items():
        assert path.relative_to(bundle.folder).as_posix() in done.stdout
        assert content.hex() not in done.stdout
    assert done.stdout.count("boards: 0200000000aa\n") == 3
    assert "not known; 1 in the journal" in done.stdout
    for part in ("only updated over the air", "NVS images", "NO UPDATE CAN EVER BE SIGNED"):
        assert part in done.stdout
    assert names(bundle) == {"secure_boot_signing_key_0.pem"}
    assert read_bundle(bundle.folder).manifest == bundle.manifest


@pytest.mark.parametrize("there_is", ["a bundle", "a link to it", "nothing"])
def test_what_a_killed_run_left_goes_too(
    there_is: str, bundle: FinishedBundle, killed_run: Callable[[Path], Path], run_cli: Callable[..., Result]
) -> None:
    left, named = killed_run(bundle.folder), bundle.folder
    if there_is == "a link to it":
        named = bundle.folder.with_name("link")
        named.symlink_to(bundle.folder)
    elif there_is == "nothing":
        shutil.rmtree(bundle.folder)
    done = run_cli("keys", "destroy", named, "--yes")
    assert (done.exit_code, str(left) in done.stdout, left.exists()) == (3 * (there_is == "nothing"), True, False)


def test_an_earlier_bundle_that_was_moved_aside_is_named_and_left_alone(
    bundle: FinishedBundle, run_cli: Callable[..., Result]
) -> None:
    aside = bundle.folder.with_name(f".{bundle.folder.name}.old-abcd_123")
    shutil.copytree(bundle.folder, aside)
    done = run_cli("keys", "destroy", bundle.folder, "--yes")
    assert (done.exit_code, str(aside) in done.stdout) == (0, True)
    assert (aside / "keys" / "flash_encryption_key.bin").exists()
    assert run_cli("keys", "destroy", aside, "--yes").exit_code == 0
    assert not (aside / "keys" / "flash_encryption_key.bin").exists()


def test_signing_keys_only_when_told(bundle: FinishedBundle, run_cli: Callable[..., Result]) -> None:
    assert run_cli("keys", "destroy", bundle.folder, "--yes", "--with-signing-keys").exit_code == 0
    assert not (bundle.folder / "keys").exists()
    again = run_cli("keys", "destroy", bundle.folder)
    assert (again.exit_code, "Nothing to destroy" in again.stdout) == (0, True)


def test_without_a_word_nothing_is_deleted(bundle: FinishedBundle, run_cli: Callable[..., Result]) -> None:
    before = names(bundle)
    done = run_cli("keys", "destroy", bundle.folder)
    assert (done.exit_code, "SE695" in done.stderr) == (2, True)
    assert names(bundle) == before


@pytest.mark.parametrize(("answer", "exit_code"), [("DESTROY", 0), ("yes", 2), ("", 2)])
def test_the_word(
    answer: str, exit_code: int, bundle: FinishedBundle, run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    import click

    from secure_ext.cli.commands import key_care

    monkeypatch.setattr(click, "prompt", lambda *_, **__: answer)
    monkeypatch.setattr(key_care, "_has_operator", lambda: True)
    before = names(bundle)
    assert run_cli("keys", "destroy", bundle.folder).exit_code == exit_code
    assert (names(bundle) == before) == bool(exit_code)


def test_what_cannot_be_deleted_is_said(
    bundle: FinishedBundle, run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    done = run_cli("keys", "destroy", bundle.folder, "--yes")
    assert (done.exit_code, "SE696" in done.stderr) == (3, True)


def test_a_link_goes_and_the_key_that_stays_is_named(
    bundle: FinishedBundle, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    key, stick = bundle.folder / "keys" / "flash_encryption_key.bin", tmp_path / "stick.bin"
    key.rename(stick)
    key.symlink_to(stick)
    (bundle.folder / "keys" / "more").symlink_to(tmp_path)
    done = run_cli("keys", "destroy", bundle.folder, "--yes")
    assert (done.exit_code, "SE671" in done.stderr, stick.exists()) == (1, True, True)
    assert f"still there: {stick}" in done.stdout
    assert "Not looked into" in done.stdout
    assert "deleted, not overwritten" in done.stdout


def test_a_second_name_of_a_key_is_told(bundle: FinishedBundle, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    (tmp_path / "second").hardlink_to(bundle.folder / "keys" / "flash_encryption_key.bin")
    done = run_cli("keys", "destroy", bundle.folder, "--yes")
    assert (done.exit_code, "1 other name" in done.stdout) == (1, True)


def test_keys_behind_a_link_to_their_folder_are_deleted(
    bundle: FinishedBundle, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    folder = bundle.folder / "keys"
    folder.rename(tmp_path / "stick")
    folder.symlink_to(tmp_path / "stick")
    done = run_cli("keys", "destroy", bundle.folder, "--yes", "--with-signing-keys")
    assert done.exit_code == 0, done.output
    assert not list((tmp_path / "stick").rglob("*.bin"))


def test_a_folder_that_cannot_be_read_is_not_nothing(
    bundle: FinishedBundle, run_cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scan(path: Path) -> object:
        if Path(path).name == "superseded":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)  # root may read every folder
    done = run_cli("keys", "destroy", bundle.folder, "--yes")
    assert (done.exit_code, "SE696" in done.stderr, "superseded" in done.stderr) == (3, True, True)


def test_a_key_that_a_killed_run_has_not_finished_goes(bundle: FinishedBundle, run_cli: Callable[..., Result]) -> None:
    home = next(path for path in (bundle.folder.parent / "project" / "secure_keys").iterdir())
    (home / ".flash_encryption_key.bin.partial").write_bytes(bytes(range(7, 39)))
    assert run_cli("keys", "destroy", home, "--yes").exit_code == 0
    assert not (home / ".flash_encryption_key.bin.partial").exists()


@pytest.mark.long
def test_a_board_that_has_its_keys_is_finished_without_them(
    bundle: FinishedBundle, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    """And one that has none is refused, before anything is written."""
    station = Station(bundle, tmp_path)
    with station.board("0200000000cc", "write:150") as begun, station.board("0200000000dd") as new:
        assert station.flash(begun).returncode == 4
        assert run_cli("keys", "destroy", bundle.folder, "--yes").exit_code == 0
        done = station.flash(begun)
        assert done.returncode == 0, done.stdout
        before = (new.efuses, new.flash)
        refused = station.flash(new)
        assert (refused.returncode, "STOP SE820" in refused.stdout) == (3, True), refused.stdout
        assert (new.efuses, new.flash) == before
