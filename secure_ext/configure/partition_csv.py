# SPDX-License-Identifier: Apache-2.0
"""The CSV of a partition table, changed field by field: comments, blanks and everything else stay as they are.

What is a row is ESP-IDF's rule (``components/partition_table/gen_esp32part.py``): neither a comment nor an empty line,
with fields that commas part: name, type, subtype, offset, size, flags.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from secure_ext.station.frozen import frozen

_NAME, _TYPE, _SUBTYPE, _OFFSET, _SIZE, _FLAGS = range(6)
_TYPES = {"app": 0x00, "data": 0x01}
_DATA = {"ota": 0x00, "nvs": 0x02, "nvs_keys": 0x04}
_OTA_SLOT = re.compile(r"ota_\d+|0x1[0-9a-f]", re.IGNORECASE)


@frozen
class Row:
    """A row, with the number of its line from 0, and its fields without the blanks around them."""

    line: int
    fields: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its label."""
        return self.fields[_NAME]

    @property
    def offset(self) -> str:
        """Where it is said to be; empty where the build decides."""
        return self._field(_OFFSET)

    @property
    def flags(self) -> tuple[str, ...]:
        """Such as ``encrypted``."""
        return tuple(flag for flag in self._field(_FLAGS).split(":") if flag)

    @property
    def is_ota_slot(self) -> bool:
        """Whether it is a slot for updates of the app."""
        return self._is_type("app") and bool(_OTA_SLOT.fullmatch(self._field(_SUBTYPE)))

    def is_data(self, subtype: str) -> bool:
        """Whether it is a data partition of a subtype, by name or by number."""
        return self._is_type("data") and _is(self._field(_SUBTYPE), subtype, _DATA[subtype])

    def _is_type(self, name: str) -> bool:
        return _is(self._field(_TYPE), name, _TYPES[name])

    def _field(self, number: int) -> str:
        return self.fields[number] if number < len(self.fields) else ""


def rows_of(text: str) -> tuple[Row, ...]:
    """The rows, in their order."""
    lines = enumerate(text.splitlines())
    return tuple(
        Row(number, tuple(part.strip() for part in line.split(",")))
        for number, line in lines
        if line.strip() and not line.strip().startswith("#") and "," in line
    )


def with_flags(text: str, row: Row, flags: Sequence[str]) -> str:
    """The text with other flags in a row."""
    return _with_field(text, row, _FLAGS, ":".join(flags))


def without_offset(text: str, row: Row) -> str:
    """The text with a row whose place the build decides."""
    return _with_field(text, row, _OFFSET, "")


def with_row(text: str, *fields: str) -> str:
    """The text with a row more, behind all others: nothing that is there moves."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    end = "" if not text or text.endswith("\n") else line_end
    return f"{text}{end}{', '.join(fields)}{line_end}"


def _with_field(text: str, row: Row, number: int, value: str) -> str:
    """The new value begins where the old one did, and what follows it stays in its column where there is room."""
    lines = text.splitlines(keepends=True)
    body = lines[row.line].rstrip("\r\n")
    parts = body.split(",")
    parts += [""] * (number + 1 - len(parts))
    old = parts[number]
    before = old[: len(old) - len(old.lstrip())] or (" " if number and value else "")
    changed = before + value
    parts[number] = changed.ljust(len(old)) if number < len(parts) - 1 else changed
    lines[row.line] = ",".join(parts).rstrip(" ") + lines[row.line][len(body) :]
    return "".join(lines)


def _is(text: str, name: str, number: int) -> bool:
    if text.lower() == name:
        return True
    try:
        return int(text, 0) == number
    except ValueError:
        return False
