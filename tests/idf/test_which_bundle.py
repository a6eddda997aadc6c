# SPDX-License-Identifier: Apache-2.0
"""Which bundle the commands work on: the named one, or the one that was made; no guess, and no older one unasked."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.typed_documents import outcome_for

from secure_ext.bundle.read import read_bundle, store_rehearsal

RunCli = Callable[..., Result]
COMMANDS = ("verify", "rehearse", "flash", "audit", "ota")
ON_A_CHIP = ("rehearse", "flash")


@pytest.fixture
def make(run_cli: RunCli, signing_keys: dict[str, Path]) -> Callable[..., Result]:
    """Makes a bundle of a build, with the first signing key and generated other keys."""

    def bundle(build: Path, *options: object) -> Result:
        done = run_cli("bundle", "-B", build, "--signing-key", signing_keys["rsa_0"], *options)
        assert done.exit_code == 0, done.output
        return done

    return bundle


@pytest.fixture
def ask(run_cli: RunCli, tmp_path: Path, signing_keys: dict[str, Path]) -> Callable[..., Result]:
    """Runs a command so that it opens its bundle, and is over soon after."""
    (tmp_path / "summary.json").write_text("{}", encoding="utf-8")
    ends = {
        "verify": (),
        "rehearse": ("--serve", "--tcp-port", "-1"),
        "flash": ("--port", "/dev/nowhere", "--without-rehearsal", "--yes"),
        "audit": ("--summary", tmp_path / "summary.json"),
        "ota": ("--signing-key", signing_keys["rsa_0"], "-o", tmp_path / "update"),
    }

    def run(command: str, build: Path, *options: object) -> Result:
        return run_cli(command, "-B", build, *ends[command], *options)

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_the_one_that_was_made_wherever_that_is(
    command: str,
    new_build: Callable[..., Path],
    make: Callable[..., Result],
    ask: Callable[..., Result],
    tmp_path: Path,
) -> None:
    build = new_build()
    make(build, "-o", tmp_path / "factory")
    done = ask(command, build)
    assert f"{tmp_path / 'factory'}" in done.stderr
    assert "SE730" not in done.output and "SE907" not in done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_two_with_different_keys_are_a_question(
    command: str,
    new_build: Callable[..., Path],
    make: Callable[..., Result],
    ask: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """Both are named, and the option; with it there is no question."""
    build = new_build()
    make(build)
    make(build, "-o", tmp_path / "factory")
    other_keys(tmp_path / "factory")
    done = ask(command, build)
    assert (done.exit_code, "SE907" in done.stderr) == (2, True), done.output
    assert str(build / "secure") in done.stderr and str(tmp_path / "factory") in done.stderr
    assert "--bundle DIR" in done.stderr
    named = ask(command, build, "--bundle", tmp_path / "factory")
    assert "SE907" not in named.stderr
    assert f"{tmp_path / 'factory'}" in named.stderr


def other_keys(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for key in manifest["keys"]:
        key["fingerprint"] = "0" * 16
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_of_two_with_the_same_keys_it_is_the_later(
    new_build: Callable[..., Path], make: Callable[..., Result], ask: Callable[..., Result], tmp_path: Path
) -> None:
    """Key files are named, so that both have the same; what is made again comes last again."""
    build, profile = new_build(), tmp_path / "profile.yaml"
    (tmp_path / "flash.bin").write_bytes(hashlib.sha256(b"0").digest())
    (tmp_path / "nvs.bin").write_bytes(hashlib.sha256(b"200").digest())
    profile.write_text("schema: 1\nflash_encryption: {key: flash.bin}\nnvs: {key: nvs.bin}\n", encoding="utf-8")
    for output in ("one", "two", "one"):
        make(build, "-o", tmp_path / output, "--profile", profile)
    assert f"bundle: {tmp_path / 'one'}\n" in ask("verify", build).stderr
    shutil.rmtree(tmp_path / "one")
    assert f"bundle: {tmp_path / 'two'}\n" in ask("verify", build).stderr


def test_a_project_that_was_moved_knows_its_bundles(
    new_build: Callable[..., Path], make: Callable[..., Result], ask: Callable[..., Result], tmp_path: Path
) -> None:
    build = new_build()
    make(build, "-o", build.parent / "factory")
    build.parent.rename(tmp_path / "moved")
    assert f"bundle: {tmp_path / 'moved' / 'factory'}\n" in ask("verify", tmp_path / "moved" / "build").stderr


def test_a_bundle_is_named_once(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("verify", tmp_path, "--bundle", tmp_path)
    assert (done.exit_code, "once" in done.stderr) == (2, True)


def test_a_broken_record_is_no_record(
    new_build: Callable[..., Path], make: Callable[..., Result], ask: Callable[..., Result]
) -> None:
    build = new_build()
    make(build)
    for text in ("", "[]", "{}", '{"bundles": [{}]}', '{"bundles": [{"folder": 1, "inputs": 2}]}', "\0"):
        (build / "secure_provision_bundles.json").write_text(text, encoding="utf-8")
        assert f"bundle: {build / 'secure'}\n" in ask("verify", build).stderr


def change_an_image(build: Path) -> None:
    file = build / "ota_data_initial.bin"
    file.write_bytes(b"\xfe" + file.read_bytes()[1:])


def change_the_configuration(build: Path) -> None:
    file = build / "config" / "sdkconfig.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"SOMETHING": True}), encoding="utf-8")


def change_the_profile(build: Path) -> None:
    with (build.parent / "profile.yaml").open("a", encoding="utf-8") as file:
        file.write("lockdown: {jtag: open}\n")


CHANGES = (change_an_image, change_the_configuration, change_the_profile)


@pytest.fixture
def bundled(new_build: Callable[..., Path], run_cli: RunCli, signing_keys: dict[str, Path]) -> Path:
    """A build whose bundle, elsewhere, was made with a profile and passed its rehearsal."""
    build = new_build()
    profile = build.parent / "profile.yaml"
    profile.write_text(f"schema: 1\nsecure_boot: {{keys: ['{signing_keys['rsa_0'].as_posix()}']}}\n", encoding="utf-8")
    folder = build.parent / "factory"
    assert run_cli("bundle", "-B", build, "--profile", profile, "-o", folder).exit_code == 0
    bundle = read_bundle(folder)
    store_rehearsal(bundle, outcome_for(bundle.identity))
    return build


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
def test_one_that_is_older_than_the_build_is_refused(
    change: Callable[[Path], None], bundled: Path, run_cli: RunCli, *, named: bool
) -> None:
    change(bundled)
    folder = (bundled.parent / "factory",) if named else ()
    for command in ON_A_CHIP:
        options = ("--port", "/dev/nowhere", "--yes") if command == "flash" else ()
        done = run_cli(command, *folder, "-B", bundled, *options)
        assert (done.exit_code, "SE908" in done.stderr) == (2, True), done.output
        assert "--older-bundle" in done.stderr
    told = run_cli("flash", *folder, "-B", bundled, "--port", "/dev/nowhere", "--yes", "--older-bundle")
    assert "SE908" not in told.stderr


def touch(build: Path) -> None:
    for path in build.rglob("*.bin"):
        path.touch()


def lose_the_build(build: Path) -> None:
    shutil.rmtree(build)


def clean_the_build(build: Path) -> None:
    for path in build.glob("*.bin"):
        path.unlink()


def lose_the_profile(build: Path) -> None:
    (build.parent / "profile.yaml").unlink()


@pytest.mark.parametrize("change", [touch, lose_the_build, clean_the_build, lose_the_profile])
def test_one_that_is_not_older_is_taken(change: Callable[[Path], None], bundled: Path, run_cli: RunCli) -> None:
    change(bundled)
    done = run_cli("flash", bundled.parent / "factory", "-B", bundled, "--port", "/dev/nowhere", "--yes")
    assert "SE90" not in done.stderr, done.stderr


@pytest.mark.parametrize("change", CHANGES)
def test_a_release_that_was_copied_away_is_taken(
    change: Callable[[Path], None], bundled: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    """In the factory it is not the bundle of whatever build directory is there."""
    shutil.copytree(bundled.parent / "factory", tmp_path / "release")
    change(bundled)
    done = run_cli("flash", tmp_path / "release", "-B", bundled, "--port", "/dev/nowhere", "--yes")
    assert "SE90" not in done.stderr, done.stderr


def test_the_closing_lines_are_the_commands_for_this_folder(
    new_build: Callable[..., Path], make: Callable[..., Result], tmp_path: Path
) -> None:
    folder = tmp_path / "factory bundle"
    shown = make(new_build(), "-o", folder).stdout
    assert f"secure-provision rehearse '{folder}'" in shown
    assert f"secure-provision flash '{folder}' --port PORT" in shown
    assert "--virt" not in shown
