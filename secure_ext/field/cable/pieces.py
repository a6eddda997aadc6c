# SPDX-License-Identifier: Apache-2.0
"""A piece of flash that an update writes: what the chip is to read there, and what has to lie there for it."""

from __future__ import annotations

from dataclasses import field, replace

from secure_ext.build.build import Role
from secure_ext.errors import CheckError
from secure_ext.formats.flash_encryption import FlashEncryptionKey, encrypt_and_undo, pad_to_unit
from secure_ext.formats.partition_table import Partition
from secure_ext.station.frozen import frozen


@frozen
class Piece:
    """One of the things that are written.

    Attributes:
        name: as people call it: a partition's label, or ``bootloader``.
        role: what it is.
        offset: flash address in bytes.
        plain: what the chip is to read: signed, not encrypted.
        covered: flash encryption, where it is on, covers the place.
    """

    name: str
    role: Role
    offset: int
    plain: bytes = field(repr=False)
    covered: bool


@frozen
class StoredPiece:
    """A piece as it lies in flash; `is_encrypted` if that is ciphertext."""

    piece: Piece
    content: bytes = field(repr=False)
    is_encrypted: bool

    @property
    def place(self) -> tuple[int, int]:
        """Flash offset and size in bytes."""
        return self.piece.offset, len(self.content)


def stored(piece: Piece, key: FlashEncryptionKey | None) -> StoredPiece:
    """The piece for a board that encrypts with `key`; None for one that does not encrypt.

    Raises CheckError SE989 if the ciphertext does not decrypt to it.
    """
    if key is None or not piece.covered:
        return StoredPiece(piece, piece.plain, is_encrypted=False)
    plain = pad_to_unit(piece.plain, key.scheme)
    content = encrypt_and_undo(plain, key=key, flash_offset=piece.offset)
    if content is None:
        raise CheckError(
            "SE989",
            "the ciphertext does not decrypt to what is to be written",
            cure="this is a defect of secure-provision or of this machine; nothing was written: report it",
            place=piece.name,
        )
    return StoredPiece(piece, content, is_encrypted=True)


def in_slot(app: Piece, slot: Partition) -> Piece:
    """The app in an app partition."""
    return replace(app, name=slot.label, offset=slot.offset)
