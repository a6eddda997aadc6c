# SPDX-License-Identifier: Apache-2.0
"""Reads a summary that espefuse printed on some other day, and finds out which chip it is of."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from secure_ext.chips.chip import load_chip
from secure_ext.chips.efuse_table import load_efuse_table
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.errors import InputError, ToolError
from secure_ext.prove.audit.board import Board
from secure_ext.reading import DOCUMENT_LIMIT, parse_json, read_file
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.chip_state import ChipState, coding_errors, parse_state, state_of
from secure_ext.station.esp_tools import Stop

_BLOCKS = 16
_BLOCK_BITS = 512
_LEAST_LIKENESS = 0.25
"""Share of a chip's fields that a summary must have. espefuse leaves out the calibration of most chips."""

Summary = dict[str, dict[str, Any]]


class SummaryError(InputError):
    """The summary cannot be used: SE871 it is none, SE872 it is of another chip, SE874 it says too little."""


def read_summary(path: Path, chip: str | None) -> Board:
    """The board that ``espefuse summary --format json`` of 4.12.0, 5.3.0 or later showed.

    What espefuse printed around the summary may be in the file; if ``dump`` is among it, older ones do as well.

    Args:
        path: the file.
        chip: the chip it has to be; None for whichever it is.

    Raises SummaryError.
    """
    try:
        content = read_file(path, DOCUMENT_LIMIT)
        # what PowerShell redirects into a file is UTF-16
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise _unreadable(path, "it is not text") from None
    summary = _summary(path, text)
    found = _most_alike(summary)
    if found is None:
        raise _unreadable(path, "its eFuses are those of no chip that is known here")
    if chip is not None and found != chip:
        raise SummaryError(
            "SE872",
            f"the summary is of an {found}, not of an {chip}",
            cure="give the summary of the right board, or the bundle for this one",
            place=str(path),
        )
    state = _state(path, summary, text)
    for block in load_chip(found, state.revision).key_blocks:
        if block.number not in state.blocks:
            raise _unreadable(path, f"{block.name} is missing")
    return Board(found, f"the summary {path.name}", state, errors_looked_for=bool(re.search("check[-_]error", text)))


def chip_of(state: ChipState) -> str | None:
    """Which chip has eFuses at these places; None if none that is covered."""
    rows = {(name, *place) for name, place in state.places.items()}
    return _chip_with(rows)


def _unreadable(path: Path, why: str) -> SummaryError:
    return SummaryError(
        "SE871",
        f"this is not a summary of espefuse: {why}",
        cure="make it with: espefuse --port PORT summary --format json > summary.json",
        place=str(path),
    )


def _summary(path: Path, text: str) -> Summary:
    start = re.search(r"^\{", text, re.MULTILINE)
    if start is None:
        raise _unreadable(path, "there is no JSON in it")
    try:
        _, end = json.JSONDecoder().raw_decode(text[start.start() :])
        summary = parse_json(text[start.start() :][:end])
    except (ValueError, RecursionError):
        raise _unreadable(path, "its JSON is damaged or cut off") from None
    for name, row in summary.items():
        if not isinstance(row, dict) or not _is_field(row):
            raise _unreadable(path, f"the field {name[:40]!r} is not as espefuse writes it")
    if not {"WR_DIS", "RD_DIS", "MAC"} <= set(summary):
        raise _unreadable(path, "WR_DIS, RD_DIS or MAC is missing")
    return dict(summary)


def _is_field(row: dict[str, Any]) -> bool:
    if not all(isinstance(row.get(name), bool) for name in ("readable", "writeable")):
        return False
    if not _is_number(row.get("block"), _BLOCKS) or not _is_number(row.get("bit_len"), _BLOCK_BITS + 1):
        return False
    if row.get("word") is None or row.get("pos") is None:
        return row.get("word") is None and row.get("pos") is None
    placed = _is_number(row["word"], _BLOCKS) and _is_number(row["pos"], 32)
    return placed and row["word"] * 32 + row["pos"] + row["bit_len"] <= _BLOCK_BITS


def _is_number(value: object, limit: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit


def _most_alike(summary: Summary) -> str | None:
    rows = {
        (name, row["block"], row["word"] * 32 + row["pos"], row["bit_len"])
        for name, row in summary.items()
        if row["word"] is not None
    }
    return _chip_with(rows)


def _chip_with(rows: set[tuple[str, int, int, int]]) -> str | None:
    """The chip with the most fields at the same places."""
    best, likeness = None, _LEAST_LIKENESS
    for chip, known in _fields_of_chips():
        share = len(known & rows) / len(known | rows)
        if share > likeness:
            best, likeness = chip, share
    return best


@functools.cache
def _fields_of_chips() -> list[tuple[str, frozenset[tuple[str, int, int, int]]]]:
    """Name, block, first bit and width of the fields of all chips that the installed espefuse knows."""
    found = []
    for chip in CHIP_NAMES:
        for revision in (0, *(least for least, _ in FACTS[chip].efuse_tables)):
            try:
                fields = load_efuse_table(chip, revision).fields.values()
            except ToolError:
                continue
            found.append((chip, frozenset((field.name, field.block, field.start, field.bits) for field in fields)))
    return found


def _state(path: Path, summary: Summary, text: str) -> ChipState:
    try:
        if " dump: " in text:
            return parse_state(summary, text)
        return state_of(summary, _blocks(path, summary), coding_errors(text))
    except Stop as stop:
        raise _unreadable(path, stop.cause) from None


def _blocks(path: Path, summary: Summary) -> dict[int, bytes]:
    """The content of each block, put together from the raw values of its fields."""
    numbers: dict[int, int] = {}
    for name, row in summary.items():
        if "raw_value" not in row:
            raise SummaryError(
                "SE874",
                "the summary has no raw values: in it a field that is burned in part looks like one that is burned",
                cure="make it with esptool 4.12.0, 5.3.0 or later, or with: espefuse dump summary --format json",
                place=str(path),
            )
        if row["word"] is not None and row.get("category") != "MAC":
            raw = _raw(row)
            if raw is None:
                raise _unreadable(path, f"the raw value of {name[:40]!r} is not a number")
            numbers[row["block"]] = numbers.get(row["block"], 0) | raw << row["word"] * 32 + row["pos"]
    for name, row in summary.items():
        if row["word"] is not None and row.get("category") != "MAC" and row["readable"]:
            shown = numbers[row["block"]] >> row["word"] * 32 + row["pos"] & (1 << row["bit_len"]) - 1
            if shown != _raw(row):
                raise _unreadable(path, f"{name[:40]!r} contradicts a field that overlaps it")
    blocks = {number: value.to_bytes(_BLOCK_BITS // 8, "little") for number, value in numbers.items()}
    return {number: content if any(content[32:]) else content[:32] for number, content in blocks.items()}


def _raw(row: dict[str, Any]) -> int | None:
    """The bits of a field, its first bit lowest; byte strings are written with their first byte first."""
    text = row["raw_value"]
    if not isinstance(text, str) or not re.fullmatch(r"0x[0-9a-fA-F]+", text):
        return None
    number = int(text, 16)
    if number >> row["bit_len"]:
        return None
    if str(row.get("efuse_type", "")).startswith("bytes"):
        number = int.from_bytes(number.to_bytes(-(-row["bit_len"] // 8), "big"), "little")
    return number
