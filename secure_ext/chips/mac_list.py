# SPDX-License-Identifier: Apache-2.0
"""A list of custom MAC addresses: a CSV with the column ``custom_mac``, and ``mac`` where a row is for one board."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator

from secure_ext.chips.mac_address import mac_text, parse_mac
from secure_ext.station.frozen import frozen

_BOARD, _CUSTOM = "mac", "custom_mac"


@frozen
class MacRow:
    """One row: the board's own address (that of its chip's maker), None for any board, and what it gets."""

    board: bytes | None
    custom_mac: bytes


@frozen
class MacList:
    """The rows, in the order in which boards take them."""

    rows: tuple[MacRow, ...]

    @property
    def content(self) -> bytes:
        """The list as a bundle holds it."""
        lines = [f"{'' if row.board is None else mac_text(row.board)},{mac_text(row.custom_mac)}" for row in self.rows]
        return "\n".join([f"{_BOARD},{_CUSTOM}", *lines, ""]).encode()

    @property
    def sha256(self) -> str:
        """Of `content`."""
        return hashlib.sha256(self.content).hexdigest()


def parse_mac_list(content: bytes) -> MacList:
    """The list in a CSV. Raises ValueError, which names the line and says what is wrong with it."""
    try:
        rows = list(csv.reader(content.decode("utf-8-sig").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError("it is no CSV") from None
    head = [name.strip() for name in rows[0]] if rows else []
    if head not in ([_CUSTOM], [_BOARD, _CUSTOM]):
        raise ValueError(f"line 1: the columns are {_CUSTOM}, or {_BOARD} and {_CUSTOM}")
    parsed = tuple(_rows(rows[1:], len(head)))
    if not parsed:
        raise ValueError("it has no rows")
    return MacList(parsed)


def _rows(rows: list[list[str]], columns: int) -> Iterator[MacRow]:
    seen: dict[tuple[str, bytes], int] = {}
    for number, cells in enumerate(rows, 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != columns:
            raise ValueError(f"line {number}: it has {len(cells)} columns, not {columns}")
        try:
            macs = [parse_mac(cell.strip()) if cell.strip() else None for cell in cells]
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        board, custom = (None, *macs)[-2:]
        if custom is None:
            raise ValueError(f"line {number}: it has no {_CUSTOM}")
        for key in ((_CUSTOM, custom), *([] if board is None else [(_BOARD, board)])):
            if key in seen:
                raise ValueError(f"line {number}: {mac_text(key[1])} stands in line {seen[key]}, too")
            seen[key] = number
        yield MacRow(board, custom)
