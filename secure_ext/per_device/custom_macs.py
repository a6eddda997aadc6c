# SPDX-License-Identifier: Apache-2.0
"""Which board gets which custom MAC address of the bundle's list: a row is used once, and stays that board's.

What was taken stands in the journal, under a lock: stations that share a journal never take one row twice. Boards are
known by the address of their chip's maker, so one that is interrupted, or comes twice, has the same row again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from secure_ext.bundle.mac_list_file import read_mac_list
from secure_ext.bundle.read import FinishedBundle
from secure_ext.chips.chip import load_chip
from secure_ext.chips.mac_address import mac_text
from secure_ext.chips.mac_list import MacList
from secure_ext.chips.user_block import user_block
from secure_ext.errors import InputError
from secure_ext.plan.block_data import with_board_mac
from secure_ext.reading import read_json
from secure_ext.station.chip_state import ChipState
from secure_ext.station.durable import make_folder_durably, write_durably
from secure_ext.station.file_lock import hold
from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import Matching, document_data, read_document

TAKEN = "custom_macs.taken"
"""In the folder of the journal."""
_LOCK = "custom_macs.lock"
_PATIENCE = 20
"""Seconds to wait for another station; it holds the lock for as long as a file is written."""
_Address = Annotated[str, Matching("([0-9a-f]{2}:){5}[0-9a-f]{2}")]


@frozen
class Taken:
    """The addresses that were taken, each with the board that has it."""

    schema: Literal[1]
    boards: Mapping[_Address, _Address]


def bundle_as_seen(bundle: FinishedBundle, journal: Path, state: ChipState) -> FinishedBundle:
    """The bundle with the plan of one board, as it would be now; nothing is taken. The same bundle without a list.

    Raises InputError SE435, SE436, SE731.
    """
    macs = read_mac_list(bundle.folder, bundle.plan)
    if macs is None:
        return bundle
    return _of_board(bundle, _chosen(macs, _read(journal), bundle, state))


def bundle_as_taken(bundle: FinishedBundle, journal: Path, state: ChipState) -> FinishedBundle:
    """The same, and the board's address is its own from now on: that is on the disk. Raises the same."""
    macs = read_mac_list(bundle.folder, bundle.plan)
    if macs is None:
        return bundle
    with _locked(journal):
        taken = _read(journal)
        mac = _chosen(macs, taken, bundle, state)
        boards = {**taken, mac_text(mac): _board(state)}
        try:
            text = json.dumps(document_data(Taken(1, boards)), indent=1) + "\n"
            write_durably(journal / TAKEN, text.encode())
        except OSError as error:
            raise _unusable(journal, f"it cannot be written: {error.strerror or error}") from None
    return _of_board(bundle, mac)


def bundle_of_any_board(bundle: FinishedBundle) -> FinishedBundle:
    """The same for a rehearsal: with the first address of the list, which is not taken by that."""
    macs = read_mac_list(bundle.folder, bundle.plan)
    return bundle if macs is None else _of_board(bundle, macs.rows[0].custom_mac)


def _of_board(bundle: FinishedBundle, mac: bytes) -> FinishedBundle:
    return replace(bundle, plan=with_board_mac(bundle.plan, mac))


def _board(state: ChipState) -> str:
    return mac_text(bytes.fromhex(state.mac))


def _chosen(macs: MacList, taken: Mapping[str, str], bundle: FinishedBundle, state: ChipState) -> bytes:
    """The board's address: that of its row, what it took before, what it holds already, or the next free one."""
    board = _board(state)
    block = user_block(load_chip(bundle.plan.chip, bundle.plan.min_revision))
    held = block.mac_in(state.blocks[block.number])
    own = [row.custom_mac for row in macs.rows if row.board is not None and mac_text(row.board) == board]
    anybodys = [row.custom_mac for row in macs.rows if row.board is None]
    before = [mac for mac in anybodys if taken.get(mac_text(mac)) == board]
    free = [mac for mac in anybodys if mac_text(mac) not in taken]
    found = [mac for mac in free if mac == held]
    others = [mac for mac in own if taken.get(mac_text(mac), board) != board]
    for candidates in () if others else (own, before, found, free):
        if candidates:
            return candidates[0]
    why = f"all {len(anybodys)} that any board may have are taken" if anybodys else "it has no row"
    if others:
        why = f"another one has taken {mac_text(others[0])}, which its row says"
    raise InputError(
        "SE435",
        f"the list of custom MAC addresses has none for board {board}: {why}",
        cure="put further rows into the list and make the bundle again, into the same folder, whose journal is kept; "
        "nothing was burned on this board",
        place=str(bundle.folder),
    )


def _read(journal: Path) -> Mapping[str, str]:
    path = journal / TAKEN
    try:
        return read_document(Taken, read_json(path)).boards
    except FileNotFoundError:
        return {}
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError as error:
        why = str(error)
    raise _unusable(journal, f"it is damaged, or cannot be read: {why}")


@contextlib.contextmanager
def _locked(journal: Path) -> Iterator[None]:
    """Holds the record of what was taken. Raises InputError SE436 if it cannot be held."""
    end = time.monotonic() + _PATIENCE
    try:
        make_folder_durably(journal)
        file = (journal / _LOCK).open("a", encoding="ascii")
    except OSError as error:
        raise _unusable(journal, f"it cannot be locked: {error.strerror or error}") from None
    with file:
        while True:
            try:
                hold(file)
                break
            except OSError as error:
                if time.monotonic() > end:
                    why = f"it cannot be locked, or another run holds it: {error.strerror or error}"
                    raise _unusable(journal, why) from None
            time.sleep(0.05)
        yield


def _unusable(journal: Path, why: str) -> InputError:
    return InputError(
        "SE436",
        f"nobody can tell which custom MAC addresses were taken: {why}",
        cure="restore the file from a backup, or give a folder for --journal that can be written and locked; if it is "
        "lost, take the addresses that boards have out of the list. No eFuse was burned",
        place=str(journal / TAKEN),
    )
