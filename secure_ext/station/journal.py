# SPDX-License-Identifier: Apache-2.0
"""What this bundle has done to which board, so that an interrupted board can be told from a foreign one.

A read-protected key cannot be compared with the one in the bundle. The journal holds, for each board (by MAC address),
that its images were written, that burning was begun and that all of it was read back, and never a key. Part of
``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from secure_ext.station.durable import write_durably
from secure_ext.station.esp_tools import Stop
from secure_ext.station.frozen import frozen
from secure_ext.station.key_places import is_movable
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import document_data, read_document

_LIMIT = 0x10000
"""Bytes of the journal of a board."""
_NEEDED = "give a writable folder with --journal; it is needed to continue an interrupted board"


@frozen
class JournalEntry:
    """What is written down of a board; what is absent has not happened.

    Attributes:
        keys: stands for the keys that are burned.
        keys_before: likewise, for the keys of an earlier run of which some are on the board.
        images_written: stands for the images that were written and verified.
        burning_begun: when burning began.
        read_back: when all that was burned was read back; empty as long as it was not.
        kept: stands for the copies of what the board keeps in its flash.
        placed: which keys are in other blocks than the plan's, in words.
        adopted: when the board showed that it holds these keys, which nobody here had burned.
        taken_away: when the board was taken away while it was burned, and how far it was.
    """

    keys: str
    keys_before: Optional[str] = None
    images_written: Optional[str] = None
    burning_begun: Optional[str] = None
    read_back: Optional[str] = None
    taken_away: Optional[str] = None
    kept: Optional[str] = None
    adopted: Optional[str] = None
    placed: Optional[tuple[str, ...]] = None


class Journal:
    """The journal of one board.

    `is_readable` is False if there is a journal that cannot be read: then nobody knows what was begun.
    `keys_id` stands for the keys that are burned, `images_id` for what is written to flash: making a bundle again
    changes the images (signatures are random), and boards with its keys must still be known. So must boards that were
    begun before keys were left to stations to place: `fixed_keys_id` stands for the same keys in the plan's own blocks.
    """

    def __init__(self, path: Path, keys_id: str, images_id: str, fixed_keys_id: Optional[str] = None) -> None:
        self.path = path
        self._keys_id = keys_id
        self._images_id = images_id
        self._entry = JournalEntry(keys_id)
        self.is_readable = True
        try:
            entry = read_document(JournalEntry, json.loads(_content(path), object_pairs_hook=_said_once))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError):
            self.is_readable = False
            return
        is_known = not {keys_id, fixed_keys_id}.isdisjoint({entry.keys, entry.keys_before} - {None})
        # what was copied is the board's, whatever keys it gets
        self._entry = entry if is_known else JournalEntry(keys_id, kept=entry.kept)

    @property
    def kept_folder(self) -> Path:
        """Where the copies of what the board keeps in its flash are; they may be secrets."""
        return self.path.with_suffix(".kept")

    @property
    def kept(self) -> Optional[str]:
        """Stands for these copies; None if there are none."""
        return self._entry.kept

    @property
    def images_written(self) -> bool:
        """Whether this bundle's images were written and verified on this board."""
        return self._entry.images_written == self._images_id

    @property
    def burning_begun(self) -> bool:
        """Whether these keys have begun to be burned on this board."""
        return self._entry.burning_begun is not None

    @property
    def begun_here(self) -> bool:
        """Whether it was begun by a run that had looked at what the board carried: an adopted one was begun before."""
        return self.burning_begun and self._entry.adopted is None

    @property
    def taken_away(self) -> Optional[str]:
        """When the board was taken away while it was burned, and how far it was; None if it was not."""
        return self._entry.taken_away if self.burning_begun else None

    @property
    def never_read_back(self) -> bool:
        """Whether burning was begun, and its end never seen. Journals of older versions do not say it: then False."""
        return self.burning_begun and self._entry.read_back == ""

    @property
    def is_read_back(self) -> bool:
        """Whether all that was burned was read back, but for the seal. Journals of older versions do not say it."""
        return bool(self._entry.read_back)

    def note_images(self) -> None:
        """Records that this bundle's images were written. Raises Stop SE830."""
        self._write(replace(self._entry, images_written=self._images_id))

    def note_kept(self, copies: str) -> None:
        """Records that there are copies of what the board keeps in its flash. Raises Stop SE830."""
        self._write(replace(self._entry, kept=copies))

    def note_burning(self, *, is_seal: bool = False, placed: tuple[str, ...] = ()) -> None:
        """Records that burning begins, with keys `placed` otherwise than planned. Raises Stop SE830.

        The seal does not undo that all before it was read back.
        """
        read_back = self._entry.read_back if self.burning_begun and is_seal else ""
        self._write(replace(self._entry, burning_begun=_now(), read_back=read_back, placed=placed or None))

    def note_adopted(self) -> None:
        """Records that the board has shown that it holds these keys. Raises Stop SE830."""
        self._write(replace(self._entry, adopted=_now(), burning_begun=_now(), read_back=""))

    def note_taken_away(self, how_far: str) -> None:
        """Records that another board came in while this one was burned; a full disk does not hide that from anybody."""
        with contextlib.suppress(Stop):
            self._write(replace(self._entry, taken_away=f"{_now()}: {how_far}"))

    def note_read_back(self) -> None:
        """Records that all that was burned was read back, but for the seal; the copies go. Raises Stop SE830."""
        if self.never_read_back:
            # Before the seal: after it nobody could see any more how far the board is.
            cure = "make room, or give a writable folder with --journal, and run the script again: it goes on with "
            cure += "this board. Its keys are burned and read back; it is protected, but NOT closed yet"
            self._write(replace(self._entry, read_back=_now(), kept=None), cure)
        shutil.rmtree(self.kept_folder, ignore_errors=True)

    def note_burning_with_other_keys(self, before: Journal) -> None:
        """Records that burning goes on with some of the keys of `before`, and new ones. Raises Stop SE830."""
        self._entry = JournalEntry(self._keys_id, keys_before=before._keys_id, kept=before.kept)
        self.note_burning()

    def _write(self, entry: JournalEntry, cure: str = _NEEDED) -> None:
        """Whole or not at all, and on the disk when it returns."""
        self._entry = entry
        try:
            write_durably(self.path, (json.dumps(document_data(entry), indent=1) + "\n").encode())
        except OSError as error:
            raise Stop(
                3,
                "SE830",
                f"the journal cannot be written: {error}",
                cure,
            ) from None


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object. Raises ValueError for one that is there twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _content(path: Path) -> bytes:
    """Raises OSError; also for what others may have put there: a pipe, which never ends, or more than a journal is."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a regular file")
    with path.open("rb") as file:
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise OSError(f"{path} is larger than a journal")
    return content


def board_journal(plan: PlanDocument, path: Path) -> Journal:
    """The journal at `path` of a board that the plan's keys and images are meant for."""
    placed, fixed = (_keys_id(plan, is_placed=is_placed) for is_placed in (True, False))
    return Journal(path, fixed if plan.places is None else placed, _digest(document_data(plan.images)), fixed)


def _keys_id(plan: PlanDocument, *, is_placed: bool) -> str:
    """A key that stations place has no block: it is known by its purpose."""
    keys = [
        [None if is_placed and is_movable(key.role) else key.block, key.part, key.purpose, key.fingerprint]
        for key in plan.keys
    ]
    return _digest([plan.chip, keys])


def boards_not_read_back(plan: PlanDocument, folder: Path) -> tuple[str, ...]:
    """The MAC addresses of the boards that these keys have begun to be burned on, and nobody has read back since."""
    return tuple(path.stem for path in sorted(folder.glob("*.json")) if board_journal(plan, path).never_read_back)


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
