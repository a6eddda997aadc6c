# SPDX-License-Identifier: Apache-2.0
"""What is written onto the board that was found, in which order, and what is said of it before.

The order is that of what can still be taken back: data partitions, the app, the bootloader if it was named, and last
the OTA data, which make the board start the new app.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secure_ext.checks import Check, Outcome
from secure_ext.field.cable.board import Board
from secure_ext.field.cable.flash import BoardFlash
from secure_ext.field.cable.pieces import StoredPiece, in_slot, stored
from secure_ext.field.cable.prepare import Prepared
from secure_ext.field.cable.proof import Reader, has_app, prove_table
from secure_ext.field.cable.slot import Choice, choose, choose_unseen, running_slot
from secure_ext.field.cable.there_already import as_there
from secure_ext.formats.ota_data import SIZE
from secure_ext.formats.partition_table import PartitionTable
from secure_ext.plan.boot_slot import ota_data_partition
from secure_ext.station.frozen import frozen


@frozen
class Work:
    """What is written, in order, and where the app goes."""

    choice: Choice | None
    pieces: tuple[StoredPiece, ...]
    checks: tuple[Check, ...]


def seen_work(prepared: Prepared, board: Board, flash: BoardFlash) -> Work:
    """For a board whose flash can be read. Raises DeviceError SE975, SE985."""
    key = prepared.key if board.encrypts else None
    reader = Reader(flash, key)
    checks = (prove_table(reader, prepared, board),)
    pieces = [stored(piece, key) for piece in prepared.data]
    choice = None
    if prepared.app_piece is not None:
        data = read_ota_data(prepared.table, reader)
        running = running_slot(prepared.table, data, rolls_back=prepared.rolls_back)
        slots = sorted(prepared.slots, key=lambda slot: slot != running)
        apps = {slot: stored(in_slot(prepared.app_piece, slot), key) for slot in slots}
        there = (slot for slot, app in apps.items() if as_there(app, prepared, board, flash, reader) is not None)
        wanted = prepared.named_slot or next(there, None)
        is_whole = has_app(reader, running, prepared.plan.chip)
        choice = choose(prepared.table, wanted, data, rolls_back=prepared.rolls_back, is_whole=is_whole)
        pieces.append(apps.get(choice.slot) or stored(in_slot(prepared.app_piece, choice.slot), key))
    ordered = _ordered(prepared, pieces, choice, board)
    found = tuple(as_there(piece, prepared, board, flash, reader) or piece for piece in ordered)
    return Work(choice, found, checks)


def unseen_work(prepared: Prepared, board: Board) -> Work:
    """For a board in secure download mode."""
    key = prepared.key if board.encrypts else None
    pieces = [stored(piece, key) for piece in prepared.data]
    choice, checks = None, []
    if prepared.app_piece is not None:
        choice = choose_unseen(prepared.table, prepared.named_slot, prepared.fleet.boot)
        pieces.append(stored(in_slot(prepared.app_piece, choice.slot), key))
        why = "which app the board starts now; if it is this slot, the board starts none until the update is whole"
        checks.append(Check("board-slot", choice.slot.label, Outcome.NOT_VERIFIABLE, why))
    return Work(choice, tuple(_ordered(prepared, pieces, choice, board)), tuple(checks))


def _ordered(
    prepared: Prepared, pieces: Sequence[StoredPiece], choice: Choice | None, board: Board
) -> Iterator[StoredPiece]:
    """Data and app, the bootloader, and the OTA data last."""
    key = prepared.key if board.encrypts else None
    yield from pieces
    if prepared.bootloader is not None:
        yield stored(prepared.bootloader, key)
    if choice is not None and choice.switch is not None:
        yield stored(choice.switch, key)


def read_ota_data(table: PartitionTable, reader: Reader) -> bytes | None:
    """The OTA data of a board; None if its table has no place for them. Raises DeviceError SE985."""
    partition = ota_data_partition(table)
    return None if partition is None or partition.size < SIZE else reader.read(partition.offset, SIZE)


def announced(choice: Choice | None, due: Sequence[StoredPiece], there: Sequence[str], board: Board) -> Iterator[str]:
    """What is going to happen, for whoever decides whether it may."""
    yield f"Board: {'sealed, it shows no MAC address' if board.mac is None else f'MAC {board.mac}'}"
    if board.is_sealed and board.encrypts:
        yield "Whether it decrypts with the key at hand cannot be seen: with another key it starts nothing any more."
    if choice is not None:
        where = f"The app goes to {choice.slot.label}"
        if board.is_sealed:
            yield f"{where}, which the board then starts. What it starts now cannot be seen."
        elif choice.in_place:
            yield f"{where}, which the board starts now: until it is whole, the board may start no app."
        else:
            old = "" if choice.running is None else choice.running.label
            yield f"{where}; until all is written the board starts {old}, as now."
        if choice.is_on_trial:
            yield "It is on trial: the bootloader goes back to the old app unless the new one confirms itself."
    if there:
        yield f"There already: {', '.join(there)}."
    for piece in due:
        offset, size = piece.place
        how = "encrypted" if piece.is_encrypted else "plain"
        yield f"  0x{offset:06x}  {size:8}  {piece.piece.name}, {how}"
