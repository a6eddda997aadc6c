# SPDX-License-Identifier: Apache-2.0
"""One update of one board: looks, decides, writes, looks again.

The flash itself is the record of how far an update came: what is
there already is not written again, so that running it again continues.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from secure_ext.checks import Check, Outcome, checks_data
from secure_ext.errors import DeviceError, ToolError, UsageError
from secure_ext.field.cable.board import Board, look_at_board
from secure_ext.field.cable.flash import AGAIN, BoardFlash, Say
from secure_ext.field.cable.pieces import StoredPiece
from secure_ext.field.cable.prepare import Prepared
from secure_ext.field.cable.proof import Reader, require_booted
from secure_ext.field.cable.slot import Choice, running_slot
from secure_ext.field.cable.work import Work, announced, read_ota_data, seen_work, unseen_work
from secure_ext.prove.audit.read_board import as_error
from secure_ext.station.board_link import BoardLink, Connection, Progress
from secure_ext.station.bundle_files import BundleFiles
from secure_ext.station.esp_tools import Stop, interruptions
from secure_ext.station.flash_images import FlashImages
from secure_ext.station.frozen import frozen
from secure_ext.station.port_lock import lock_port
from secure_ext.station.refusals import other_esptool

_LEAST_FLASH = 0x200000


@frozen
class Port:
    """How the board is reached, and what is asked of it.

    Attributes:
        name: serial port, as esptool takes it.
        baud: the fastest that the line holds; None for what holds.
        before: reset before connecting.
        after: reset at the end.
        mac: the MAC address that the board has to have; None for any.
    """

    name: str
    baud: int | None = None
    before: str = "default-reset"
    after: str = "no-reset"
    mac: str | None = None


@frozen
class Updated:
    """What was done to a board.

    Attributes:
        board: as it was found.
        choice: where the app went; None if it was not written.
        written: names of what was written, in order; of what would be in a dry run.
        there_already: names of what the board had already.
        forced: names of what esptool wrote only with ``--force``.
        pieces: all that the update consists of, whether it was there or not.
        checks: what was looked at.
        is_dry_run: nothing was changed.
    """

    board: Board
    choice: Choice | None
    written: tuple[str, ...]
    there_already: tuple[str, ...]
    forced: tuple[str, ...]
    pieces: tuple[StoredPiece, ...]
    checks: tuple[Check, ...]
    is_dry_run: bool

    def as_dict(self) -> dict[str, object]:
        """For ``--format json``."""
        return {
            "board": self.board.mac,
            "secure_download_mode": self.board.is_sealed,
            "slot": None if self.choice is None else self.choice.slot.label,
            "on_trial": self.choice is not None and self.choice.is_on_trial,
            "dry_run": self.is_dry_run,
            "written": list(self.written),
            "there_already": list(self.there_already),
            "forced": list(self.forced),
            **checks_data(self.checks),
        }


Confirm = Callable[[str], bool]
"""Asks whether to write, with what is shown before."""


def update_board(
    prepared: Prepared,
    port: Port,
    say: Say,
    confirm: Confirm,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Updated:
    """Updates the board on a port; `progress` is told how far the writing is.

    Raises what `look_at_board`, `prove_table`, `require_booted` and `BoardFlash` raise; DeviceError SE986 (another MAC
    address is wanted, or none can be seen), SE987 (interrupted); UsageError SE984 (not confirmed); the errors of
    `BoardLink` and `lock_port`.
    """
    chip = prepared.plan.chip
    connection = Connection(chip, port.name, port.before, port.baud)
    try:
        with lock_port(port.name), interruptions(signal.default_int_handler), BoardLink(connection, progress) as link:
            if link.version < prepared.plan.least_esptool:
                raise other_esptool(prepared.plan, f"is {link.version[0]}.{link.version[1]}")
            board, checks = look_at_board(link, prepared.plan)
            _require_mac(board, port.mac)
            _check_power(prepared, link, board, say)
            flash = BoardFlash(link, board, chip, _flash_size(prepared), say)
            done = _update(prepared, link, board, flash, say=say, confirm=confirm, dry_run=dry_run)
            if port.after != "no-reset" and not dry_run and link.reset(port.after).exit_code:
                say("The board could not be reset from here: switch its power off and on.")
    except Stop as stop:
        raise as_error(stop) from None
    except KeyboardInterrupt:
        raise DeviceError("SE987", "interrupted", cure=f"what is being written is not whole: {AGAIN}") from None
    return Updated(
        board=board,
        choice=done.work.choice,
        written=done.written,
        there_already=done.there_already,
        forced=tuple(flash.forced),
        pieces=done.work.pieces,
        checks=(*prepared.checks, *checks, *done.checks),
        is_dry_run=dry_run,
    )


@frozen
class _Done:
    work: Work
    written: tuple[str, ...]
    there_already: tuple[str, ...]
    checks: tuple[Check, ...]


def _update(
    prepared: Prepared,
    link: BoardLink,
    board: Board,
    flash: BoardFlash,
    *,
    say: Say,
    confirm: Confirm,
    dry_run: bool,
) -> _Done:
    checks = list(require_booted(prepared, board))
    flash.start()
    work = unseen_work(prepared, board) if board.is_sealed else seen_work(prepared, board, flash)
    checks += work.checks
    present = flash.holds(work.pieces)
    due = [piece for piece, is_there in zip(work.pieces, present, strict=True) if not is_there]
    there = tuple(piece.piece.name for piece, is_there in zip(work.pieces, present, strict=True) if is_there)
    for line in announced(work.choice, due, there, board):
        say(line)
    names = tuple(piece.piece.name for piece in due)
    if dry_run or not due:
        return _Done(work, names, there, tuple(checks))
    if not confirm(f"Write {', '.join(names)}?"):
        raise UsageError("SE984", "not confirmed; nothing was written", cure="confirm, or give --yes")
    _require_same(link, board)
    for piece in due:
        flash.write(piece)
    checks += _written(prepared, board, flash, work)
    return _Done(work, names, there, tuple(checks))


def _written(prepared: Prepared, board: Board, flash: BoardFlash, work: Work) -> Iterator[Check]:
    """What was written is there, and the board starts it. Raises ToolError SE983."""
    if board.is_sealed:
        for piece in work.pieces:
            why = "written; in secure download mode nobody can read it back: see that the board starts"
            yield Check("written", piece.piece.name, Outcome.NOT_VERIFIABLE, why)
        return
    for piece, is_there in zip(work.pieces, flash.holds(work.pieces), strict=True):
        if not is_there:
            why = f"{piece.piece.name} is not in flash as it was written"
            raise ToolError("SE983", f"writing the flash failed: {why}", cure=f"check the supply, and {AGAIN}")
        yield Check("written", piece.piece.name, Outcome.PASSED, "its MD5 in flash is right")
    if work.choice is None:
        return
    reader = Reader(flash, prepared.key if board.encrypts else None)
    now = running_slot(prepared.table, read_ota_data(prepared.table, reader), rolls_back=prepared.rolls_back)
    if now != work.choice.slot:
        why = f"the board starts {now.label}, and not {work.choice.slot.label}"
        raise ToolError("SE983", f"writing the flash failed: {why}", cure=f"check the supply, and {AGAIN}")
    yield Check("starts", now.label, Outcome.PASSED, "the OTA data choose it, or there is nothing else to start")


def _require_same(link: BoardLink, board: Board) -> None:
    """The question takes a while: whatever is connected now must be what was looked at. Raises Stop SE828."""
    if board.mac is not None:
        link.require_board(board.mac, "nothing was written")


def _require_mac(board: Board, mac: str | None) -> None:
    if mac is None or mac.lower().replace(":", "") == board.mac:
        return
    found = "shows none: it is in secure download mode" if board.mac is None else f"has {board.mac}"
    raise DeviceError(
        "SE986",
        f"this run is for the MAC address {mac}, and the board {found}",
        cure="connect that board; or, if you know otherwise which one it is, leave --mac out. Nothing was written",
    )


def _check_power(prepared: Prepared, link: BoardLink, board: Board, say: Say) -> None:
    """The flash of some chips has no power in download mode unless esptool turns it on. Raises Stop SE838."""
    if board.revision is not None:
        files = BundleFiles(prepared.plan, Path(), None, without_keys=True)
        FlashImages(prepared.plan, files, link.connection, say).check_power(link, board.revision)


def _flash_size(prepared: Prepared) -> int:
    """What the firmware believes in; of bundles that do not say it, as much as the partitions need."""
    end = max(row.end for row in prepared.table.partitions)
    return prepared.fleet.boards.flash_size or max(_LEAST_FLASH, 1 << (end - 1).bit_length())
