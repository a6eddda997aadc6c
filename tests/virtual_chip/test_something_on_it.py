# SPDX-License-Identifier: Apache-2.0
"""Boards that are not empty, on a port: what is on them is named, and not a byte of flash or eFuses changes."""

from __future__ import annotations

import pytest
from chip_tools import espefuse, esptool, succeed
from sabotage import (
    ESP32,
    ESP32C3,
    Cell,
    Station,
    check_stop,
    check_whole,
    holds_images,
    new_station,  # noqa: F401 (a fixture)
    shared_bundles,  # noqa: F401 (a fixture)
)

LONG = pytest.mark.long
ESP32C5 = Cell("esp32c5", "both")
ESP32S3 = Cell("esp32s3", "both")
IDENTITY = "burn-key BLOCK_KEY{block} {key} HMAC_DOWN_DIGITAL_SIGNATURE"
USER_DATA = "burn-block-data BLOCK_USR_DATA {key}"
BY_IDENTITY = "(KEY_PURPOSE_{block} = HMAC_DOWN_DIGITAL_SIGNATURE)"


@pytest.mark.parametrize(
    ("cell", "words", "said"),
    [
        pytest.param(
            ESP32C3, IDENTITY.format(block=4, key="{key}"), BY_IDENTITY.format(block=4), id="esp32c3 identity"
        ),
        pytest.param(
            ESP32S3, IDENTITY.format(block=4, key="{key}"), BY_IDENTITY.format(block=4), id="esp32s3", marks=LONG
        ),
        pytest.param(
            ESP32C5, IDENTITY.format(block=4, key="{key}"), BY_IDENTITY.format(block=4), id="esp32c5", marks=LONG
        ),
        pytest.param(ESP32C3, USER_DATA, "BLOCK3 holds user data", id="esp32c3 user data", marks=LONG),
        pytest.param(
            ESP32S3, "burn-efuse UART_PRINT_CONTROL 3", "UART_PRINT_CONTROL = 3", id="esp32s3 flag", marks=LONG
        ),
        pytest.param(ESP32, "burn-custom-mac AA:CD:EF:01:02:03", "CUSTOM_MAC = aa:cd:ef:01:02:03", id="esp32 MAC"),
    ],
)
def test_a_board_that_carries_something_is_not_erased(cell: Cell, words: str, said: str, station: Station) -> None:
    """With a certificate in flash that only the key in its eFuses opens."""
    key, certificate = station.folder / "key.bin", station.folder / "certificate.bin"
    key.write_bytes(bytes(range(100, 132)))
    certificate.write_bytes(bytes(range(256)) * 16)
    with station.board(cell) as board:
        succeed(esptool(board, "write-flash", "0xd000", str(certificate)))
        succeed(espefuse(board, *words.format(key=key).split()))
        before = board.efuses, board.flash
        done = station.provision(station.bundle(cell), board)
        check_stop(done, "SE860")
        assert said in done.output and "This board carries something" in done.output
        assert key.read_bytes().hex() not in done.output
        assert (board.efuses, board.flash) == before


@pytest.mark.parametrize(
    ("cell", "fields"),
    [
        pytest.param(ESP32C3, "SPI_BOOT_CRYPT_CNT 1", id="esp32c3 encryption"),
        pytest.param(ESP32C3, "SECURE_BOOT_EN 1", id="esp32c3 secure boot", marks=LONG),
        pytest.param(ESP32, "FLASH_CRYPT_CNT 1", id="esp32 encryption", marks=LONG),
        pytest.param(ESP32, "ABS_DONE_1 1", id="esp32 secure boot", marks=LONG),
        pytest.param(ESP32C5, "SPI_BOOT_CRYPT_CNT 7", id="esp32c5 encryption", marks=LONG),
        pytest.param(ESP32S3, "SECURE_BOOT_EN 1 SPI_BOOT_CRYPT_CNT 1", id="esp32s3 both", marks=LONG),
    ],
)
def test_a_feature_that_was_on_before_the_flash_was_written(cell: Cell, fields: str, station: Station) -> None:
    """Images and key are written after all; nothing of an earlier firmware stays between the images."""
    earlier = station.folder / "earlier.bin"
    earlier.write_bytes(b"plaintext of an earlier firmware" * 128)
    with station.board(cell) as board:
        succeed(esptool(board, "write-flash", "0x3f0000", str(earlier)))
        succeed(espefuse(board, "burn-efuse", *fields.split()))
        done = station.provision(station.bundle(cell), board)
        assert done.exit_code == 0, done.output
        assert "was burned before its key" in done.output
        check_whole(board, station.bundle(cell))
        assert b"earlier firmware" not in board.flash


def test_images_that_are_there_already_are_left_alone(station: Station) -> None:
    """Written and forgotten, then encryption turned on by hand: MD5 shows them, and only the keys are burned."""
    bundle = station.bundle(ESP32C3)
    with station.board(ESP32C3) as board:
        assert station.provision(bundle, board, "--until", "flash").exit_code == 0
        for record in (station.folder / "journal").iterdir():
            record.unlink()
        succeed(espefuse(board, "burn-efuse", "SPI_BOOT_CRYPT_CNT", "1", "DIS_DOWNLOAD_MANUAL_ENCRYPT", "1"))
        done = station.provision(bundle, board)
        assert done.exit_code == 0, done.output
        assert "   flash  done" in done.output and "write-flash" not in done.output
        check_whole(board, bundle)


@LONG
def test_somebody_elses_key_stops_also_a_feature_that_is_on(station: Station) -> None:
    """The images would replace what is in flash."""
    key = station.folder / "key.bin"
    key.write_bytes(bytes(range(100, 132)))
    with station.board(ESP32C3) as board:
        succeed(espefuse(board, *IDENTITY.format(block=4, key=key).split()))
        succeed(espefuse(board, "burn-efuse", "SECURE_BOOT_EN", "1"))
        station.check_refusal(station.bundle(ESP32C3), board, "SE860")
        assert not holds_images(board, station.bundle(ESP32C3))


@LONG
def test_what_the_firmware_burns_before_the_seal_is_in_nobodys_way(station: Station) -> None:
    """A functional test ran: its version, and a key of its own. Then another station, without the journal."""
    key = station.folder / "key.bin"
    key.write_bytes(bytes(range(100, 132)))
    bundle = station.bundle(Cell("esp32c3", "boot"))
    with station.board(Cell("esp32c3", "boot")) as board:
        assert station.provision(bundle, board, "--until", "burn").exit_code == 0
        for record in (station.folder / "journal").iterdir():
            record.unlink()
        succeed(espefuse(board, "burn-efuse", "SECURE_VERSION", "1"))
        succeed(espefuse(board, "burn-key", "BLOCK_KEY4", str(key), "USER"))
        done = station.provision(bundle, board)
        assert done.exit_code == 0, done.output
