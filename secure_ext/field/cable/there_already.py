# SPDX-License-Identifier: Apache-2.0
"""What of an update lies in the flash of a board already: the same bytes, or the same image with another signature.

Signatures of RSA-PSS and ECDSA are random: whoever signs an app again gets other bytes. What an earlier run has written
is known by its content, and by a signature that this board accepts.
"""

from __future__ import annotations

from dataclasses import replace

from secure_ext.build.build import Role
from secure_ext.errors import SecureProvisionError
from secure_ext.field.cable.board import Board
from secure_ext.field.cable.flash import BoardFlash
from secure_ext.field.cable.pieces import StoredPiece, stored
from secure_ext.field.cable.prepare import Prepared
from secure_ext.field.cable.proof import Reader
from secure_ext.formats.secure_boot import is_signed, signed_content, valid_signers
from secure_ext.plan.trusted_keys import accepting_slots, digest_slots

_SIGNED = (Role.APP, Role.BOOTLOADER)


def as_there(
    piece: StoredPiece, prepared: Prepared, board: Board, flash: BoardFlash, reader: Reader
) -> StoredPiece | None:
    """The piece as it lies in flash; None if it does not. Raises DeviceError SE985."""
    if flash.holds([piece]) == [True]:
        return piece
    plain = piece.piece.plain
    if piece.piece.role not in _SIGNED or not board.verifies or not is_signed(plain):
        return None
    body = signed_content(plain)
    before = replace(piece, content=piece.content[: len(body)])
    if flash.holds([before]) != [True]:
        return None
    found = body + reader.read(piece.piece.offset + len(body), len(plain) - len(body))
    try:
        signers = valid_signers(found, piece.piece.name)
    except SecureProvisionError:
        return None
    if not accepting_slots(digest_slots(prepared.plan, board.revoked), signers):
        return None
    return stored(replace(piece.piece, plain=found), prepared.key if board.encrypts else None)
