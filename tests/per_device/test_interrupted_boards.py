# SPDX-License-Identifier: Apache-2.0
"""A run that is killed, or loses power, at each kind of moment: the next one finishes the board or says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from board_runs import Station, keys_on, private_folders, template

from secure_ext.keys.sealing import unseal
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.virtual_chip.process import ChipProcess

pytestmark = [pytest.mark.long, pytest.mark.cold]
MAC = "0200000000b1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path]) -> Callable[[str], Station]:
    """A station with the bundle of a chip, to be used for one board after the other."""
    stations: dict[str, Station] = {}

    def station(chip: str) -> Station:
        if chip not in stations:
            folder = tmp_path_factory.mktemp(chip)
            stations[chip] = Station(template(folder, chip, signing_keys["rsa_0"]), folder)
        return stations[chip]

    return station


def finish(station: Station, mac: str, board: ChipProcess) -> str:
    """Runs the command again: the board must boot as its record promises. Returns what was said."""
    done = station.flash(board, "--until", "burn")
    assert done.returncode == 0, done.stdout
    report = boot_check(board.state, station.record(mac))
    assert report.boots, report.faults
    assert private_folders(station) == []
    return done.stdout


def test_killed_while_the_flash_is_written(made: Callable[[str], Station]) -> None:
    """The key of the dead run is destroyed by the next one, which makes a new one and writes the flash again."""
    station = made("esp32c3")
    with station.board(MAC) as board:
        station.kill_when(board, lambda text: "esptool write-flash" in text)
        (left,) = private_folders(station)
        lost = (left / "keys" / "flash_encryption_key.bin").read_bytes()
        said = finish(station, MAC, board)
        assert f"left keys behind in {left}: destroyed" in said
        assert "ended before its keys were burned, and those are gone" in said
        assert keys_on(board, station.bundle)["flash_encryption_key"] != lost


def test_asked_to_end_while_the_flash_is_written(made: Callable[[str], Station]) -> None:
    """A shutdown of the station: the command ends its script, and takes the keys with it."""
    station = made("esp32c3")
    mac = "0200000000b3"
    with station.board(mac) as board:
        station.kill_when(board, lambda text: "esptool write-flash" in text, politely=True)
        assert private_folders(station) == []
        assert not any(any(key) for key in keys_on(board, station.bundle).values())


def test_killed_after_the_key_was_burned(made: Callable[[str], Station]) -> None:
    """The rest is burned without the key, which only the chip still has."""
    station = made("esp32c3")
    mac = "0200000000b2"
    with station.board(mac) as board:
        station.kill_when(board, lambda _: any(keys_on(board, station.bundle)["flash_encryption_key"]))
        burned = keys_on(board, station.bundle)
        said = finish(station, mac, board)
        assert "has burned this board's keys" in said
        assert keys_on(board, station.bundle) == burned


@pytest.mark.parametrize(
    ("chip", "cut", "said"),
    [
        ("esp32c3", "connection:2", "keys of this run were not burned, and are destroyed"),
        ("esp32c3", "connection:3", "keys of this run were not burned, and are destroyed"),
        ("esp32c3", "write:40", "ended before some of its keys were burned"),
        ("esp32s3", "write:90", "ended before some of its keys were burned"),
        ("esp32s3", "burn:5", "has burned this board's keys"),
    ],
)
def test_power_cuts_that_can_be_mended(chip: str, cut: str, said: str, made: Callable[[str], Station]) -> None:
    """In the flash stage, before the burn, between two key blocks, and half-way in BLOCK0."""
    station = made(chip)
    mac = f"02000001{len(chip):02x}{sum(cut.encode()) % 256:02x}"
    with station.board(mac, cut) as board:
        first = station.flash(board)
        assert first.returncode == 4, "the cut is in the middle of the run"
        before = {role: key for role, key in keys_on(board, station.bundle).items() if any(key)}
        again = station.flash(board, "--until", "burn")
        if again.returncode == 4:  # as it tells the operator
            again = station.flash(board, "--until", "burn")
        assert again.returncode == 0, again.stdout
        assert said in first.stdout + again.stdout
        assert boot_check(board.state, station.record(mac)).boots
        after = keys_on(board, station.bundle)
        assert {role: after[role] for role in before} == before


@pytest.mark.parametrize("cut", ["burn:1", "burn:3"])
def test_a_half_burned_key_block_is_damage(cut: str, made: Callable[[str], Station]) -> None:
    """Nobody can mend it; nothing is changed, and no new key is made for it."""
    station = made("esp32c3")
    mac = f"0200000000d{cut[-1]}"
    with station.board(mac, cut) as board:
        assert station.flash(board).returncode == 4
        left = board.efuses
        again = station.flash(board)
        assert (again.returncode, "STOP SE812" in again.stdout) == (5, True), again.stdout
        assert board.efuses == left
        assert private_folders(station) == []


def test_two_cuts_one_after_the_other(made: Callable[[str], Station]) -> None:
    """The HMAC key is burned and hidden, the flash encryption key is not there yet: one stays, the other is new."""
    station = made("esp32c3")
    mac = "0200000000e1"
    with station.board(mac, "write:40") as board:
        assert station.flash(board).returncode == 4
    burned = keys_on(board, station.bundle)
    assert any(burned["nvs_hmac_key"]) and not any(burned["flash_encryption_key"])
    with station.board(mac) as board:
        station.kill_when(board, lambda text: "espefuse read-protect" in text)
        assert keys_on(board, station.bundle) == burned
        said = finish(station, mac, board)
        assert "ended before some of its keys were burned" in said
        assert keys_on(board, station.bundle)["nvs_hmac_key"] == burned["nvs_hmac_key"]


def test_no_sealed_copy_is_lost_over_two_cuts(tmp_path: Path, signing_keys: dict[str, Path]) -> None:
    """The first copy has the HMAC key, which is hidden when the second is made with a new flash encryption key."""
    values = {"per_device.keep": "sealed", "per_device.seal_to": "public.pem"}
    bundle = template(tmp_path / "made", "esp32c3", signing_keys["rsa_0"], **values)
    station = Station(bundle, tmp_path)
    mac = "0200000000e2"
    with station.board(mac, "write:40") as board:
        assert station.flash(board).returncode == 4
    with station.board(mac) as board:
        station.kill_when(board, lambda text: "espefuse read-protect" in text)
        finish(station, mac, board)
        burned = keys_on(board, bundle)
    copies = sorted((bundle.folder / "sealed").iterdir())
    assert [path.name for path in copies] == [f"{mac}.1.sealed", f"{mac}.sealed"]
    opened: dict[str, bytes] = {}
    for path in copies:
        opened |= unseal(path, tmp_path / "made" / "private.pem").keys
    assert opened == burned


def test_another_board_on_the_port_gets_nothing(made: Callable[[str], Station]) -> None:
    """The script of a board refuses any other one."""
    station = made("esp32c3")
    with station.board("0200000000f1") as first:
        assert station.flash(first, "--until", "burn").returncode == 0
    record = station.record("0200000000f1")
    with station.board("0200000000f2") as second:
        import subprocess
        import sys

        line = [sys.executable, str(record / "provision.py"), "--port", second.url, "--yes"]
        before = second.efuses
        done = subprocess.run(
            [*line, "--without-keys", "--mac", "0200000000f1"], capture_output=True, encoding="utf-8", check=False
        )
        assert (done.returncode, "STOP SE850" in done.stdout) == (5, True), done.stdout
        assert second.efuses == before
