# SPDX-License-Identifier: Apache-2.0

"""``secure-provision update``: what is shown, the exit codes, and that nothing is written unless somebody says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cable_world import BoardOf, CableBoard, provisioned_boards  # noqa: F401 (a fixture)
from click.testing import Result
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Cell

CELL = Cell("esp32c3", "both")


def line(board: CableBoard, *options: object) -> list[object]:
    key = board.made.signing_keys[0]
    return ["update", "-B", board.build, "--fleet", board.made.folder, "--signing-key", key, *options]


def test_nothing_is_written_unasked_and_all_of_it_with_yes(
    board_of: BoardOf, run_cli: Callable[..., Result], tmp_path: Path
) -> None:
    board = board_of(CELL)
    key = (board.made.folder / "keys" / "flash_encryption_key.bin").read_bytes()
    before = board.flash
    with board.chip() as chip:
        asked = run_cli(*line(board, "--port", chip.url))
        assert (asked.exit_code, "SE984" in asked.stderr, board.flash) == (2, True, before)
        done = run_cli(*line(board, "--port", chip.url, "--yes", "--format", "json"))
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["board"], report["slot"], report["written"]) == ("020000000001", "ota_1", ["ota_1", "otadata"])
    assert report["forced"] == ["ota_1", "otadata"] and report["passed"]
    assert "written with --force: esptool writes nothing over flash encryption" in done.stderr
    assert key.hex() not in done.output


@pytest.mark.long
def test_a_rehearsal_needs_no_board(board_of: BoardOf, run_cli: Callable[..., Result]) -> None:
    board = board_of(CELL)
    for until, words in (("burn", "all of it is there"), ("seal", "written anew")):
        done = run_cli(*line(board, "--rehearse", "--until", until, "--everything", "--bootloader"))
        assert done.exit_code == 0, done.output
        assert "rehearsal: PASSED" in done.stdout and words in done.stdout and "starts 'ota_1'" in done.stdout
    as_json = run_cli(*line(board, "--rehearse", "--format", "json"))
    assert json.loads(as_json.stdout)["rehearsal"]["passed"] is True


@pytest.mark.long
def test_a_sealed_board_says_what_nobody_saw(board_of: BoardOf, run_cli: Callable[..., Result]) -> None:
    board = board_of(CELL, "seal")
    with board.chip() as chip:
        done = run_cli(*line(board, "--port", chip.url, "--yes"))
    assert done.exit_code == 0, done.output
    assert "WRITTEN, not verified: ota_1, otadata" in done.stdout
    assert "not verifiable  board-flash-key" in done.stdout


def test_without_a_port_nothing_starts(board_of: BoardOf, run_cli: Callable[..., Result], tmp_path: Path) -> None:
    done = run_cli("update", "-B", tmp_path)
    assert (done.exit_code, "SE733" in done.stderr) == (2, True)


@pytest.mark.long
def test_boards_with_keys_of_their_own(
    run_cli: Callable[..., Result], board_of: BoardOf, bundles: Callable[[Cell], object], tmp_path: Path
) -> None:
    """Without the board's key nothing goes by cable, and the cure is named; a rehearsal makes throw-away keys."""
    board = board_of(CELL)
    project = tmp_path / "project"
    shutil.copytree(board.made.build.parent, project)
    key = board.made.signing_keys[0]
    made = run_cli(
        *("bundle", "-B", project / "build", "-o", tmp_path / "own", "--signing-key", key),
        *("--flash-encryption-key", "per-device"),
    )
    assert made.exit_code == 0, made.output
    options = ("update", "-B", board.build, "--fleet", tmp_path / "own", "--signing-key", key)
    refused = run_cli(*options, "--port", "nowhere")
    assert (refused.exit_code, "SE971" in refused.stderr, "secure-provision ota" in refused.stderr) == (3, True, True)
    rehearsed = run_cli(*options, "--rehearse")
    assert rehearsed.exit_code == 0, rehearsed.output
