# SPDX-License-Identifier: Apache-2.0
"""What a board keeps in its flash: copied before anything is erased, encrypted where the chip will decrypt it.

The copies lie beside the journal of the board, for its owner alone, until all that is burned was read back: a cut in
the middle costs nothing. Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from secure_ext.station.board_link import BoardLink
from secure_ext.station.bundle_files import BundleFiles
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.durable import make_folder_durably, sync_folder, write_durably
from secure_ext.station.esp_tools import Stop
from secure_ext.station.flash_sectors import SECTOR_SIZE
from secure_ext.station.frozen import frozen
from secure_ext.station.journal import Journal
from secure_ext.station.plan_document import KeepStep, PlanDocument


@frozen
class KeptPiece:
    """A part of the flash that is kept, and what it holds in the end."""

    step: KeepStep
    content: bytes

    @property
    def place(self) -> tuple[int, int]:
        """Flash offset and size in bytes."""
        return self.step.offset, self.step.size


class KeptFlash:
    """What the plan keeps. `pieces` is empty until `rescue` has been there."""

    def __init__(self, plan: PlanDocument, files: BundleFiles, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.files = files
        self.say = say
        self.pieces: tuple[KeptPiece, ...] = ()

    def rescue(self, link: BoardLink, journal: Journal, *, over_security: bool) -> Optional[str]:
        """Copies what is kept, and encrypts it in memory; changes nothing on the board.

        Copies of an earlier run of this board are used, as long as the flash holds what they hold, or what was being
        made of it. Returns why the board could not be read.

        Raises Stop SE861 if there are no copies and it is too late to make them, SE862 if they are of something else,
        or the flash has changed since, SE821 if they cannot be written.
        """
        folder = journal.kept_folder
        is_known = journal.kept is not None and not _was_emptied(folder)
        if not self.plan.kept and is_known:
            raise _other_copies(folder)
        if not self.plan.kept or self.pieces:
            return None
        copies = {step.offset: _copy_of(folder, step) for step in self.plan.kept}
        if is_known and journal.kept != _copies_id(self.plan, copies):
            raise _other_copies(folder)
        if not is_known:
            if over_security and any(step.encrypt for step in self.plan.kept):
                raise _too_late_to_copy()
            failure = self._copy_all(link, folder)
            if failure is not None:
                return failure
            copies = {step.offset: _copy_of(folder, step) for step in self.plan.kept}
            journal.note_kept(_copies_id(self.plan, copies))
        pieces = tuple(KeptPiece(step, self._final(link, step, copies[step.offset])) for step in self.plan.kept)
        if is_known and not over_security:
            failure = self._require_unchanged(link, folder, copies, pieces)
            if failure is not None:
                return failure
        for piece in pieces:
            _note_what_is_written(folder, piece)
        self.pieces = pieces
        return None

    def is_as_left(self, link: BoardLink, journal: Journal) -> bool:
        """Whether the flash still holds what an earlier run has left of it there; needs no keys, changes nothing."""
        steps, folder = self.plan.kept, journal.kept_folder
        copies = {step.offset: _copy_of(folder, step) for step in steps}
        if steps and journal.kept != _copies_id(self.plan, copies):
            return False
        left = [_written_before(folder, step) if step.encrypt else copies[step.offset] for step in steps]
        found = link.flash_md5([(step.offset, step.size) for step in steps]) if steps else []
        return found == [hashlib.md5(content, usedforsecurity=False).hexdigest() for content in left]

    def difference(self, link: BoardLink) -> Optional[str]:
        """Which of the pieces is not in flash; None if all are."""
        found = link.flash_md5([piece.place for piece in self.pieces]) or [""] * len(self.pieces)
        for piece, digest in zip(self.pieces, found):
            if hashlib.md5(piece.content, usedforsecurity=False).hexdigest() != digest:
                return f"{piece.step.label}, which the board keeps, is not in flash as it should be"
        return None

    def _copy_all(self, link: BoardLink, folder: Path) -> Optional[str]:
        try:
            make_folder_durably(folder, 0o700)
            for step in self.plan.kept:
                path = _copy_path(folder, step)
                failure = self._read(link, step, path)
                if failure is not None:
                    return failure
                blank = not path.read_bytes().strip(b"\xff")
                self.say(f"{step.label} is kept{', and is BLANK on this board' if blank else ''}: copied to {path}")
            sync_folder(folder)
        except OSError as error:
            raise _cannot_copy(error) from None
        return None

    def _read(self, link: BoardLink, step: KeepStep, path: Path) -> Optional[str]:
        """Reads a part of the flash into a file; returns why that failed."""
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        result = link.esptool(["read-flash", hex(step.offset), hex(step.size), str(path)])
        if result.exit_code:
            return result.last_words()
        with path.open("rb") as file:
            content = file.read()
            os.fsync(file.fileno())
        expected = link.flash_md5([(step.offset, step.size)])
        if expected != [hashlib.md5(content, usedforsecurity=False).hexdigest()]:
            return f"{step.label} was not read as it is in flash"
        return None

    def _final(self, link: BoardLink, step: KeepStep, copy: bytes) -> bytes:
        if not step.encrypt:
            return copy
        key = self.files.flash_encryption_key()
        return link.encrypt(key, step.offset, copy, xts=FACTS[self.plan.chip].has_xts)

    def _require_unchanged(
        self, link: BoardLink, folder: Path, copies: dict[int, bytes], pieces: tuple[KeptPiece, ...]
    ) -> Optional[str]:
        """Returns why the board could not be read. Raises Stop SE862."""
        for piece in pieces:
            path = folder / "now.bin"
            failure = self._read(link, piece.step, path)
            now = path.read_bytes()
            path.unlink()
            if failure is not None:
                return failure
            targets = (piece.content, _written_before(folder, piece.step))
            if not _is_on_the_way(now, copies[piece.step.offset], targets):
                raise Stop(
                    5,
                    "SE862",
                    f"{piece.step.label}, which this board keeps, has changed since it was copied",
                    f"if what is on the board now is right, delete all files in {folder}, but not the folder, and "
                    f"run again; else write {_copy_path(folder, piece.step).name} from there to "
                    f"0x{piece.step.offset:x} with `esptool write-flash`. Nothing was changed by this run",
                )
        return None


def _is_on_the_way(now: bytes, before: bytes, targets: tuple[bytes, ...]) -> bool:
    """Each sector is as before, or erased and maybe written in part: writing clears bits, and sets none."""
    return all(
        now[at : at + SECTOR_SIZE] == before[at : at + SECTOR_SIZE]
        or any(_may_become(now[at : at + SECTOR_SIZE], target[at : at + SECTOR_SIZE]) for target in targets)
        for at in range(0, len(before), SECTOR_SIZE)
    )


def _may_become(sector: bytes, target: bytes) -> bool:
    """Every bit that the target has is still set."""
    return len(sector) == len(target) and not int.from_bytes(target, "big") & ~int.from_bytes(sector, "big")


def _note_what_is_written(folder: Path, piece: KeptPiece) -> None:
    """A board may get other keys in its next run: what this one writes is known again by it. Raises Stop SE821."""
    if piece.step.encrypt:
        try:
            write_durably(folder / f"{piece.step.offset:x}.written", piece.content, 0o600)
        except OSError as error:
            raise _cannot_copy(error) from None


def _written_before(folder: Path, step: KeepStep) -> bytes:
    """What an earlier run has written in the place of what is kept; empty if none has."""
    path = folder / f"{step.offset:x}.written"
    return path.read_bytes() if path.is_file() else b""


def _cannot_copy(error: OSError) -> Stop:
    cure = "make room, or give a writable folder with --journal; nothing was changed on this board"
    return Stop(3, "SE821", f"what the board keeps cannot be copied: {error}", cure)


def _other_copies(folder: Path) -> Stop:
    return Stop(
        5,
        "SE862",
        f"what was copied from this board before, in {folder}, is damaged, or is not what this bundle keeps",
        "finish the board with the bundle that began it; only if the board holds all that it needs, delete all files "
        "in that folder, but not the folder. Nothing was changed by this run",
    )


def _was_emptied(folder: Path) -> bool:
    """Whether somebody has decided against the copies; a folder that is not there may have been lost."""
    return folder.is_dir() and not any(folder.iterdir())


def _copy_path(folder: Path, step: KeepStep) -> Path:
    return folder / f"{step.offset:x}.bin"


def _copy_of(folder: Path, step: KeepStep) -> bytes:
    """The copy of an earlier run; empty if there is none."""
    path = _copy_path(folder, step)
    return path.read_bytes() if path.is_file() and path.stat().st_size == step.size else b""


def _copies_id(plan: PlanDocument, copies: dict[int, bytes]) -> str:
    """Stands for the copies in the journal."""
    digest = hashlib.sha256()
    for step in plan.kept:
        digest.update(f"{step.offset} {step.size} ".encode() + hashlib.sha256(copies[step.offset]).digest())
    return digest.hexdigest()


def _too_late_to_copy() -> Stop:
    return Stop(
        5,
        "SE861",
        "this board has to keep a part of its flash, flash encryption or secure boot is on already, and nothing here "
        "has a copy of that part",
        "continue on the station that began this board (its journal folder), or set it aside; nothing was changed",
    )
