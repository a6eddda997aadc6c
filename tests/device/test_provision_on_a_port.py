# SPDX-License-Identifier: Apache-2.0
"""provision.py with ``--port``: what it does to a board, and when it refuses."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from board_on_a_port import Board, make_board
from support.matrix_tools import run

from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.policy.profile import Profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

CHIP = "esp32c3"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("port")
    build = make_sample_build(folder, CHIP, options=SampleOptions(flash_encryption="release", secure_boot=True))
    write_secret_file(folder / "key.pem", generate_signing_key(SignatureScheme.RSA3072))
    decision = decide(build, Profile(folder, {"secure_boot.keys": ("key.pem",)}))
    return write_bundle(decision, folder / "bundle", lambda _: None).folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "bundle"))


@pytest.fixture
def new_board(tmp_path: Path) -> Board:
    return make_board(tmp_path / "board", CHIP, 3)


def test_all_stages_in_order_and_the_images_are_in_flash(bundle: Path, new_board: Board) -> None:
    """Two connections: one looks and writes, through the stub; the other looks again and burns, through the ROM."""
    done = new_board.provision(bundle, "--yes")
    assert done.exit_code == 0, done.output
    told = re.findall(r"^(?:esptool|espefuse) ([\w-]+)", done.output, re.MULTILINE)
    assert told == ["write-flash", "burn-key", "write-protect-efuse", "burn-efuse"]
    assert new_board.happened["connection"] == 2
    for image in json.loads((bundle / "manifest.json").read_text())["images"]:
        content = (bundle / image["file"]).read_bytes()
        assert new_board.flash[image["offset"] : image["offset"] + len(content)] == content


def test_the_board_is_named_as_it_is_on_its_label(bundle: Path, new_board: Board) -> None:
    """Its MAC address is not taken for a key."""
    done = new_board.provision(bundle, "--dry-run", "--mac", "02:00:00:00:00:02")
    assert "MAC address 020000000001, this run is for 02:00:00:00:00:02" in done.output, done.output


def test_each_board_has_a_journal_and_a_log_of_its_own(bundle: Path, new_board: Board) -> None:
    new_board.provision(bundle, "--yes")
    journal = bundle / "journal"
    assert sorted(path.suffix for path in journal.iterdir()) == [".json", ".log"]
    assert "burning_begun" in json.loads(next(journal.glob("*.json")).read_text())


def test_images_are_not_written_twice(bundle: Path, new_board: Board) -> None:
    assert new_board.provision(bundle, "--yes", "--until", "flash").exit_code == 0
    written = new_board.happened
    assert not written["burn"]
    done = new_board.provision(bundle, "--yes", "--until", "burn")
    assert done.exit_code == 0 and "in flash already" in done.output
    assert new_board.happened["flash"] == written["flash"]


def test_a_changed_flash_is_written_again(bundle: Path, new_board: Board) -> None:
    new_board.provision(bundle, "--yes", "--until", "flash")
    written = new_board.happened["flash"]
    (new_board.folder / "flash.bin").write_bytes(b"\xff" * 0x400000)
    assert new_board.provision(bundle, "--yes").exit_code == 0
    assert new_board.happened["flash"] == 2 * written


def test_a_flash_that_does_not_hold_the_images_is_not_sealed(bundle: Path, new_board: Board) -> None:
    """Security is on, so the flash cannot be written again: the seal would make a dead board final."""
    assert new_board.provision(bundle, "--yes", "--until", "burn").exit_code == 0
    (new_board.folder / "flash.bin").write_bytes(b"\xff" * 0x400000)
    for path in (bundle / "journal").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"images_written": "another bundle's"}))
    burned = new_board.efuses
    done = new_board.provision(bundle, "--yes")
    assert (done.exit_code, "STOP SE831" in done.output) == (5, True), done.output
    assert new_board.efuses == burned


def test_a_failed_burn_can_be_continued(bundle: Path, new_board: Board) -> None:
    done = new_board.provision(bundle, "--yes", cut="write:1")
    assert done.exit_code == 4 and "SE825" in done.output
    assert new_board.provision(bundle, "--yes").exit_code == 0


@pytest.mark.parametrize(
    ("board", "code"),
    [
        ({"revision": 0}, "SE817"),
        ({"flash_size": 0x80000}, "SE816"),
        ({"flash_size": 0x200}, "SE858"),
    ],
    ids=["an old revision", "very little flash", "flash of unknown size"],
)
def test_a_board_that_does_not_suit_is_left_alone(
    bundle: Path, tmp_path: Path, board: dict[str, int], code: str
) -> None:
    unsuitable = make_board(tmp_path / "board", CHIP, **{"revision": 3, **board})
    done = unsuitable.provision(bundle, "--yes")
    assert (done.exit_code, f"STOP {code}" in done.output) == (5, True), done.output
    assert unsuitable.is_untouched


def test_a_port_without_a_board(bundle: Path) -> None:
    done = run([sys.executable, str(bundle / "provision.py"), "--port", "socket://127.0.0.1:9", "--yes"])
    assert (done.exit_code, "STOP SE810" in done.output) == (4, True), done.output


def test_a_dry_run_changes_nothing(bundle: Path, new_board: Board) -> None:
    done = new_board.provision(bundle, "--dry-run")
    assert done.exit_code == 0 and "Nothing was changed" in done.output
    assert (new_board.is_untouched and not (bundle / "journal").exists()) or not list(
        (bundle / "journal").glob("*.json")
    )


def test_a_dry_run_needs_no_place_to_write_to(bundle: Path, new_board: Board, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()  # root may write everywhere, but makes no folder in a file
    done = new_board.provision(bundle, "--dry-run", "--journal", str(tmp_path / "taken" / "journal"))
    assert done.exit_code == 0 and "Nothing was changed" in done.output
    burning = new_board.provision(bundle, "--yes", "--journal", str(tmp_path / "taken" / "journal"))
    assert burning.exit_code == 3 and "SE821" in burning.output


def test_it_can_be_reset_at_the_end(bundle: Path, new_board: Board) -> None:
    """A board that is closed by then, too; a socket has no lines that reset it, so that esptool's word has to do."""
    done = new_board.provision(bundle, "--yes", "--after", "hard-reset")
    assert done.exit_code == 0 and "could not be reset" not in done.output, done.output
