# SPDX-License-Identifier: Apache-2.0
"""The home of generated keys: it outlives build directories, and is shared by nobody."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from key_home_project import FLASH_KEY, Cli, Project

from secure_ext.doctor.repository import Kept, kept_by_git
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.sample.options import SampleOptions

pytestmark = pytest.mark.usefixtures("six_rsa_keys")


@pytest.fixture
def project(tmp_path: Path, run_cli: Cli) -> Project:
    return Project(tmp_path / "project", run_cli)


# ---- found again


def test_a_bundle_after_fullclean_has_the_same_keys(project: Project) -> None:
    first = project.bundle()
    assert first.stdout.count("NEW, in no board yet") == 3
    keys = project.keys()
    shutil.rmtree(project.build_dir)
    project.build()
    again = project.bundle()
    assert "NEW" not in again.stdout and again.stdout.count("as before, boards may carry it") == 3
    assert project.keys() == keys


def test_set_target_back_and_forth(project: Project) -> None:
    """`idf.py set-target` deletes the build directory; each chip has its own keys, and finds them again."""
    found: dict[str, dict[str, bytes]] = {}
    for chip in ("esp32c3", "esp32c6", "esp32c3", "esp32c6"):
        shutil.rmtree(project.build_dir)
        project.build(chip)
        project.bundle()
        assert found.setdefault(chip, project.keys()) == project.keys()
    assert not set(found["esp32c3"].values()) & set(found["esp32c6"].values())
    assert [home.name.partition("-")[0] for home in project.homes] == ["esp32c3", "esp32c6"]


def test_two_outputs_share_no_key(project: Project) -> None:
    project.bundle("-o", project.root / "out" / "0001")
    project.bundle("-o", project.root / "out-0001")
    one, other = (project.keys(project.root / name) for name in ("out/0001", "out-0001"))
    assert not set(one.values()) & set(other.values())
    assert len(project.homes) == 2


def test_two_projects_share_no_key_in_a_common_place(project: Project, tmp_path: Path, run_cli: Cli) -> None:
    other = Project(tmp_path / "other", run_cli)
    for each in (project, other):
        each.bundle("--key-home", tmp_path / "safe")
        assert not (each.root / "secure_keys").exists()
    assert not set(project.keys().values()) & set(other.keys().values())


def test_the_whole_moved_elsewhere_finds_its_keys(project: Project, tmp_path: Path) -> None:
    project.bundle()
    keys = project.keys()
    project.root.rename(tmp_path / "moved")
    project.root = tmp_path / "moved"
    project.profile = project.root / "profile.yaml"
    shutil.rmtree(project.build_dir)
    project.build()
    project.bundle()
    assert project.keys() == keys


def test_the_profile_names_the_place(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    project.profile.write_text(project.profile.read_text(encoding="utf-8") + "keys: {home: ~/safe}\n", encoding="utf-8")
    project.bundle()
    (home,) = (tmp_path / "safe").iterdir()
    assert (home / FLASH_KEY).read_bytes() == project.keys()[FLASH_KEY]
    assert str(tmp_path) not in (project.build_dir / "secure" / "manifest.json").read_text(encoding="utf-8")


def test_a_build_without_its_project(project: Project, tmp_path: Path) -> None:
    """As it comes from a build server: the home lies beside the output, or beside the build directory."""
    description = project.build_dir / "project_description.json"
    content = json.loads(description.read_text(encoding="utf-8"))
    content |= {"project_path": "/builds/a/project", "build_dir": "/elsewhere/build"}
    description.write_text(json.dumps(content), encoding="utf-8")
    project.bundle("-o", tmp_path / "release" / "one")
    assert len(list((tmp_path / "release" / "secure_keys").iterdir())) == 1
    project.bundle()
    assert len(project.homes) == 1


# ---- how it lies there


def test_nobody_else_reads_it_and_git_keeps_none_of_it(project: Project) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)  # noqa: S607
    project.bundle()
    (home,) = project.homes
    assert {kept_by_git(path) for path in home.iterdir()} == {Kept.IGNORED}
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in (home.parent, home)} == {0o700}
        assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}


def test_a_run_that_fails_after_keys_were_generated_leaves_none_behind(project: Project) -> None:
    project.profile.write_text("schema: 1\nsecure_boot: {keys: [generate, public.pem]}\n", encoding="utf-8")
    private = serialization.load_pem_private_key(generate_signing_key(SignatureScheme.RSA3072), None)
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (project.root / "public.pem").write_bytes(private.public_key().public_bytes(*form))
    project.bundle(code="SE712")
    assert not project.homes


@pytest.mark.parametrize("place", ["build", "build/keys", "out", "out/keys"])
def test_a_home_that_would_go_with_the_build_or_the_bundle_is_refused(place: str, project: Project) -> None:
    project.bundle("-o", project.root / "out", "--key-home", project.root / place, code="SE737")


def test_a_home_that_cannot_be_made(project: Project) -> None:
    (project.root / "secure_keys").write_text("a file", encoding="utf-8")
    done = project.bundle(code="SE736")
    assert "--key-home" in done.stderr
    assert not (project.build_dir / "secure").exists()


def test_a_copied_home_is_not_taken_for_another(project: Project) -> None:
    project.bundle()
    (home,) = project.homes
    identity = json.loads((home / "home.json").read_text(encoding="utf-8"))
    (home / "home.json").write_text(json.dumps({**identity, "chip": "esp32s3"}), encoding="utf-8")
    project.bundle(code="SE738")


# ---- bundles of earlier releases


def test_keys_of_an_earlier_release_get_a_home(project: Project) -> None:
    project.bundle()
    keys = project.keys()
    project.forget_homes()
    done = project.bundle()
    assert done.stdout.count("taken over from the earlier bundle") == 3
    assert project.keys() == keys
    (home,) = project.homes
    assert {name: (home / name).read_bytes() for name in keys} == keys
    shutil.rmtree(project.build_dir / "secure")
    project.bundle()
    assert project.keys() == keys


def test_keys_of_an_earlier_release_that_are_not_used_any_more_get_a_home(project: Project) -> None:
    project.bundle()
    keys = project.keys()
    project.forget_homes()
    (project.root / "flash.bin").write_bytes(hashlib.sha256(b"100").digest())
    project.bundle("--flash-encryption-key", project.root / "flash.bin")
    (home,) = project.homes
    (saved,) = (home / "superseded").iterdir()
    assert saved.read_bytes() == keys[FLASH_KEY]


def test_home_and_bundle_with_different_keys_are_a_question(project: Project) -> None:
    project.bundle()
    (home,) = project.homes
    bundled = project.keys()[FLASH_KEY]
    (home / FLASH_KEY).write_bytes(hashlib.sha256(b"0").digest())
    done = project.bundle(code="SE734")
    assert bundled.hex() not in done.output and hashlib.sha256(b"0").digest().hex() not in done.output
    assert (project.keys()[FLASH_KEY], (home / FLASH_KEY).read_bytes()) == (bundled, hashlib.sha256(b"0").digest())
    shutil.rmtree(project.build_dir / "secure")
    project.bundle()
    assert project.keys()[FLASH_KEY] == hashlib.sha256(b"0").digest()


# ---- another key than before is wanted


def test_a_key_of_another_size_says_what_has_changed(project: Project) -> None:
    shutil.rmtree(project.build_dir)
    project.build("esp32s3")
    project.bundle()
    text = project.profile.read_text(encoding="utf-8")
    project.profile.write_text(text + "flash_encryption: {key_size: 256}\n", encoding="utf-8")
    done = project.bundle("--accept", "SP042", code="SE621")
    assert "generated for this output before" in done.stderr and "key_size" in done.stderr


def test_what_is_not_wanted_any_more_stays(project: Project) -> None:
    project.bundle()
    keys = project.keys()
    project.build(options=SampleOptions(secure_boot=True, app_size=20_000))
    project.bundle()
    (home,) = project.homes
    assert {name: (home / name).read_bytes() for name in keys} == keys


# ---- a bundle of something else


def another_chip(project: Project) -> None:
    project.build("esp32c6")


def another_project(project: Project) -> None:
    file = project.build_dir / "project_description.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"sample"', '"other"'), encoding="utf-8")


def another_build_directory(project: Project) -> None:
    project.build_dir.rename(project.root / "build.other")
    project.build()


@pytest.mark.parametrize("change", [another_chip, another_project, another_build_directory])
def test_a_bundle_of_something_else_is_replaced_only_when_told(
    change: Callable[[Project], None], project: Project, snapshot: Callable[..., object]
) -> None:
    output = project.root / "factory"
    project.bundle("-o", output)
    keys = project.keys(output)
    if change is another_build_directory:
        other = Project(project.root.with_name("second"), project.run_cli)
        shutil.copytree(other.build_dir, project.root / "build2")
        options: tuple[object, ...] = ("-B", project.root / "build2")
    else:
        change(project)
        options = ()
    before = snapshot(project.root, ignored=["build", "build2"])
    done = project.bundle("-o", output, *options, code="SE739")
    assert "esp32c3" in done.stderr and "--replace" in done.stderr
    assert snapshot(project.root, ignored=["build", "build2"]) == before
    project.bundle("-o", output, *options, "--replace")
    kept = {path.read_bytes() for home in project.homes for path in home.glob("*.*")}
    assert set(keys.values()) <= kept
    assert (project.keys(output) == keys) == (change is another_build_directory)


def test_keys_of_a_replaced_bundle_of_an_earlier_release_are_found_again(project: Project) -> None:
    """The other chip's keys were in the bundle alone."""
    project.bundle()
    keys = project.keys()
    project.forget_homes()
    project.build("esp32c6")
    project.bundle("--replace")
    assert not set(keys.values()) & set(project.keys().values())
    project.build("esp32c3")
    project.bundle("--replace")
    assert project.keys() == keys


