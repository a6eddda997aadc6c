# SPDX-License-Identifier: Apache-2.0
"""A custom MAC address for each board, from a list: a row is used once, and stays that board's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from board_runs import Station
from click.testing import Result

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.chips.mac_list import parse_mac_list
from secure_ext.doctor.decide import decide
from secure_ext.errors import InputError
from secure_ext.per_device.custom_macs import TAKEN, bundle_as_seen, bundle_as_taken
from secure_ext.per_device.throw_away import bundle_of_a_board
from secure_ext.policy.profile import Profile, Value
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.station.chip_state import ChipState

BOARDS = ("0200000000a1", "0200000000a2", "0200000000a3")
LIST = "custom_mac\n02:11:00:00:00:01\n02:11:00:00:00:02\n"
FOR_ONE = "mac,custom_mac\n02:00:00:00:00:a2,02:11:00:00:00:09\n,02:11:00:00:00:01\n"
MakeBundle = Callable[..., FinishedBundle]


@pytest.fixture
def bundle_of(
    sample_project: Callable[[str], Path], signing_key_for: Callable[[str], Path], tmp_path: Path
) -> MakeBundle:
    """A bundle whose keys are the same for all boards, and whose addresses are not."""

    def make(macs: str = LIST, chip: str = "esp32c3", **values: Value) -> FinishedBundle:
        (tmp_path / "macs.csv").write_text(macs, encoding="utf-8")
        settings: dict[str, Value] = {
            "secure_boot.keys": (str(signing_key_for(chip)),),
            "custom_mac": "macs.csv",
            "lockdown.download_mode": "open",
        }
        decision = decide(sample_project(chip) / "build", Profile(tmp_path, settings | values))
        write_bundle(decision, tmp_path / "bundle", lambda _: None)
        return read_bundle(tmp_path / "bundle")

    return make


def state_of(board: str, *, block: bytes = bytes(32)) -> ChipState:
    """A board that was read: its address, and what its block of user data holds."""
    return ChipState({}, {}, {}, {}, {3: block}, 3, board)


def address(bundle: FinishedBundle) -> str:
    (step,) = bundle.plan.data
    assert step.mac_list is None
    return step.content[25:31].hex(":")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "line 1: the columns are"),
        ("address\n02:11:00:00:00:01\n", "line 1: the columns are"),
        ("custom_mac\n", "it has no rows"),
        ("custom_mac\n02:11:00:00:00:01\n02-11-00-00-00-01\n", "line 3: 02:11:00:00:00:01 stands in line 2, too"),
        ("custom_mac\n03:11:00:00:00:01\n", "line 2: it is a multicast address"),
        ("custom_mac\n02:11:00:00:01\n", "line 2: it is not written as an address"),
        ("mac,custom_mac\n02:00:00:00:00:a1\n", "line 2: it has 1 columns, not 2"),
        ("mac,custom_mac\n02:00:00:00:00:a1,\n", "line 2: it has no custom_mac"),
        ('custom_mac\n"02:11\n', "it is no CSV"),
    ],
)
def test_what_is_no_list(
    content: str, why: str, new_build: Callable[..., Path], tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    (tmp_path / "macs.csv").write_text(content, encoding="utf-8")
    (tmp_path / "profile.yaml").write_text("schema: 1\ncustom_mac: macs.csv\n", encoding="utf-8")
    done = run_cli("plan", "-B", new_build(), "--profile", tmp_path / "profile.yaml")
    assert done.exit_code == 2 and "SE434" in done.stderr and why in done.stderr, done.output


def test_a_list_is_read_back_as_it_is_written() -> None:
    macs = parse_mac_list(FOR_ONE.encode())
    assert parse_mac_list(macs.content) == macs


def test_a_row_is_used_once_and_stays_the_boards(bundle_of: MakeBundle, tmp_path: Path) -> None:
    """Looking takes nothing; a board that comes again has what it had; when all are taken, the next board has none."""
    bundle, journal = bundle_of(), tmp_path / "journal"
    first, second, third = map(state_of, BOARDS)
    assert address(bundle_as_seen(bundle, journal, first)) == address(bundle_as_seen(bundle, journal, second))
    assert not journal.exists()
    assert address(bundle_as_taken(bundle, journal, first)) == "02:11:00:00:00:01"
    assert address(bundle_as_taken(bundle, journal, second)) == "02:11:00:00:00:02"
    assert address(bundle_as_taken(bundle, journal, first)) == "02:11:00:00:00:01"
    with pytest.raises(InputError) as caught:
        bundle_as_taken(bundle, journal, third)
    assert caught.value.code == "SE435"


def test_rows_for_one_board(bundle_of: MakeBundle, tmp_path: Path) -> None:
    bundle, journal = bundle_of(FOR_ONE), tmp_path / "journal"
    first, second, third = map(state_of, BOARDS)
    assert address(bundle_as_taken(bundle, journal, second)) == "02:11:00:00:00:09"
    assert address(bundle_as_taken(bundle, journal, third)) == "02:11:00:00:00:01"
    with pytest.raises(InputError):
        bundle_as_taken(bundle, journal, first)


def test_a_row_whose_address_another_board_took_from_an_earlier_list(bundle_of: MakeBundle, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    bundle_as_taken(bundle_of("custom_mac\n02:11:00:00:00:09\n"), journal, state_of(BOARDS[0]))
    bundle = bundle_of(FOR_ONE)
    with pytest.raises(InputError, match="another one has taken 02:11:00:00:00:09"):
        bundle_as_taken(bundle, journal, state_of(BOARDS[1]))


def test_a_board_that_holds_a_row_already_keeps_it_when_the_journal_is_lost(
    bundle_of: MakeBundle, tmp_path: Path
) -> None:
    block = bytes(25) + bytes.fromhex("021100000002") + bytes(1)
    assert address(bundle_as_taken(bundle_of(), tmp_path / "j", state_of(BOARDS[0], block=block))).endswith(":02")


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 1, "boards": {"x": "y"}}', '{"schema": 2, "boards": {}}'])
def test_a_damaged_record_of_what_was_taken(content: str, bundle_of: MakeBundle, tmp_path: Path) -> None:
    (tmp_path / TAKEN).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        bundle_as_taken(bundle_of(), tmp_path, state_of(BOARDS[0]))
    assert caught.value.code == "SE436"


def test_another_list_in_the_bundle(bundle_of: MakeBundle, tmp_path: Path) -> None:
    bundle = bundle_of()
    (bundle.folder / "custom_macs.csv").write_text(LIST.replace("02:11", "02:22"), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        bundle_as_taken(bundle, tmp_path, state_of(BOARDS[0]))
    assert caught.value.code == "SE731"


def test_stations_at_once_never_take_one_row_twice(bundle_of: MakeBundle, tmp_path: Path) -> None:
    rows = "\n".join(f"02:11:00:00:00:{number:02x}" for number in range(24))
    bundle, barrier = bundle_of(f"custom_mac\n{rows}\n"), threading.Barrier(8)

    def station(number: int) -> list[str]:
        barrier.wait()
        boards = (state_of(f"0200000000{number}{board}") for board in range(3))
        return [address(bundle_as_taken(bundle, tmp_path / "journal", board)) for board in boards]

    with ThreadPoolExecutor(8) as pool:
        taken = [mac for macs in pool.map(station, range(8)) for mac in macs]
    assert sorted(taken) == rows.split()
    assert len(json.loads((tmp_path / "journal" / TAKEN).read_text())["boards"]) == 24


def test_the_bundle_of_all_boards_burns_nothing_by_itself(bundle_of: MakeBundle) -> None:
    """Its script only says which command makes the bundle of a board; a rehearsal takes the first row."""
    bundle = bundle_of()
    assert "secure-provision flash" in bundle.script.read_text()
    with bundle_of_a_board(bundle) as one:
        assert address(one) == "02:11:00:00:00:01"
        assert rehearse_bundle(one, lambda _: None).passed


def checks_of(result: Result) -> dict[str, Any]:
    return {check["name"]: check["outcome"] for check in json.loads(result.stdout)["checks"]}


def test_two_boards_and_one_of_them_twice(
    bundle_of: MakeBundle, tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    """Interrupted, finished and looked at again: on the chip is the board's own address, and audit knows it."""
    station = Station(bundle_of(), tmp_path)
    with station.board(BOARDS[0], cut="burn:1") as board:
        interrupted = station.flash(board)
        assert interrupted.returncode, interrupted.stdout
    with station.board(BOARDS[1]) as board:
        done = station.flash(board)
        assert done.returncode == 0 and "02:11:00:00:00:02" in done.stdout, done.stdout
        again = station.flash(board)
        assert again.returncode == 0 and "Nothing to do" in again.stdout, again.stdout
        words = ("audit", station.bundle.folder, "--port", board.url, "--before", "no-reset", "--format", "json")
        assert checks_of(run_cli(*words))["efuse-data"] == "passed"
    with station.board(BOARDS[2]) as board:
        assert "SE435" in station.flash(board).stdout
    taken = json.loads((station.bundle.folder / "journal" / TAKEN).read_text())["boards"]
    assert taken == {f"02:11:00:00:00:0{n}": bytes.fromhex(BOARDS[n - 1]).hex(":") for n in (1, 2)}


