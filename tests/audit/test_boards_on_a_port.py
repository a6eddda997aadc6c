# SPDX-License-Identifier: Apache-2.0
"""``audit --port`` on virtual chips: open, sealed, and closed for ever; and that it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from audited_boards import Boards, Provisioned, burned, provisioned_boards  # noqa: F401 (a fixture is among them)
from click.testing import Result
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Bundles, Cell

from secure_ext.bundle.read import read_bundle
from secure_ext.checks import Outcome
from secure_ext.prove.audit.report import audit_against_plan, audit_for_release
from secure_ext.prove.rehearsal.script_run import chip_for, run_script
from secure_ext.prove.virtual_chip.fuses import Fuses
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.station.chip_state import ChipState
from secure_ext.station.security_info import parse_security_info

CELL = Cell("esp32c3", "both")
SHOWN = {
    *("SPI_BOOT_CRYPT_CNT", "SECURE_BOOT_EN", "ENABLE_SECURITY_DOWNLOAD", "DIS_PAD_JTAG", "DIS_DOWNLOAD_ICACHE"),
    *("SECURE_BOOT_KEY_REVOKE0", "SECURE_BOOT_KEY_REVOKE1", "SECURE_BOOT_KEY_REVOKE2"),
    *("KEY_PURPOSE_0", "KEY_PURPOSE_1", "KEY_PURPOSE_5", "key blocks that the plan does not use"),
}
"""What an ESP32-C3 in secure download mode still tells."""


def chip_with(was: Provisioned, state: ChipState, folder: Path) -> ChipProcess:
    """A virtual chip on whose BLOCK0 is what the state says; a chip in secure download mode shows nothing else."""
    folder.mkdir(mode=0o700)
    Fuses(folder / "efuses.json").burn(0, state.blocks[0])
    return ChipProcess(chip_for(read_bundle(was.bundle)), folder)


def test_a_sealed_board_tells_little_and_the_rest_is_not_called_fine(
    boards: Boards, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    was = boards(CELL)
    with chip_with(was, was.state, tmp_path / "chip") as chip:
        before = chip.efuses, chip.flash
        done = run_cli("audit", was.bundle, "--port", chip.url, "--before", "no-reset", "--format", "json")
        text = run_cli("audit", was.bundle, "--port", chip.url, "--before", "no-reset")
        assert (chip.efuses, chip.flash) == before
    report = json.loads(done.stdout)
    assert (done.exit_code, report["passed"], report["mac"]) == (0, True, None), done.stdout
    passed = {check["place"] for check in report["checks"] if check["outcome"] == "passed"}
    assert passed == SHOWN
    assert {c["place"] for c in report["checks"] if c["name"] == "board"} == {"verdict"}
    assert report["counts"]["not verifiable"] > 15
    assert "Nothing that can be seen deviates" in text.stdout
    assert "What nobody can see, and nobody has checked" in text.stdout
    assert "the board is sealed, and what it still shows is as planned" in text.stdout


@pytest.mark.parametrize(
    ("field", "value"),
    [("SPI_BOOT_CRYPT_CNT", 1), ("SECURE_BOOT_EN", 0), ("SECURE_BOOT_KEY_REVOKE1", 0), ("DIS_PAD_JTAG", 0)],
)
def test_what_a_sealed_board_shows_can_fail(field: str, value: int, boards: Boards) -> None:
    was = boards(CELL)
    flags = {"SECURE_BOOT_EN": 0, "SECURE_BOOT_KEY_REVOKE1": 4, "DIS_PAD_JTAG": 7}
    number = 0b10011110101
    count = 7
    if field in flags:
        number &= ~(1 << flags[field])
    else:
        count = value
    text = f"Flags: {number:#010x} (x)\nSPI Boot Crypt Count (SPI_BOOT_CRYPT_CNT): {count:#x}\n"
    board = replace(was.board(), state=None, security=parse_security_info(text, was.chip.efuses.fields))
    for report in (audit_against_plan(board, was.plan, was.bundle), audit_for_release(board)):
        failed = {check.place for check in report.checks if check.outcome is Outcome.FAILED}
        # that a count of 1 is not write-protected, which would do for ESP-IDF, nobody can see
        assert field in failed or (report.verdict is None and value == 1), report.against


def test_a_sealed_board_that_prints_nothing_passes_nothing(boards: Boards) -> None:
    """Another esptool may print other words: then nothing is seen, and the verdict is not that it is finished."""
    was = boards(CELL)
    board = replace(was.board(), state=None, security=parse_security_info("", was.chip.efuses.fields))
    report = audit_against_plan(board, was.plan, was.bundle)
    assert {check.outcome for check in report.checks if check.name != "board"} == {Outcome.NOT_VERIFIABLE}
    assert not report.passed


def test_an_open_board_is_read_in_full(boards: Boards, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    """And its chip is found out, when no plan names it."""
    was = boards(CELL)
    with chip_with(was, burned(was, "ENABLE_SECURITY_DOWNLOAD", 0), tmp_path / "chip") as chip:
        words = ("--port", chip.url, "--before", "no-reset", "--format", "json")
        by_policy = run_cli("audit", "--policy", "release", *words)
        by_plan = run_cli("audit", was.bundle, *words, "--until", "burn")
        wrong_chip = run_cli("audit", "--policy", "release", "--chip", "esp32c6", *words)
    report = json.loads(by_policy.stdout)
    assert report["chip"] == "esp32c3"
    failed = {check["name"] for check in report["checks"] if check["outcome"] == "failed"}
    assert "download-mode-closed" in failed
    failed = {check["place"] for check in json.loads(by_plan.stdout)["checks"] if check["outcome"] == "failed"}
    assert failed == {"WAFER_VERSION", "BLOCK_KEY1", "verdict"}, "BLOCK0 alone was burned"
    assert (wrong_chip.exit_code, "SE814" in wrong_chip.stderr) == (5, True)


def test_a_board_whose_download_mode_is_disabled_does_not_answer(
    boards: Boards, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    was = boards(CELL)
    with chip_with(was, burned(was, "DIS_DOWNLOAD_MODE", 1), tmp_path / "chip") as chip:
        done = run_cli("audit", was.bundle, "--port", chip.url, "--before", "no-reset")
    assert (done.exit_code, done.stdout) == (5, "")
    assert "SE870" in done.stderr
    assert "a board whose download mode is disabled never answers again" in done.stderr


def test_a_port_that_is_not_there(boards: Boards, run_cli: Callable[..., Result]) -> None:
    done = run_cli("audit", boards(CELL).bundle, "--port", "/dev/not-there")
    assert (done.exit_code, "SE810" in done.stderr) == (4, True)


@pytest.mark.long
@pytest.mark.parametrize("cell", [Cell("esp32c3", "both"), Cell("esp32s3", "both"), Cell("esp32c2", "both")], ids=str)
def test_after_the_script_on_a_virtual_chip(
    cell: Cell, bundles: Bundles, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    """Before the seal all is read back; after it what is left."""
    bundle = read_bundle(bundles(cell).folder)
    journal = tmp_path / "journal"
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as chip:
        words = ("audit", bundle.folder, "--port", chip.url, "--before", "no-reset", "--journal", journal)
        assert run_script(bundle, chip.url, journal, "--until", "burn").exit_code == 0
        before_seal = run_cli(*words, "--until", "burn")
        assert before_seal.exit_code == 0, before_seal.stdout
        assert "the journal has a record" in before_seal.stdout
        assert run_script(bundle, chip.url, journal).exit_code == 0
        sealed = run_cli(*words)
    assert sealed.exit_code == 0, sealed.stdout
    assert "the board is sealed" in sealed.stdout
