# SPDX-License-Identifier: Apache-2.0
"""Each board its own certificate, for a key that only its silicon has: on virtual boards, whole and interrupted."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from board_runs import Station, private_folders
from click.testing import Result
from identity_runs import check_identity, identity_bundle
from support.authority import write_authority

from secure_ext.prove.boot_check.boot_check import boot_check

MAC, ANOTHER = "0200000000e1", "0200000000e2"
KINDS = [
    pytest.param("esp32c3", "rsa2048", "per-device", id="c3 rsa"),
    pytest.param("esp32s3", "rsa4096", "generate", id="s3 rsa", marks=pytest.mark.long),
    pytest.param("esp32h2", "ecdsa256", "per-device", id="h2 ecdsa", marks=pytest.mark.long),
    pytest.param("esp32c5", "ecdsa256", "generate", id="c5 ecdsa", marks=pytest.mark.long),
]


def with_ca(station: Station) -> tuple[str, str]:
    return ("--ca-key", str(station.folder / "ca_key.pem"))


@pytest.fixture
def station_of(tmp_path: Path, signing_keys: dict[str, Path]) -> Callable[..., Station]:
    def make(chip: str = "esp32c3", kind: str = "rsa2048", flash_key: str = "per-device") -> Station:
        return Station(identity_bundle(tmp_path, chip, signing_keys["rsa_0"], kind, flash_key=flash_key), tmp_path)

    return make


@pytest.mark.parametrize(("chip", "kind", "flash_key"), KINDS)
def test_a_board_gets_an_identity(
    chip: str, kind: str, flash_key: str, station_of: Callable[..., Station], run_cli: Callable[..., Result]
) -> None:
    """Without the CA's key nothing is changed; with it the board's is in eFuse, its certificate is OpenSSL's."""
    station = station_of(chip, kind, flash_key)
    made_from = ("-B", station.folder / "project" / "build", "--profile", station.folder / "profile.yaml")
    verified = run_cli("verify", station.bundle.folder, *made_from)
    assert verified.exit_code == 0, verified.output
    with station.board(MAC) as board:
        new = board.efuses, board.flash
        refused = station.flash(board)
        assert "SE454" in refused.stdout and (board.efuses, board.flash) == new, refused.stdout
        done = station.flash(board, *with_ca(station), "--until", "burn")
        assert done.returncode == 0, done.stdout
        check_identity(station, board, MAC)
        report = boot_check(board.state, station.record(MAC))
        assert report.boots, report.faults
        closed = station.flash(board)  # it needs no CA any more
        assert closed.returncode == 0 and "finished from its record" in closed.stdout, closed.stdout
        words = ("audit", station.bundle.folder, "--port", board.url, "--before", "no-reset", "--format", "json")
        checks: list[dict[str, Any]] = json.loads(run_cli(*words).stdout)["checks"]
        assert not [check for check in checks if check["outcome"] == "failed"]
    assert private_folders(station) == []


@pytest.mark.long
def test_two_boards_have_two_identities(station_of: Callable[..., Station]) -> None:
    station = station_of()
    found = []
    for mac in (MAC, ANOTHER):
        with station.board(mac) as board:
            assert station.flash(board, *with_ca(station)).returncode == 0
            found.append(check_identity(station, board, mac))
    assert found[0].serial_number != found[1].serial_number and found[0].public_key() != found[1].public_key()


@pytest.mark.long
@pytest.mark.cold
@pytest.mark.parametrize(
    ("chip", "kind", "flash_key", "cut"),
    [
        *(("esp32c3", "rsa2048", "per-device", cut) for cut in ("flash:1", "connection:3", "write:40", "burn:5")),
        ("esp32c3", "rsa2048", "generate", "write:25"),
        *(("esp32h2", "ecdsa256", "per-device", cut) for cut in ("connection:3", "write:40", "burn:5")),
    ],
)
def test_an_interrupted_board(
    chip: str, kind: str, flash_key: str, cut: str, station_of: Callable[..., Station]
) -> None:
    """In the flash stage, between two key blocks, half-way in BLOCK0: what is finished is one identity, not two."""
    station = station_of(chip, kind, flash_key)
    with station.board(MAC, cut) as board:
        first = station.flash(board, *with_ca(station))
        assert first.returncode == 4, first.stdout
        again = station.flash(board, *with_ca(station), "--until", "burn")
        if again.returncode == 4:  # as it tells the operator
            again = station.flash(board, *with_ca(station), "--until", "burn")
        assert again.returncode == 0, again.stdout
        check_identity(station, board, MAC)
        report = boot_check(board.state, station.record(MAC))
        assert report.boots, report.faults
    assert private_folders(station) == []


@pytest.mark.long
def test_the_key_of_another_ca_and_one_with_a_passphrase(station_of: Callable[..., Station], tmp_path: Path) -> None:
    station = station_of()
    other, locked = tmp_path / "other", tmp_path / "locked"
    other.mkdir()
    locked.mkdir()
    _, wrong = write_authority(other)
    lines = ["openssl", "pkcs8", "-topk8", "-in", str(tmp_path / "ca_key.pem"), "-out", str(locked / "ca_key.pem")]
    subprocess.run([*lines, "-passout", "pass:a word"], check=True)
    with station.board(MAC) as board:
        new = board.efuses, board.flash
        for words, code in (
            (("--ca-key", str(wrong)), "SE454"),
            (("--ca-key", "pkcs11:object=ca"), "SE454"),
            (("--ca-key", str(locked / "ca_key.pem")), "SE603"),
        ):
            done = station.flash(board, *words)
            assert code in done.stdout and (board.efuses, board.flash) == new, done.stdout
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(os.environ, "SECURE_PROVISION_PASSPHRASE", "a word")
            done = station.flash(board, "--ca-key", str(locked / "ca_key.pem"))
        assert done.returncode == 0, done.stdout
        assert b"a word" not in b"".join(path.read_bytes() for path in station.bundle.folder.rglob("*.log"))
