# SPDX-License-Identifier: Apache-2.0
"""A key of somebody else's is in a block of the plan: the station puts the plan's keys elsewhere, and says where."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chip_tools import espefuse, succeed, summary
from click.testing import Result

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.keys.symmetric import generate_secret
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.rehearsal.script_run import ScriptRun, chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess, events
from secure_ext.sample.options import SampleOptions

LONG = pytest.mark.long
Run = Callable[..., Result]
MakeBundle = Callable[..., FinishedBundle]
STATION = ("place: station", "keep: []")


@pytest.fixture
def make_bundle(
    tmp_path: Path, new_build: Callable[..., Path], signing_key_for: Callable[[str], Path], run_cli: Run
) -> MakeBundle:
    def make(chip: str, *lines: str) -> FinishedBundle:
        profile = tmp_path / "profile.yaml"
        profile.write_text("\n".join(["schema: 1", *lines]) + "\n", encoding="utf-8")
        build = new_build(chip, SampleOptions(flash_encryption="release", secure_boot=True))
        words = ("-B", build, "--profile", profile, "--signing-key", signing_key_for(chip))
        done = run_cli("bundle", *words, "-o", tmp_path / "bundle")
        assert done.exit_code == 0, done.output
        verified = run_cli("verify", tmp_path / "bundle", *words)
        assert verified.exit_code == 0, verified.output
        return read_bundle(tmp_path / "bundle")

    return make


@pytest.fixture
def with_foreign_key(tmp_path: Path) -> Callable[..., None]:
    """Somebody else burns a key before us."""

    def burn(chip: ChipProcess, block: str = "BLOCK_KEY0", purpose: str = "HMAC_DOWN_DIGITAL_SIGNATURE") -> None:
        key = tmp_path / "foreign.bin"
        key.write_bytes(generate_secret("foreign", 32).data)
        succeed(espefuse(chip, "burn-key", block, str(key), purpose))
        shutil.copy(chip.state / "efuses.json", chip.state / "efuses_of_the_new_chip.json")

    return burn


def provision(bundle: FinishedBundle, chip: ChipProcess, *options: str) -> ScriptRun:
    return run_script(bundle, chip.url, chip.state.parent / "journal", *options)


@pytest.mark.parametrize(
    ("chip", "block"),
    [
        ("esp32c3", "BLOCK_KEY0"),
        *(pytest.param(chip, block, marks=LONG) for chip in ("esp32s3", "esp32h2") for block in ("KEY0", "KEY1")),
    ],
)
def test_a_taken_block_is_left_alone(  # noqa: PLR0917 (fixtures)
    chip: str,
    block: str,
    make_bundle: MakeBundle,
    with_foreign_key: Callable[..., None],
    run_cli: Run,
    tmp_path: Path,
) -> None:
    bundle = make_bundle(chip, *STATION)
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        with_foreign_key(board, block if block.startswith("BLOCK") else f"BLOCK_{block}")
        done = provision(bundle, board, "--until", "burn")
        assert done.exit_code == 0, done.output
        assert "Placed at this station: " in done.output
        again = provision(bundle, board, "--until", "burn")
        assert "Nothing to do" in again.output
        words = ("--port", board.url, "--before", "no-reset", "--until", "burn")
        audited = run_cli("audit", bundle.folder, *words, "--journal", tmp_path / "journal")
        assert audited.exit_code == 0, audited.output
        purposes = [summary(board)[f"KEY_PURPOSE_{number}"]["value"] for number in range(6)]
        assert purposes.count("HMAC_DOWN_DIGITAL_SIGNATURE") == 1
        sealed = provision(bundle, board)
        assert sealed.exit_code == 0, sealed.output
        closed = run_cli("audit", bundle.folder, *words[:4])
        assert "not for this bundle" not in closed.output and ", 0 failed" in closed.output, closed.output
        report = boot_check(board.state, bundle.folder)
        assert report.boots, report.faults
    assert "the station puts the key of flash encryption" in (bundle.folder / "report.html").read_text("utf-8")
    (record,) = (tmp_path / "journal").glob("*.json")
    assert json.loads(record.read_text())["placed"]


@LONG
def test_a_new_board_gets_them_where_the_plan_says(make_bundle: MakeBundle) -> None:
    bundle = make_bundle("esp32c3", *STATION)
    outcome = rehearse_bundle(bundle, lambda _: None)
    assert outcome.passed


def test_without_leave_it_stops(make_bundle: MakeBundle, with_foreign_key: Callable[..., None], tmp_path: Path) -> None:
    bundle = make_bundle("esp32c3", "keep: []")
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        with_foreign_key(board)
        before, flash = (board.state / "efuses.json").read_bytes(), board.flash
        done = provision(bundle, board)
        assert "SE819" in done.output, done.output
        assert ((board.state / "efuses.json").read_bytes(), board.flash) == (before, flash)


@pytest.mark.parametrize("purpose", [pytest.param("XTS_AES_128_KEY", marks=LONG), "SECURE_BOOT_DIGEST0"])
def test_a_key_for_the_same_use_stops_it_all_the_same(
    purpose: str, make_bundle: MakeBundle, with_foreign_key: Callable[..., None], tmp_path: Path
) -> None:
    """The chip would take that one: it is not placed beside it."""
    bundle = make_bundle("esp32c3", *STATION)
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        with_foreign_key(board, "BLOCK_KEY3", purpose)
        before = (board.state / "efuses.json").read_bytes()
        done = provision(bundle, board)
        assert done.exit_code == 5 and ("SE819" in done.output or "SE822" in done.output), done.output
        assert (board.state / "efuses.json").read_bytes() == before


@LONG
@pytest.mark.parametrize("chip", ["esp32c3", "esp32s3"])
def test_a_cut_is_gone_on_from(
    chip: str, make_bundle: MakeBundle, with_foreign_key: Callable[..., None], tmp_path: Path
) -> None:
    """At every burn: the keys stay where they are, whatever is free by then."""
    bundle = make_bundle(chip, *STATION)
    log = tmp_path / "events"
    with ChipProcess(chip_for(bundle), tmp_path / "whole") as board:
        with_foreign_key(board)
    with ChipProcess(replace(chip_for(bundle), log=log), tmp_path / "whole") as board:
        assert provision(bundle, board).exit_code == 0
    burns = max(event["burn"] for event in events(log))
    for number in range(1, burns + 1):
        state = tmp_path / f"chip-{number}"
        with ChipProcess(chip_for(bundle), state) as board:
            with_foreign_key(board)
        with ChipProcess(replace(chip_for(bundle), cut=f"burn:{number}"), state) as board:
            run_script(bundle, board.url, state / "journal")
        with ChipProcess(chip_for(bundle), state) as board:
            done = run_script(bundle, board.url, state / "journal")
            if done.exit_code == 5:
                assert "SE812" in done.output or "SE811" in done.output, done.output
                continue
            assert done.exit_code == 0, (number, done.output)
            report = boot_check(board.state, bundle.folder)
            assert report.boots, (number, report.faults)


@pytest.mark.parametrize(
    ("chip", "lines"), [("esp32c3", ["place: station"]), ("esp32c2", [*STATION]), ("esp32", [*STATION])]
)
def test_where_nothing_can_be_placed(
    chip: str,
    lines: list[str],
    new_build: Callable[..., Path],
    run_cli: Run,
    tmp_path: Path,
) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("\n".join(["schema: 1", *lines]) + "\n", encoding="utf-8")
    done = run_cli("plan", "-B", new_build(chip), "--profile", profile)
    assert (done.exit_code, "SE326" in done.stderr) == (2, True), done.output
