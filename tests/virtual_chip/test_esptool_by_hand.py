# SPDX-License-Identifier: Apache-2.0
"""Unmodified esptool reads, writes and erases the flash of every virtual chip, through the ROM loader and its stub."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from chip_tools import espefuse, esptool, new_chip, some_chips, succeed
from support.matrix_tools import espsecure, esptool_version

from secure_ext.keys.symmetric import generate_secret
from secure_ext.prove.virtual_chip.process import ChipProcess

CONTENT = random.Random(1).randbytes(9_000)
OTHER = b"the old firmware" * 100
PLACE = 0x11000
EACH_CHIP = pytest.mark.parametrize("chip", some_chips("esp32c3"))


@pytest.fixture
def board(chip: str, tmp_path: Path) -> Iterator[ChipProcess]:
    with new_chip(chip, tmp_path / "chip", flash_size=0x200000) as process:
        yield process


@pytest.fixture
def content_file(tmp_path: Path) -> str:
    path = tmp_path / "content.bin"
    path.write_bytes(CONTENT)
    return str(path)


def written(board: ChipProcess) -> bytes:
    return board.flash[PLACE : PLACE + len(CONTENT)]


@EACH_CHIP
def test_it_says_what_it_is(board: ChipProcess) -> None:
    """Its flash size, its MAC address, and, but for the oldest, how it is secured."""
    assert "Detected flash size: 2MB" in succeed(esptool(board, "flash-id"))
    assert "02:00:00" in succeed(esptool(board, "read-mac"))
    if board.options.chip != "esp32":
        assert "Secure Boot: Disabled" in succeed(esptool(board, "get-security-info"))


@EACH_CHIP
@pytest.mark.parametrize("stub", [False, True], ids=["ROM loader", "stub"])
def test_flash_is_written_and_verified(board: ChipProcess, stub: bool, content_file: str, tmp_path: Path) -> None:
    """Byte for byte, and verify-flash sees a difference."""
    succeed(esptool(board, "write-flash", hex(PLACE), content_file, stub=stub))
    assert written(board) == CONTENT
    succeed(esptool(board, "verify-flash", hex(PLACE), content_file, stub=stub))
    other = tmp_path / "other.bin"
    other.write_bytes(OTHER)
    assert esptool(board, "verify-flash", hex(PLACE), str(other), stub=stub).exit_code


@EACH_CHIP
def test_flash_is_written_without_compression(board: ChipProcess, content_file: str) -> None:
    succeed(esptool(board, "write-flash", "-u", hex(PLACE), content_file))
    assert written(board) == CONTENT


@EACH_CHIP
@pytest.mark.parametrize("stub", [False, True], ids=["ROM loader", "stub"])
def test_flash_is_read(board: ChipProcess, stub: bool, content_file: str, tmp_path: Path) -> None:
    succeed(esptool(board, "write-flash", hex(PLACE), content_file))
    out = tmp_path / "read.bin"
    succeed(esptool(board, "read-flash", hex(PLACE + 5), "300", str(out), stub=stub))
    assert out.read_bytes() == CONTENT[5:305]


@EACH_CHIP
def test_the_stub_erases_everything(board: ChipProcess, content_file: str) -> None:
    succeed(esptool(board, "write-flash", hex(PLACE), content_file))
    succeed(esptool(board, "erase-flash", stub=True))
    assert board.flash == b"\xff" * 0x200000


@EACH_CHIP
@pytest.mark.skipif(esptool_version() < (4, 9), reason="older esptools erase a region with the stub only")
def test_the_rom_loader_erases_a_region(board: ChipProcess, content_file: str) -> None:
    """The sector that was named, and no other."""
    succeed(esptool(board, "write-flash", hex(PLACE), content_file))
    succeed(esptool(board, "erase-region", hex(PLACE + 0x1000), "0x1000"))
    assert written(board) == CONTENT[:0x1000] + b"\xff" * 0x1000 + CONTENT[0x2000:]


def test_the_stub_starts_on_an_esp32s3_with_secure_boot(tmp_path: Path) -> None:
    """Its ROM is led to it through a flash read, which then has no answer of its own."""
    with new_chip("esp32s3", tmp_path / "chip") as board:
        succeed(espefuse(board, "burn-efuse", "SECURE_BOOT_EN", "1"))
        assert "Stub flasher running" in succeed(esptool(board, "flash-id", stub=True))


@pytest.mark.parametrize(
    ("chip", "purpose"),
    [("esp32c3", "XTS_AES_128_KEY"), pytest.param("esp32", "", marks=pytest.mark.long)],
)
def test_the_chip_encrypts_what_it_is_asked_to(chip: str, purpose: str, content_file: str, tmp_path: Path) -> None:
    """As espsecure does with the same key; and no more once its eFuse says so."""
    key, cipher = tmp_path / "key.bin", tmp_path / "cipher.bin"
    key.write_bytes(generate_secret("flash", 32).data)
    plain = Path(content_file)
    plain.write_bytes(CONTENT.ljust(-(-len(CONTENT) // 32) * 32, b"\xff"))
    block = "flash_encryption" if chip == "esp32" else "BLOCK_KEY0"
    config = ("burn-efuse", "FLASH_CRYPT_CONFIG", "15") if chip == "esp32" else ()
    off = "DISABLE_DL_ENCRYPT" if chip == "esp32" else "DIS_DOWNLOAD_MANUAL_ENCRYPT"
    words = ["--keyfile", str(key), "--address", hex(PLACE), "--output", str(cipher)]
    espsecure(["encrypt-flash-data", *words, *(["--aes-xts"] if purpose else []), str(plain)])
    with new_chip(chip, tmp_path / "chip") as board:
        succeed(espefuse(board, "burn-key", block, str(key), *([purpose] if purpose else [])))
        if config:
            succeed(espefuse(board, *config))
        succeed(esptool(board, "write-flash", "--encrypt", hex(PLACE), content_file, stub=True))
        assert board.flash[PLACE : PLACE + plain.stat().st_size] == cipher.read_bytes()
        succeed(espefuse(board, "burn-efuse", off, "1"))
        assert esptool(board, "write-flash", "--encrypt", hex(PLACE), content_file, stub=True).exit_code
