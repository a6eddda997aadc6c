# SPDX-License-Identifier: Apache-2.0
"""provision.py with ``--port``: what it does to a board, and when it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from board_stand_in import CHANGING, Board, make_board

from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.policy.profile import Profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in programs are started by their first line")
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
def board(tmp_path: Path) -> Board:
    return make_board(tmp_path / "board", CHIP)


def set_revision(board: Board) -> None:
    """esp32c3 v0.3, as secure boot needs it."""
    command = [sys.executable, "-m", "espefuse", "--chip", CHIP, "--virt"]
    command += ["--path-efuse-file", str(board.folder / "efuses.bin"), "--do-not-confirm"]
    subprocess.run([*command, "burn-bit", "BLOCK1", "114", "115"], check=True, capture_output=True)


@pytest.fixture
def new_board(board: Board) -> Board:
    set_revision(board)
    return board


def test_all_stages_in_order_and_the_images_are_in_flash(bundle: Path, new_board: Board) -> None:
    done = new_board.provision(bundle, "--yes")
    assert done.returncode == 0, done.stdout
    burn = ["burn-key", "burn-efuse", "write-protect-efuse"]
    assert new_board.commands == ["flash-id", "erase-region", "write-flash", *burn, "burn-efuse"]
    for image in json.loads((bundle / "manifest.json").read_text())["images"]:
        content = (bundle / image["file"]).read_bytes()
        assert new_board.flash[image["offset"] : image["offset"] + len(content)] == content
    assert not any("--force" in call for call in new_board.calls)


def test_no_firmware_starts_between_the_stages(bundle: Path, new_board: Board) -> None:
    new_board.provision(bundle, "--yes")
    esptool_calls = [call for call in new_board.calls if call.startswith("esptool")]
    assert esptool_calls and all("--after no-reset" in call for call in esptool_calls)


def test_each_board_has_a_journal_and_a_log_of_its_own(bundle: Path, new_board: Board) -> None:
    new_board.provision(bundle, "--yes")
    journal = bundle / "journal"
    assert sorted(path.suffix for path in journal.iterdir()) == [".json", ".log"]
    assert "burning_begun" in json.loads(next(journal.glob("*.json")).read_text())


def test_images_are_not_written_twice(bundle: Path, new_board: Board) -> None:
    assert new_board.provision(bundle, "--yes", "--until", "flash").returncode == 0
    assert not {"burn-key", "burn-efuse"} & set(new_board.commands)
    done = new_board.provision(bundle, "--yes", "--until", "burn")
    assert done.returncode == 0 and "in flash already" in done.stdout
    assert new_board.commands.count("write-flash") == 1


def test_a_changed_flash_is_written_again(bundle: Path, new_board: Board) -> None:
    new_board.provision(bundle, "--yes", "--until", "flash")
    (new_board.folder / "flash.bin").write_bytes(b"\xff" * 0x400000)
    assert new_board.provision(bundle, "--yes").returncode == 0
    assert new_board.commands.count("write-flash") == 2


def test_a_flash_that_does_not_hold_the_images_is_not_sealed(bundle: Path, new_board: Board) -> None:
    """Security is on, so the flash cannot be written again: the seal would make a dead board final."""
    assert new_board.provision(bundle, "--yes", "--until", "burn").returncode == 0
    (new_board.folder / "flash.bin").write_bytes(b"\xff" * 0x400000)
    for path in (bundle / "journal").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"images_written": "another bundle's"}))
    burned = (new_board.folder / "efuses.bin").read_bytes()
    done = new_board.provision(bundle, "--yes")
    assert (done.returncode, "STOP SE831" in done.stdout) == (5, True), done.stdout
    assert (new_board.folder / "efuses.bin").read_bytes() == burned


def test_a_failed_flash_burns_nothing(bundle: Path, new_board: Board) -> None:
    new_board.change(fails_at="write-flash")
    done = new_board.provision(bundle, "--yes")
    assert done.returncode == 4 and "SE824" in done.stdout
    assert not {"burn-key", "burn-efuse"} & set(new_board.commands)


def test_a_failed_burn_can_be_continued(bundle: Path, new_board: Board) -> None:
    new_board.change(fails_at="espefuse")
    done = new_board.provision(bundle, "--yes")
    assert done.returncode == 4 and "SE825" in done.stdout
    new_board.change(fails_at="")
    assert new_board.provision(bundle, "--yes").returncode == 0


@pytest.mark.parametrize(
    ("state", "exit_code", "code"),
    [
        ({"chip": "esp32c6"}, 5, "SE814"),
        ({"flash": "2MB"}, 5, "SE816"),
        ({"flash": "512KB"}, 5, "SE816"),
        ({"flash": "Unknown"}, 5, "SE858"),
        ({"sealed": True}, 5, "SE811"),
        ({"port": "/dev/other"}, 4, "SE810"),
    ],
    ids=[
        "another chip",
        "less flash than its header says",
        "very little flash",
        "unreadable flash",
        "sealed",
        "no board",
    ],
)
def test_a_board_that_does_not_suit_is_left_alone(
    bundle: Path, new_board: Board, state: dict[str, object], exit_code: int, code: str
) -> None:
    new_board.change(**state)
    done = new_board.provision(bundle, "--yes")
    assert (done.returncode, code in done.stdout) == (exit_code, True), done.stdout
    assert not CHANGING & set(new_board.commands)


def test_an_old_revision_is_refused(bundle: Path, board: Board) -> None:
    done = board.provision(bundle, "--yes")
    assert done.returncode == 5 and "SE817" in done.stdout
    assert not CHANGING & set(board.commands)


def test_a_dry_run_changes_nothing(bundle: Path, new_board: Board) -> None:
    efuses = (new_board.folder / "efuses.bin").read_bytes()
    done = new_board.provision(bundle, "--dry-run")
    assert done.returncode == 0 and "Nothing was changed" in done.stdout
    assert (new_board.folder / "efuses.bin").read_bytes() == efuses
    assert not (new_board.folder / "flash.bin").exists()


def test_a_dry_run_needs_no_place_to_write_to(bundle: Path, new_board: Board, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()  # root may write everywhere, but makes no folder in a file
    done = new_board.provision(bundle, "--dry-run", "--journal", str(tmp_path / "taken" / "journal"))
    assert done.returncode == 0 and "Nothing was changed" in done.stdout
    burning = new_board.provision(bundle, "--yes", "--journal", str(tmp_path / "taken" / "journal"))
    assert burning.returncode == 3 and "SE821" in burning.stdout


def test_it_can_be_reset_at_the_end(bundle: Path, new_board: Board) -> None:
    assert new_board.provision(bundle, "--yes", "--after", "hard-reset").returncode == 0
    assert "--after hard-reset" in new_board.calls[-1] and "chip-id" in new_board.calls[-1]
