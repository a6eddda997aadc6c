# SPDX-License-Identifier: Apache-2.0
"""Before an action of idf.py's own that would end a provisioned board, or its keys, the guard says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from idf_py_project import Properties, change_config

from secure_ext.idf import action_extensions


@dataclass
class Task:
    name: str


@pytest.fixture
def provisioned(new_build: Callable[..., Path]) -> Path:
    build = new_build()
    (build / "secure" / "keys").mkdir(parents=True)
    (build / "secure" / "manifest.json").write_text("{}", encoding="utf-8")
    return build


def warn(build: Path, *actions: str) -> None:
    arguments = Properties(build_dir=str(build), project_dir=str(build.parent))
    (callback,) = action_extensions({}, ".")["global_action_callbacks"]
    callback(None, arguments, [Task(action) for action in actions])


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("flash", "writes plaintext"),
        ("app-flash", "writes plaintext"),
        ("bootloader-flash", "writes plaintext"),
        ("partition-table-flash", "writes plaintext"),
        ("storage-flash", "writes plaintext"),
        ("encrypted-flash", "encrypt what it writes"),
        ("encrypted-app-flash", "encrypt what it writes"),
        ("erase-flash", "erases the flash"),
        ("erase_flash", "erases the flash"),
        ("fullclean", "deletes the build directory"),
        ("set-target", "deletes the build directory"),
    ],
)
def test_the_guard_tells_what_will_happen(
    action: str, text: str, provisioned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warn(provisioned, action)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"idf.py {action} " in shown.err
    assert text in shown.err
    assert "what to do:" in shown.err


@pytest.mark.parametrize("action", ["fullclean", "set-target"])
@pytest.mark.parametrize(("recorded", "warns"), [("../../home", False), ("../../absent", True), (None, False)])
def test_the_guard_is_quiet_when_the_keys_have_a_home(
    action: str, recorded: str | None, warns: bool, provisioned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (provisioned.parent / "home").mkdir()
    manifest = {"inputs": {"key_home": recorded}}
    (provisioned / "secure" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    warn(provisioned, action)
    assert ("CAN NEVER be given another firmware" in capsys.readouterr().err) == warns


@pytest.mark.parametrize("action", ["build", "monitor", "read-flash", "secure-flash", "size"])
def test_the_guard_is_quiet_about_the_rest(action: str, provisioned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warn(provisioned, action)
    assert capsys.readouterr().err == ""


@pytest.fixture
def really_provisioned(
    run_cli: Callable[..., Result], new_build: Callable[..., Path], signing_keys: dict[str, Path]
) -> Path:
    """A build with a bundle elsewhere than in its usual place."""
    build = new_build()
    words = ("--signing-key", signing_keys["rsa_0"], "-o", build.parent / "factory")
    done = run_cli("bundle", "-B", build, *words)
    assert done.exit_code == 0, done.output
    return build


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("flash", "DOES NOT BOOT"),
        ("app-flash", "DOES NOT BOOT"),
        ("otadata-flash", "DOES NOT BOOT"),
        ("ota_1-flash", "DOES NOT BOOT"),
        ("nvs-flash", "empty"),
        ("coredump-flash", ""),
    ],
)
def test_the_guard_knows_what_the_chip_decrypts(
    action: str, text: str, really_provisioned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And names the commands for this bundle, none of which a finished board refuses."""
    build = really_provisioned
    label = action.removesuffix("-flash")
    manifest = json.loads((build.parent / "factory" / "manifest.json").read_text(encoding="utf-8"))
    assert label in {row["label"] for row in manifest["partitions"]} | {"flash", "app", "coredump"}
    if label == "coredump":
        manifest["partitions"].append({"label": "coredump", "subtype": "coredump", "encrypted": False})
        (build.parent / "factory" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    warn(build, action)
    shown = capsys.readouterr().err
    assert (text in shown) if text else not shown
    assert ("DOES NOT BOOT" in shown) == (text == "DOES NOT BOOT")
    if shown:
        assert f"idf.py -p PORT secure-flash --bundle {build.parent / 'factory'}" in shown
        assert f"idf.py secure-ota --bundle {build.parent / 'factory'}" in shown


def turn_off_by_variable(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_PROVISION_GUARD", "0")


def turn_off_in_menuconfig(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_config(build, SECURE_PROVISION_FLASH_GUARD=False)


def use_development_mode(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_config(build, SECURE_FLASH_ENCRYPTION_MODE_RELEASE=False)


def have_no_bundle(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (build / "secure" / "manifest.json").unlink()


def have_no_build(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.rename(build.with_name("elsewhere"))


@pytest.mark.parametrize(
    "change", [turn_off_by_variable, turn_off_in_menuconfig, use_development_mode, have_no_bundle, have_no_build]
)
def test_the_guard_is_quiet_otherwise(
    change: Callable[[Path, pytest.MonkeyPatch], None],
    provisioned: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(provisioned, monkeypatch)
    warn(provisioned, "flash", "app-flash")
    assert capsys.readouterr().err == ""


def test_the_guard_reads_sdkconfig_when_the_build_is_gone(
    provisioned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (provisioned / "config" / "sdkconfig.json").unlink()
    warn(provisioned, "flash")
    assert "DOES NOT BOOT" in capsys.readouterr().err
