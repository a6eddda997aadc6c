# SPDX-License-Identifier: Apache-2.0
"""Proves by what lies in a board's flash that the key at hand is the board's, and asks what this board would boot."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.build import Role
from secure_ext.checks import Check, Outcome
from secure_ext.errors import DeviceError, SecureProvisionError
from secure_ext.field.cable.board import Board
from secure_ext.field.cable.bootloader import secure_version
from secure_ext.field.cable.flash import BoardFlash
from secure_ext.field.cable.prepare import Prepared
from secure_ext.formats.flash_encryption import FlashEncryptionKey, decrypt
from secure_ext.formats.image import IMAGE_MAGIC
from secure_ext.formats.partition_table import TABLE_SIZE, Partition, parse_partition_table
from secure_ext.plan.trusted_keys import accepting_slots, digest_slots
from secure_ext.station.chip_facts import FACTS

_BOOTLOADER_VERSION = "BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION"
_MOST_BITS = 32
_HEAD = 32


class Reader:
    """What the chip reads of its flash; `key` is None for a board that does not encrypt."""

    def __init__(self, flash: BoardFlash, key: FlashEncryptionKey | None) -> None:
        self._flash = flash
        self._key = key

    def read(self, offset: int, size: int) -> bytes:
        """Offset and size are multiples of 32 bytes. Raises DeviceError SE985."""
        content = self._flash.read(offset, size)
        return content if self._key is None else decrypt(content, key=self._key, flash_offset=offset)


def prove_table(reader: Reader, prepared: Prepared, board: Board) -> Check:
    """The partition table in flash is the fleet's, read with the key at hand. Raises DeviceError SE975, SE985."""
    offset, place = prepared.fleet.boards.table_offset, f"board {board.mac}"
    content = reader.read(offset, TABLE_SIZE)
    try:
        found = parse_partition_table(content, place=place)
    except SecureProvisionError:
        found = None
    if found == prepared.table:
        how = "decrypts with the key at hand to" if board.encrypts else "is"
        return Check("board-table", place, Outcome.PASSED, f"what lies at 0x{offset:x} {how} the fleet's table")
    if found is not None:
        why = "the board has another partition table than the fleet"
        cure = "give the bundle that this board was made with, whose table says where its partitions are"
    elif board.encrypts:
        why = f"what lies at 0x{offset:x} does not decrypt to a partition table: the board has another key"
        cure = "give this board's key, or the bundle that it was made with"
    else:
        why = f"there is no partition table at 0x{offset:x}"
        cure = "give the bundle that this board was made with; a board whose flash was erased is written by esptool"
    raise DeviceError("SE975", why, cure=f"{cure}. Nothing was written", place=place)


def has_app(reader: Reader, slot: Partition, chip: str) -> bool:
    """Whether something that begins like an app of this chip lies in a slot; a whole look would take minutes."""
    head = reader.read(slot.offset, _HEAD)
    return head[0] == IMAGE_MAGIC and int.from_bytes(head[12:14], "little") == FACTS[chip].image_id


def require_booted(prepared: Prepared, board: Board) -> Iterator[Check]:
    """This very board starts what is to be written, by its eFuses as they are now.

    Raises DeviceError SE976 (the key is revoked on it), SE977 (its anti-rollback has gone further).
    """
    place = "the board" if board.mac is None else f"board {board.mac}"
    if board.verifies:
        _require_trusted(prepared, board, place)
        yield Check("board-revoked", place, Outcome.PASSED, f"of its digest slots {_numbers(board.revoked)} is revoked")
    if prepared.app is not None and prepared.fleet.boards.setting("BOOTLOADER_APP_ANTI_ROLLBACK") is not False:
        yield _rollback(prepared, board, place)
    if prepared.bootloader is not None:
        yield _bootloader_rollback(prepared, board, place)


def _require_trusted(prepared: Prepared, board: Board, place: str) -> None:
    """What is signed is by a key that is not revoked on this board, whatever happened to it in the field."""
    slots = digest_slots(prepared.plan, board.revoked)
    signed = [] if prepared.app is None else [(Role.APP.value, prepared.app.signed_by)]
    if prepared.bootloader is not None:
        signed.append((Role.BOOTLOADER.value, prepared.bootloader_signers))
    for what, signers in signed:
        if not accepting_slots(slots, signers):
            raise DeviceError(
                "SE976",
                f"this board does not start the {what}: of its digest slots {_numbers(board.revoked)} is revoked, and "
                "no other key has signed it",
                cure="sign with a key that is not revoked on it; nothing was written",
                place=place,
            )


def _rollback(prepared: Prepared, board: Board, place: str) -> Check:
    settings = prepared.fleet.boards.settings
    bits = None if settings is None else settings.integer("BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD")
    found = board.secure_version(bits or _MOST_BITS)
    version = 0 if prepared.app is None else prepared.app.description.secure_version
    if found is None:
        return Check(
            "board-secure-version", place, Outcome.NOT_VERIFIABLE, "the board does not show what it has reached"
        )
    if prepared.fleet.boards.setting("BOOTLOADER_APP_ANTI_ROLLBACK") and version < found:
        raise DeviceError(
            "SE977",
            f"anti-rollback: the app's secure version is {version}, and this board has reached {found}",
            cure="raise CONFIG_BOOTLOADER_APP_SECURE_VERSION and build again; nothing was written",
            place=place,
        )
    return Check(
        "board-secure-version", place, Outcome.PASSED, f"the app's is {version}, the board has reached {found}"
    )


def _bootloader_rollback(prepared: Prepared, board: Board, place: str) -> Check:
    wanted = 0 if prepared.bootloader is None else secure_version(prepared.bootloader)
    parts = [board.values.get(_BOOTLOADER_VERSION + part, 0) for part in ("", "_LO", "_HI")]
    found = sum(bin(part).count("1") for part in parts)
    if board.is_sealed:
        why = "whether its ROM compares the bootloader's secure version cannot be seen"
        return Check("board-bootloader-version", place, Outcome.NOT_VERIFIABLE, why)
    if board.values.get("BOOTLOADER_ANTI_ROLLBACK_EN") and wanted < found:
        raise DeviceError(
            "SE977",
            f"anti-rollback: the bootloader's secure version is {wanted}, and this board has reached {found}",
            cure="raise CONFIG_BOOTLOADER_SECURE_VERSION and build again; nothing was written",
            place=place,
        )
    return Check("board-bootloader-version", place, Outcome.PASSED, f"{wanted}, the board has reached {found}")


def _numbers(revoked: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(revoked))) or "none"