# ---- destroyed


def test_destroying_reaches_the_home(project: Project) -> None:
    project.bundle()
    (home,) = project.homes
    shown = project.run_cli("keys", "destroy", project.build_dir / "secure", "--yes")
    assert shown.exit_code == 0, shown.output
    assert str(home / FLASH_KEY) in shown.stdout
    assert [path.name for path in home.iterdir() if path.suffix in (".bin", ".pem")] == [
        "secure_boot_signing_key_0.pem"
    ]
    done = project.run_cli("keys", "destroy", project.build_dir / "secure", "--yes", "--with-signing-keys")
    assert (done.exit_code, home.exists()) == (0, False)


def test_destroying_a_home_whose_bundle_is_gone(project: Project) -> None:
    project.bundle()
    shutil.rmtree(project.build_dir)
    (home,) = project.homes
    done = project.run_cli("keys", "destroy", home, "--yes", "--with-signing-keys")
    assert (done.exit_code, home.exists()) == (0, False), done.output


def test_destroying_where_the_home_is_not_says_so(project: Project, tmp_path: Path) -> None:
    project.bundle()
    shutil.copytree(project.build_dir / "secure", tmp_path / "station" / "a" / "b")
    done = project.run_cli("keys", "destroy", tmp_path / "station" / "a" / "b", "--yes")
    assert (done.exit_code, "Not here: " in done.stdout) == (0, True), done.output
    assert all(home.is_dir() for home in project.homes)


