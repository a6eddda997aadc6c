# SPDX-License-Identifier: Apache-2.0
"""Every command explains itself, and keeps stdout for what was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import Result

from secure_ext.cli.main import cli
from secure_ext.errors import CheckError, DeviceError, InputError, ToolError, UsageError


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, group
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))


EVERY = dict(commands(cli))


@pytest.mark.parametrize("path", EVERY, ids=lambda path: " ".join(path) or "secure-provision")
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_an_example(path: tuple[str, ...], option: str, run_cli: Callable[..., Result]) -> None:
    result = run_cli(*path, option)
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert "secure-provision " + " ".join(path) in result.stdout.split("Example", 1)[1]


@pytest.mark.parametrize("path", EVERY, ids=lambda path: " ".join(path) or "secure-provision")
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    for parameter in EVERY[path].params:
        if isinstance(parameter, click.Option) and parameter.name != "help":
            assert parameter.help, f"{path}: {parameter.name}"


@pytest.mark.parametrize("path", EVERY, ids=lambda path: " ".join(path) or "secure-provision")
def test_every_command_is_listed_with_a_short_help(path: tuple[str, ...]) -> None:
    text = EVERY[path].get_short_help_str(limit=200)
    assert text and text[0].isupper()


def test_the_documented_commands_are_there() -> None:
    assert set(EVERY) >= {
        ("doctor",),
        ("plan",),
        ("bundle",),
        ("audit",),
        ("keys", "generate"),
        ("keys", "digest"),
        ("profile",),
        ("demo",),
    }


def test_exit_codes_are_documented(run_cli: Callable[..., Result]) -> None:
    text = " ".join(run_cli("--help").stdout.split())
    assert "Exit codes:" in text
    told = text.split("Exit codes:", 1)[1]
    for number in range(6):
        assert f"{number} " in told
    kinds = (CheckError, UsageError, InputError, ToolError, DeviceError)
    assert [kind.exit_code for kind in kinds] == [1, 2, 3, 4, 5]


def test_version(run_cli: Callable[..., Result]) -> None:
    from secure_ext import __version__

    assert run_cli("--version").stdout == f"secure-provision, version {__version__}\n"


@pytest.mark.parametrize("command", ["doctor", "plan", "bundle"])
def test_json_is_one_document_on_stdout(
    command: str,
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    tmp_path: Path,
    run_cli: Callable[..., Result],
) -> None:
    words: list[object] = [command, "-B", sample_project("esp32c3") / "build", "--format", "json"]
    words += ["--signing-key", signing_keys["rsa_0"]]
    words += ["-o", tmp_path / "out"] if command == "bundle" else []
    result = run_cli(*words)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    assert result.stderr == ""
    expected = {"doctor": "findings", "plan": "plan", "bundle": "manifest"}[command]
    assert expected in document and "findings" in document
    for finding in document["findings"]:
        more = {"known", "fingerprint"} if command == "doctor" else set()
        assert set(finding) == {"code", "severity", "place", "cause", "cure", "accepted"} | more
    if command == "bundle":
        assert document["manifest"] == json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", ["doctor", "plan", "bundle"])
def test_an_error_as_json_is_one_document_too(command: str, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    result = run_cli(command, "-B", tmp_path / "nowhere", "--format", "json")
    document = json.loads(result.stdout)
    assert document == {"error": document["error"], "exit_code": 3}
    assert set(document["error"]) == {"code", "place", "cause", "cure"}
    assert result.exit_code == 3
    assert result.stderr.startswith("error SE101: ")


def test_doctor_as_json_tells_its_exit_code(
    sample_project: Callable[[str], Path], signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    words = ["doctor", "-B", sample_project("esp32c3") / "build", "--signing-key", signing_keys["rsa_0"]]
    result = run_cli(*words, "--flash-encryption", "off", "--format", "json")
    document = json.loads(result.stdout)
    assert document["exit_code"] == result.exit_code == 1
    assert any(finding["code"] == "SP023" for finding in document["findings"])
    accepted = run_cli(*words, "--flash-encryption", "off", "--format", "json", "--accept", "SP023")
    assert accepted.exit_code == 0
    assert [finding["accepted"] for finding in json.loads(accepted.stdout)["findings"] if finding["code"] == "SP023"]


def test_text_goes_to_stdout_and_the_next_command_to_stderr(
    sample_project: Callable[[str], Path], signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    words = ["-B", sample_project("esp32c3") / "build", "--signing-key", signing_keys["rsa_0"]]
    examined = run_cli("doctor", *words)
    assert examined.stdout.splitlines()[-1].startswith("doctor: ")
    assert examined.stderr == "next, with the same options: secure-provision plan\n"
    planned = run_cli("plan", *words)
    assert "CANNOT BE UNDONE" in planned.stdout
    assert planned.stderr == "next, with the same options: secure-provision bundle\n"


def test_plan_touches_no_key_and_writes_nothing(
    sample_project: Callable[[str], Path],
    tmp_path: Path,
    run_cli: Callable[..., Result],
    snapshot: Callable[..., object],
) -> None:
    project = sample_project("esp32c3")
    before = snapshot(project)
    result = run_cli("plan", "-B", project / "build", "--signing-key", tmp_path / "not-there.pem")
    assert result.exit_code == 0
    assert snapshot(project) == before
    assert list(tmp_path.iterdir()) == []


def test_profile_commands(tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    from secure_ext.policy.settings import json_schema, template

    assert run_cli("profile", "--init", "-").stdout == template()
    assert json.loads(run_cli("profile", "--schema").stdout) == json_schema()
    path = tmp_path / "profile.yaml"
    assert run_cli("profile", "--init", path).exit_code == 0
    assert path.read_text(encoding="utf-8") == template()
    checked = run_cli("profile", path)
    assert (checked.exit_code, checked.stdout) == (0, f"{path}: valid, with 0 settings besides the schema version\n")


def test_key_commands(tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    assert run_cli("keys", "generate", "ecdsa256", tmp_path / "key.pem").exit_code == 0
    digest = run_cli("keys", "digest", tmp_path / "key.pem", "-o", tmp_path / "digest.bin")
    assert digest.stdout == f"ecdsa256 {(tmp_path / 'digest.bin').read_bytes().hex()}\n"
    for kind, length in (("hmac", 32), ("flash-encryption-256", 64), ("flash-encryption-128-derived", 16)):
        assert run_cli("keys", "generate", kind, tmp_path / f"{kind}.bin").exit_code == 0
        assert len((tmp_path / f"{kind}.bin").read_bytes()) == length
