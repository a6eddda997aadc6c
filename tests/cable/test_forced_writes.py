# SPDX-License-Identifier: Apache-2.0
"""esptool is told ``--force`` where it refuses, and what it cannot see is proved; nowhere else."""

from __future__ import annotations

import pytest

from secure_ext.build.build import Role
from secure_ext.field.cable.board import Board
from secure_ext.field.cable.forced import why_forced
from secure_ext.field.cable.pieces import Piece, StoredPiece, stored
from secure_ext.formats.flash_encryption import FlashEncryptionScheme, flash_encryption_key

KEY = flash_encryption_key(FlashEncryptionScheme.XTS, bytes(range(32)))
SECURE_BOOT, ENCRYPTION = {"SECURE_BOOT_EN": 1}, {"SPI_BOOT_CRYPT_CNT": 7}
CLOSED = {"DIS_DOWNLOAD_MANUAL_ENCRYPT": 1}
OTHER_CHIP = b"\xe9\x01\x00\x20" + bytes(8) + b"\xff\x00" + bytes(9) + b"\x01" + bytes(40)


def piece(offset: int = 0x20000, content: bytes = b"app" * 32, *, encrypted: bool = False) -> StoredPiece:
    return stored(Piece("piece", Role.APP, offset, content, covered=True), KEY if encrypted else None)


def board(*values: dict[str, int], sealed: bool = False) -> Board:
    whole: dict[str, int] = {}
    for some in values:
        whole |= some
    return Board(whole, sealed)


@pytest.mark.parametrize(
    ("found", "written", "esptool", "words"),
    [
        (board(SECURE_BOOT), piece(), (5, 6), ""),
        (board(SECURE_BOOT), piece(), (4, 8), ""),
        (board(SECURE_BOOT), piece(0x0), (5, 1), "below 0x8000"),
        (board(SECURE_BOOT), piece(0x0), (5, 2), ""),
        (board(SECURE_BOOT, sealed=True), piece(0x0), (5, 1), ""),
        (board(ENCRYPTION), piece(encrypted=True), (5, 6), ""),
        (board(ENCRYPTION, CLOSED), piece(encrypted=True), (5, 6), "decrypted again"),
        (board(ENCRYPTION, CLOSED), piece(), (5, 6), "does not cover it"),
        (board(ENCRYPTION, {"DISABLE_DL_ENCRYPT": 1}), piece(encrypted=True), (4, 8), "DISABLE_DL_ENCRYPT"),
        (board({"SPI_BOOT_CRYPT_CNT": 3}, CLOSED), piece(), (5, 6), ""),
        (board(ENCRYPTION, sealed=True), piece(encrypted=True), (5, 6), "secure download mode"),
        (board(SECURE_BOOT), piece(content=OTHER_CHIP), (5, 6), ""),
        (board(SECURE_BOOT), piece(content=OTHER_CHIP), (5, 5), "another chip"),
        (board(SECURE_BOOT), piece(0x0, OTHER_CHIP), (5, 6), "another chip"),
        (board(SECURE_BOOT, sealed=True), piece(0x0, OTHER_CHIP), (5, 5), ""),
    ],
)
def test_only_where_esptool_refuses(found: Board, written: StoredPiece, esptool: tuple[int, int], words: str) -> None:
    reasons = why_forced(written, found, "esp32c3", esptool)
    assert len(reasons) == bool(words)
    assert words in " ".join(reasons)
