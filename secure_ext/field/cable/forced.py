# SPDX-License-Identifier: Apache-2.0
"""When esptool has to be told ``--force``: only where it refuses for something that it cannot see, and that is proved.

What it refuses stands in its ``cmds.py`` (write_flash), read at 4.8, 4.12 and 5.0 to 5.6. It never looks whether what
it is given is encrypted, or by whom it is signed.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.field.cable.board import Board
from secure_ext.field.cable.pieces import StoredPiece
from secure_ext.formats.image import IMAGE_MAGIC
from secure_ext.station.chip_facts import FACTS

_NO_MANUAL_ENCRYPTION = ("DIS_DOWNLOAD_MANUAL_ENCRYPT", "DISABLE_DL_ENCRYPT")
_PROTECTED_BEFORE = 0x8000
_WRITES_BOOTLOADERS_SINCE = (5, 2)
_MISREADS_BOOTLOADERS_ONLY_SINCE = (5, 6)
_CHIP_ID, _APPENDED_HASH = slice(12, 14), 23


def why_forced(stored: StoredPiece, board: Board, chip: str, esptool: tuple[int, int]) -> tuple[str, ...]:
    """Why ``--force`` is needed for a piece, and what is known that esptool does not; empty if it is not needed."""
    return tuple(_reasons(stored, board, chip, esptool))


def _reasons(stored: StoredPiece, board: Board, chip: str, esptool: tuple[int, int]) -> Iterator[str]:
    if stored.is_encrypted:
        proof = "it was encrypted for this address, and decrypted again"
    else:
        proof = "flash encryption does not cover it, so that it has to be plain"
    if board.encrypts and board.is_sealed:
        yield f"esptool writes nothing over flash encryption in secure download mode; {proof}"
    closed = [name for name in _NO_MANUAL_ENCRYPTION if board.values.get(name)]
    if board.encrypts and not board.is_sealed and closed:
        yield f"esptool writes nothing over flash encryption with {closed[0]} burned; {proof}"
    offset = stored.piece.offset
    if board.verifies and not board.is_sealed and offset < _PROTECTED_BEFORE and esptool < _WRITES_BOOTLOADERS_SINCE:
        yield (
            f"esptool {esptool[0]}.{esptool[1]} writes nothing below 0x{_PROTECTED_BEFORE:x} over secure boot; it is "
            "signed by a key whose digest is burned and not revoked"
        )
    may_be_misread = offset == FACTS[chip].bootloader_offset or esptool < _MISREADS_BOOTLOADERS_ONLY_SINCE
    if not board.is_sealed and may_be_misread and _looks_like_another_chips(stored.content, chip):
        what = "it is ciphertext, and begins so by chance" if stored.is_encrypted else "it is data of the build"
        yield f"esptool takes it for the firmware of another chip; {what}"


def _looks_like_another_chips(content: bytes, chip: str) -> bool:
    head = content[: _APPENDED_HASH + 1]
    if len(head) <= _APPENDED_HASH or head[0] != IMAGE_MAGIC or head[_APPENDED_HASH] not in (0, 1):
        return False
    return int.from_bytes(head[_CHIP_ID], "little") != FACTS[chip].image_id
