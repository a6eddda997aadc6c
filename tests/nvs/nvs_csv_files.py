# SPDX-License-Identifier: Apache-2.0
"""CSVs for the tests: random ones, and a way to write them down."""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from secure_ext.formats.nvs_csv import INTEGERS, LONGEST_STRING

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-#,\"' ", min_size=1, max_size=15)
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0\r")
TAME = st.characters(codec="ascii", exclude_characters="\0\r#")
"""Without what the generator's own command gets wrong: `binary` that is not ASCII, and # after a line break."""
SIZES = st.sampled_from([0, 1, 31, 32, 33, 500, 3900, 3968, 4000, 4001, 9000]) | st.integers(0, 300)


@dataclass(frozen=True)
class Row:
    """A row of a CSV, and what NVS has to hold for it; both None for a namespace."""

    cells: tuple[str, str, str, str]
    kind: str = ""
    value: int | str | bytes = 0


@st.composite
def values(draw: st.DrawFn, name: str, characters: st.SearchStrategy[str]) -> Row:
    encoding = draw(st.sampled_from([*INTEGERS, "string", "string", "hex2bin", "base64", "binary"]))
    if encoding in INTEGERS:
        signed, bits = INTEGERS[encoding]
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        number = draw(st.sampled_from([low, high, 0]) | st.integers(low, high))
        return Row((name, "data", encoding, str(number)), encoding, number)
    if encoding == "string":
        text = draw(st.text(characters, max_size=60) | st.just("x" * LONGEST_STRING))
        return Row((name, "data", encoding, text), "string", text)
    if encoding == "binary":
        text = draw(st.text(characters, max_size=60))
        return Row((name, "data", encoding, text), "blob", text.encode())
    blob = draw(st.binary(max_size=64)) or bytes(range(256)) * 40
    blob = (blob * 500)[: draw(SIZES)]
    text = blob.hex() if encoding == "hex2bin" else base64.b64encode(blob).decode()
    return Row((name, "data", encoding, text), "blob", blob)


@st.composite
def csv_rows(draw: st.DrawFn, *, tame: bool = False) -> list[Row]:
    """Rows of some namespaces, which may be taken up again later; `tame`: none that the generator's command spoils."""
    characters = TAME if tame else CHARACTERS
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    order = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=tame))
    keys = {name: iter(draw(st.lists(NAMES, min_size=12, max_size=12, unique=True))) for name in names}
    rows = []
    for name in order:
        rows.append(Row((name, "namespace", "", "")))
        rows += [draw(values(next(keys[name]), characters)) for _ in range(draw(st.integers(0, 3)))]
    return rows


def expected(rows: list[Row]) -> dict[tuple[str, str], tuple[str, int | str | bytes]]:
    """What NVS has to hold: kind and value, by namespace and key."""
    wanted: dict[tuple[str, str], tuple[str, int | str | bytes]] = {}
    namespace = ""
    for row in rows:
        if row.cells[1] == "namespace":
            namespace = row.cells[0]
        else:
            wanted[namespace, row.cells[0]] = (row.kind, row.value)
    return wanted


def write_csv(path: Path, rows: list[Row]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    text.write("key,type,encoding,value\n# a comment\n")
    writer.writerows(row.cells for row in rows)
    path.write_bytes(text.getvalue().encode())
    return path
