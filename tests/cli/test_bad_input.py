# SPDX-License-Identifier: Apache-2.0
"""Whatever is wrong with the input: a coded error with cause and cure, the right exit code, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import bad_requests  # noqa: F401 (registers its cases)
import pytest
from bad_builds import app_of_another_chip, truncated_app
from bad_world import (
    CASES,
    Case,
    Snapshot,
    World,
    check_coded_error,
    spoiled_world,  # noqa: F401 (a fixture)
)
from click.testing import Result


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
def test_bad_input(bad: Case, world: World, run_cli: Callable[..., Result], snapshot: Snapshot) -> None:
    bad.spoil(world)
    before = snapshot(world.folder)
    result = run_cli(*world.arguments())
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    check_coded_error(result.stdout, result.stderr, bad.code)
    assert result.exit_code == bad.exit_code
    assert snapshot(world.folder) == before


def test_there_are_many_cases() -> None:
    assert len(CASES) >= 45
    assert len({bad.name for bad in CASES}) == len(CASES)


@pytest.mark.parametrize("command", ["doctor", "plan"])
def test_other_commands_answer_alike(command: str, world: World, run_cli: Callable[..., Result]) -> None:
    world.command = command
    truncated_app(world)
    result = run_cli(*world.arguments())
    check_coded_error(result.stdout, result.stderr, "SE140")
    assert result.exit_code == 3


def test_error_as_json(world: World, run_cli: Callable[..., Result]) -> None:
    truncated_app(world)
    world.more = ("--format", "json")
    result = run_cli(*world.arguments())
    document = json.loads(result.stdout)
    assert document["exit_code"] == result.exit_code == 3
    assert document["error"]["code"] == "SE140"
    assert all(document["error"][name] for name in ("cause", "cure", "place"))
    assert "error SE140" in result.stderr


def test_doctor_ends_with_1_for_a_sick_build(world: World, run_cli: Callable[..., Result], snapshot: Snapshot) -> None:
    app_of_another_chip(world)
    world.command = "doctor"
    before = snapshot(world.folder)
    result = run_cli(*world.arguments())
    assert result.exit_code == 1
    assert "SP010" in result.stdout and "what to do: " in result.stdout
    assert snapshot(world.folder) == before


def test_bundle_names_the_error_of_the_doctor(world: World, run_cli: Callable[..., Result]) -> None:
    app_of_another_chip(world)
    result = run_cli(*world.arguments())
    assert "SP010" in result.stderr and "sample.bin" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["bundle", "--flash-encryption", "maybe"],
        ["bundle", "--unknown"],
        ["unknown"],
        ["keys", "generate", "rsa2048", "key.pem"],
        ["profile"],
        ["plan", "--format", "xml"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], run_cli: Callable[..., Result]) -> None:
    result = run_cli(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr or "error" in result.stderr.lower()


def test_a_failed_bundle_leaves_the_earlier_one_alone(
    world: World, run_cli: Callable[..., Result], snapshot: Snapshot
) -> None:
    assert run_cli(*world.arguments()).exit_code == 0
    before = snapshot(world.folder / "out")
    world.signing_keys = (world.keys["ecdsa256"],)
    assert run_cli(*world.arguments()).exit_code == 2
    assert snapshot(world.folder / "out") == before
    assert sorted(path.name for path in world.folder.iterdir()) == ["out", "project"]


# ---- other commands


@pytest.mark.parametrize(
    ("code", "exit_code", "arguments"),
    [
        ("SE630", 3, ("keys", "generate", "hmac", "there.bin")),
        ("SE630", 3, ("keys", "generate", "ecdsa256", "there.bin")),
        ("SE631", 3, ("keys", "generate", "hmac", "there.bin/key.bin")),
        ("SE601", 3, ("keys", "digest", "none.pem")),
        ("SE602", 3, ("keys", "digest", "there.bin")),
        ("SE301", 3, ("profile", "none.yaml")),
        ("SE301", 3, ("profile", ".")),
        ("SE305", 2, ("profile", "--init", "there.bin")),
        ("SE305", 2, ("profile", "--init", "there.bin/profile.yaml")),
        ("SE703", 3, ("demo", "-o", ".")),
        ("SE204", 3, ("demo", "--chip", "esp8266", "-o", "new")),
    ],
)
def test_other_commands(
    *,
    code: str,
    exit_code: int,
    arguments: tuple[str, ...],
    tmp_path: Path,
    run_cli: Callable[..., Result],
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "there.bin").write_bytes(b"something else")
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    result = run_cli(*arguments)
    check_coded_error("", result.stderr, code)
    assert result.exit_code == exit_code
    assert snapshot(tmp_path) == before


def test_digest_cannot_be_written(
    tmp_path: Path, signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    result = run_cli("keys", "digest", signing_keys["ecdsa256"], "-o", tmp_path)
    check_coded_error("", result.stderr, "SE702")
    assert result.exit_code == 3  # as everywhere for SE702


def test_digest_does_not_replace_the_key(
    tmp_path: Path, signing_keys: dict[str, Path], run_cli: Callable[..., Result]
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(signing_keys["ecdsa256"].read_bytes())
    result = run_cli("keys", "digest", key, "-o", key)
    assert key.read_bytes() == signing_keys["ecdsa256"].read_bytes()
    assert result.exit_code != 0
