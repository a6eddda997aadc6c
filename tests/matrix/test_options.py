# SPDX-License-Identifier: Apache-2.0
"""What the user asks of the script: stages, dry runs, the word at the prompt, two runs at once; and damaged bundles."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matrix_boards import ESP32C6, ESP32C6_BOOT, Board, Boards, new_board  # noqa: F401 (a fixture)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Bundles
from support.matrix_tools import Done, provision


def test_stages_can_be_run_one_by_one(board: Boards) -> None:
    """Up to flash: no eFuse. Up to burn: everything but the seal. Without a limit: done."""
    fresh = board(ESP32C6)
    blank = fresh.chip_file.read_bytes()
    flashed = fresh.provision("--until", "flash")
    assert (flashed.exit_code, fresh.chip_file.read_bytes()) == (0, blank)
    assert "on a board: esptool write" in flashed.output
    assert fresh.provision("--until", "burn").exit_code == 0
    assert fresh.unmet() == ["the download mode is closed"]
    sealed = fresh.provision()
    assert sealed.exit_code == 0
    assert "write-flash" not in sealed.output  # the chip decrypts already
    assert fresh.unmet() == []


def test_a_dry_run_and_a_run_that_nobody_confirms_change_nothing(board: Boards) -> None:
    """Neither bits nor journal; without a terminal to ask on, the exit code says that usage was wrong."""
    fresh = board(ESP32C6)
    blank = fresh.chip_file.read_bytes()
    for options, exit_code, words in ((["--dry-run"], 0, "Dry run"), ([], 2, "STOP SE823")):
        done = fresh.provision(*options, yes=False)
        assert (done.exit_code, words in done.output) == (exit_code, True), done.output
        assert fresh.chip_file.read_bytes() == blank
    assert not Path(f"{fresh.chip_file}.journal.json").exists()


def test_a_script_to_which_nobody_listens_goes_on(board: Boards) -> None:
    """The terminal or the pipe that it writes to is gone: that is no reason to leave a board half-way."""
    fresh = board(ESP32C6_BOOT)
    line = [sys.executable, str(fresh.made.folder / "provision.py"), "--virt", str(fresh.chip_file), "--yes"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as script:
        assert script.stdout and script.stderr
        script.stdout.close()
        assert (script.stderr.read(), script.wait(timeout=120)) == (b"", 0)
    assert fresh.unmet() == []
    assert "DONE" in Path(f"{fresh.chip_file}.journal.log").read_text(encoding="utf-8")


@pytest.mark.skipif(importlib.util.find_spec("pty") is None or os.name != "posix", reason="needs a pseudo terminal")
@pytest.mark.parametrize(
    ("word", "exit_code"),
    [pytest.param("burn", 2, marks=pytest.mark.long), pytest.param("", 2, marks=pytest.mark.long), ("BURN", 0)],
)
def test_the_word_at_the_prompt_decides(word: str, exit_code: int, board: Boards) -> None:
    """Exactly BURN burns; anything else changes nothing."""
    fresh = board(ESP32C6_BOOT)
    blank = fresh.chip_file.read_bytes()
    done = on_a_terminal(fresh, word)
    assert done.exit_code == exit_code, done.output
    if exit_code:
        assert fresh.chip_file.read_bytes() == blank
    else:
        assert fresh.unmet() == []


def on_a_terminal(board: Board, answer: str) -> Done:
    import pty

    ours, theirs = pty.openpty()
    line = [sys.executable, str(board.made.folder / "provision.py"), "--virt", str(board.chip_file)]
    with subprocess.Popen(line, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        os.close(theirs)
        os.write(ours, answer.encode() + b"\n")
        output, _ = process.communicate(timeout=120)
    os.close(ours)
    return Done(process.returncode, output.decode())


@pytest.mark.parametrize(
    "name",
    [
        "images/sample.bin",
        pytest.param("images/otadata.bin", marks=pytest.mark.long),
        pytest.param("keys/flash_encryption_key.bin", marks=pytest.mark.long),
        pytest.param("keys/nvs_hmac_key.bin", marks=pytest.mark.long),
        pytest.param("digests/secure_boot_digest_0.bin", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("damage", ["one bit", pytest.param("missing", marks=pytest.mark.long)])
def test_a_damaged_bundle_is_noticed_before_anything(name: str, damage: str, bundles: Bundles, tmp_path: Path) -> None:
    """A changed or missing image, key or digest ends the run before the chip is even looked at."""
    bundle = tmp_path / "bundle"
    shutil.copytree(bundles(ESP32C6).folder, bundle)
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    if damage == "missing":
        (bundle / name).unlink()
    done = provision(bundle, tmp_path / "chip.bin")
    assert (done.exit_code, "STOP SE820" in done.output) == (3, True), done.output
    assert not (tmp_path / "chip.bin").exists()


def test_two_runs_at_once_do_not_mix(bundles: Bundles, tmp_path: Path) -> None:
    """Two stations, one bundle, two chips, at the same time: both are as they should be, each with its own journal."""
    made = bundles(ESP32C6)
    boards = [Board(made, tmp_path / f"chip{number}.bin") for number in range(2)]
    script = str(made.folder / "provision.py")
    runs = []
    for board in boards:
        line = [sys.executable, script, "--virt", str(board.chip_file), "--yes"]
        runs.append(subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(0.1)
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    assert [board.unmet() for board in boards] == [[], []]
    assert sorted(path.name for path in tmp_path.glob("*.journal.json")) == [
        "chip0.bin.journal.json",
        "chip1.bin.journal.json",
    ]