@pytest.mark.parametrize(
    ("chip", "cut", "values"),
    [
        pytest.param("esp32c3", "flash:1", {}, marks=pytest.mark.long),
        pytest.param("esp32c3", "connection:3", {"flash_encryption.key": "per-device"}, marks=pytest.mark.long),
        pytest.param("esp32", "burn:1", {}, marks=pytest.mark.long),
        pytest.param("esp32c2", "flash:1", {}, marks=pytest.mark.long),
    ],
)
def test_an_interrupted_board_is_finished_with_its_own_address(  # noqa: PLR0917 (fixtures)
    chip: str,
    cut: str,
    values: dict[str, Value],
    bundle_of: MakeBundle,
    tmp_path: Path,
    run_cli: Callable[..., Result],
) -> None:
    """Though another board was made meanwhile."""
    station = Station(bundle_of(chip=chip, **values), tmp_path)
    with station.board(BOARDS[0], cut=cut) as board:
        assert station.flash(board).returncode
    with station.board(BOARDS[1]) as board:
        assert "02:11:00:00:00:02" in station.flash(board).stdout
    with station.board(BOARDS[0]) as board:
        done = station.flash(board)
        assert done.returncode == 0 and "02:11:00:00:00:01" in done.stdout, done.stdout
        words = ("audit", station.bundle.folder, "--port", board.url, "--before", "no-reset", "--format", "json")
        assert checks_of(run_cli(*words))["efuse-data"] == "passed"
    assert not (station.bundle.folder / "journal" / "boards" / BOARDS[0]).exists()


