# SPDX-License-Identifier: Apache-2.0
"""A board that does not suit the bundle is refused by ``provision.py``, and left exactly as it was."""

from __future__ import annotations

import socket

import pytest
from chip_tools import espefuse, fab_bits, jtag_field, new_chip, succeed
from loader_client import LoaderClient, burn_flag
from sabotage import (
    ESP32,
    ESP32C3,
    ESP32C6,
    Cell,
    Station,
    check_stop,
    new_station,  # noqa: F401 (a fixture)
    shared_bundles,  # noqa: F401 (a fixture)
)

LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("cell", "chip"),
    [
        (ESP32C6, "esp32c3"),
        pytest.param(ESP32C3, "esp32c6", marks=LONG),
        pytest.param(ESP32C3, "esp32", marks=LONG),
        pytest.param(ESP32, "esp32c3", marks=LONG),
        pytest.param(ESP32, "esp32s2", marks=LONG),
        pytest.param(Cell("esp32s2", "both"), "esp32", marks=LONG),
        pytest.param(Cell("esp32s3", "both"), "esp32s2", marks=LONG),
    ],
    ids=str,
)
def test_another_kind_of_chip(cell: Cell, chip: str, station: Station) -> None:
    with new_chip(chip, station.folder / "chip") as board:
        station.check_refusal(station.bundle(cell), board, "SE814")


@pytest.mark.parametrize(("cell", "revision"), [(ESP32C3, 2), pytest.param(ESP32, 100, marks=LONG)], ids=str)
def test_a_chip_that_is_too_old(cell: Cell, revision: int, station: Station) -> None:
    with station.board(cell, bits=fab_bits(cell.chip, revision)) as board:
        station.check_refusal(station.bundle(cell), board, "SE817")


def test_too_little_flash(station: Station) -> None:
    with station.board(ESP32C3, flash_size=0x200000) as board:
        station.check_refusal(station.bundle(ESP32C3), board, "SE816")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param("burn-key BLOCK_KEY0 {} XTS_AES_128_KEY", "SE822", id="a hidden key"),
        pytest.param("burn-key BLOCK_KEY1 {} SECURE_BOOT_DIGEST0", "SE819", id="a digest", marks=LONG),
        pytest.param("burn-key BLOCK_KEY3 {} XTS_AES_128_KEY", "SE819", id="a key beside the plan", marks=LONG),
        pytest.param(
            "burn-efuse SPI_BOOT_CRYPT_CNT 1 DIS_DOWNLOAD_MANUAL_ENCRYPT 1",
            "SE831",
            id="encryption on, and esptool writes nothing",
        ),
        pytest.param("burn-key BLOCK_KEY4 {} USER", "SE860", id="a key of somebody else's"),
        pytest.param("burn-efuse SECURE_BOOT_KEY_REVOKE0 1", "SE818", id="the slot revoked", marks=LONG),
        pytest.param("write-protect-efuse RD_DIS", "SE819", id="keys cannot be hidden", marks=LONG),
    ],
)
def test_a_board_that_was_used_otherwise(words: str, code: str, station: Station) -> None:
    """With eFuses that the real espefuse has burned on it before."""
    other_key = station.folder / "other.bin"
    other_key.write_bytes(bytes(range(100, 132)))
    with station.board(ESP32C3) as board:
        succeed(espefuse(board, *words.format(other_key).split()))
        station.check_refusal(station.bundle(ESP32C3), board, code)


def test_a_block_with_coding_errors(station: Station) -> None:
    """A block outside the plan that was burned twice."""
    with station.board(ESP32C3) as board:
        with LoaderClient(board) as client:
            client.burn(8, bytes(range(1, 33)))
            client.burn(8, bytes(range(101, 133)))
        station.check_refusal(station.bundle(ESP32C3), board, "SE812")


def test_a_board_in_secure_download_mode(station: Station) -> None:
    """Sealed by somebody, without anything this bundle burns."""
    with station.board(ESP32C3) as board:
        burn_flag(board, "ENABLE_SECURITY_DOWNLOAD")
        station.check_refusal(station.bundle(ESP32C3), board, "SE811")


def test_a_harmless_flag_is_not_in_the_way(station: Station) -> None:
    """One that the plan burns as well: so that the refusals above mean something."""
    with station.board(ESP32C3) as board:
        burn_flag(board, jtag_field("esp32c3"))
        done = station.provision(station.bundle(ESP32C3), board, "--dry-run")
        assert done.exit_code == 0, done.output


def test_a_port_that_is_not_there(station: Station) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    check_stop(station.provision(station.bundle(ESP32C3), f"socket://127.0.0.1:{port}"), "SE810")


@LONG
def test_a_port_where_nothing_answers(station: Station) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        check_stop(station.provision(station.bundle(ESP32C3), f"socket://127.0.0.1:{port}"), "SE810")


@LONG
def test_a_board_whose_download_mode_is_disabled(station: Station) -> None:
    with station.board(ESP32C3) as board:
        burn_flag(board, "DIS_DOWNLOAD_MODE")
        station.check_refusal(station.bundle(ESP32C3), board, "SE810")