# ---- where nobody looks


def findings(done: Result) -> set[str]:
    return {finding["code"] for finding in json.loads(done.stdout)["findings"]}


def test_a_program_is_told_of_new_keys_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    first = project.bundle("--format", "json")
    assert "SP160" in findings(first)
    assert {key["state"] for key in json.loads(first.stdout)["generated_keys"]} == {"new"}
    again = project.bundle("--format", "json")
    assert "SP160" not in findings(again)
    assert {key["state"] for key in json.loads(again.stdout)["generated_keys"]} == {"kept"}
    inputs = ("-B", project.build_dir, "--profile", project.profile)
    done = project.run_cli("verify", project.build_dir / "secure", *inputs)
    assert done.exit_code == 0, done.output


def test_an_archive_on_a_build_server_without_keys_is_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    archive = ("--archive", tmp_path / "factory.zip")
    done = project.bundle(*archive, code="SE404")
    assert "--nvs-key FILE" in done.stderr and "SP161" in done.stderr
    assert not (project.homes or (tmp_path / "factory.zip").exists())
    allowed = project.bundle(*archive, "--accept", "SP161")
    assert "SP160" in allowed.stdout
    project.bundle(*archive)  # with keys that are there


def test_an_archive_on_a_build_server_with_a_home_that_stays(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    done = project.bundle("--archive", tmp_path / "factory.zip", "--key-home", tmp_path / "safe")
    assert "SP160" in done.stdout and "SP161" not in done.stdout


def test_a_bundle_in_a_repository_that_would_take_its_keys(project: Project) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)  # noqa: S607
    assert "SP162" in project.bundle("-o", project.root / "release").stdout
    (project.root / ".gitignore").write_text("/release/\n", encoding="utf-8")
    assert "SP162" not in project.bundle("-o", project.root / "release").stdout