@pytest.mark.long
def test_the_flash_may_be_written_by_another_station(bundle_of: MakeBundle, tmp_path: Path) -> None:
    """What the flash holds is the same on all boards, for their keys are; the address is the board's from then on."""
    station = Station(bundle_of(), tmp_path)
    with station.board(BOARDS[0]) as board:
        written = station.flash(board, "--until", "flash")
        assert written.returncode == 0 and "STOPPED after stage 'flash'" in written.stdout, written.stdout
        done = station.flash(board, "--flash-is-written")
        assert done.returncode == 0 and "write-flash" not in done.stdout, done.stdout
    assert len(json.loads((station.bundle.folder / "journal" / TAKEN).read_text())["boards"]) == 1


def test_a_dry_run_takes_no_row(bundle_of: MakeBundle, tmp_path: Path) -> None:
    station = Station(bundle_of(), tmp_path)
    with station.board(BOARDS[0]) as board:
        done = station.flash(board, "--dry-run")
    assert done.returncode == 0 and "would get an address of its own" in done.stdout, done.stdout
    assert not (station.bundle.folder / "journal" / TAKEN).exists()


def test_verify_compares_the_list(bundle_of: MakeBundle, run_cli: Callable[..., Result]) -> None:
    folder = bundle_of().folder
    right = run_cli("verify", folder, "--format", "json")
    assert right.exit_code == 0, right.output
    (folder / "custom_macs.csv").write_bytes(b"mac,custom_mac\n,02:22:00:00:00:01\n")
    wrong = run_cli("verify", folder, "--format", "json")
    failed = {check["name"] for check in json.loads(wrong.stdout)["checks"] if check["outcome"] == "failed"}
    assert wrong.exit_code == 1 and failed == {"data-file", "file-hash"}
