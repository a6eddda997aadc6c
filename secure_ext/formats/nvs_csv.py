# SPDX-License-Identifier: Apache-2.0
"""Reading the CSV of an NVS partition: every value checked and named, before anything is made of it.

The form is that of ESP-IDF's ``nvs_partition_gen`` (``components/nvs_flash/nvs_partition_generator/README.rst``): a
header ``key,type,encoding,value``, then a row for each namespace and each value; lines that begin with ``#`` are
comments. Values are secrets as a rule: they are in no message and in no ``repr``.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from secure_ext.errors import InputError
from secure_ext.reading import read_file
from secure_ext.station.frozen import frozen

LONGEST_KEY = 15
"""Bytes of the name of a key or a namespace (``NVS_KEY_NAME_MAX_SIZE`` - 1)."""
LONGEST_STRING = 3967
"""Bytes: with its closing zero a string has to leave room for two entries of 32 bytes on one page."""
LONGEST_BLOB = 508_000
"""Bytes, ESP-IDF's limit for ``nvs_set_blob``."""
MOST_NAMESPACES = 254
_CSV_LIMIT = 0x800000
"""Bytes of the CSV, and of a file that it names."""

INTEGERS = {f"{sign}{bits}": (sign == "i", bits) for sign in "ui" for bits in (8, 16, 32, 64)}
"""Encodings of whole numbers: whether signed, and how many bits."""
_BLOBS = ("hex2bin", "base64", "binary")
_COLUMNS = ("key", "type", "encoding", "value")


@frozen
class NvsValue:
    """One value. `kind` is an encoding of `INTEGERS`, ``string`` or ``blob``; `value` an int, str or bytes after it."""

    namespace: str
    key: str
    kind: str
    value: int | str | bytes = field(repr=False)


@frozen
class NvsCsv:
    """What a CSV wants in NVS.

    Attributes:
        path: the file.
        sha256: hash of the file, lower-case hex.
        namespaces: in the order in which they first appear.
        values: by namespace, in the order of the file within each.
        files: the files that its rows of type ``file`` name.
    """

    path: Path
    sha256: str
    namespaces: tuple[str, ...]
    values: tuple[NvsValue, ...]
    files: tuple[Path, ...]


def read_nvs_csv(path: Path) -> NvsCsv:
    """Reads a CSV and the files it names, whose paths are relative to the folder of the CSV.

    Raises InputError SE330 (unreadable), SE332 (not of this form), SE333 (unknown type or encoding), SE334 (a value
    that the encoding does not take), SE335 (a key twice), SE336 (a file it names is unreadable).
    """
    try:
        content = read_file(path, _CSV_LIMIT)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(
            "SE330",
            f"the NVS CSV cannot be read: {reason}",
            cure="check the path (in a profile it is relative to the profile); the file is text in UTF-8",
            place=str(path),
        ) from None
    return _Reader(path).read(text, hashlib.sha256(content).hexdigest())


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, list[NvsValue]] = {}
        self._files: list[Path] = []
        self._line = 0
        self._is_in_row = False

    def read(self, text: str, sha256: str) -> NvsCsv:
        csv.field_size_limit(max(csv.field_size_limit(), 2 * LONGEST_BLOB))
        rows = csv.reader(self._lines(text), strict=True)
        columns: list[str] | None = None
        namespace: str | None = None
        try:
            for cells in rows:
                self._line, self._is_in_row = rows.line_num, False
                if not cells:
                    continue
                if columns is None:
                    columns = self._header(cells)
                    continue
                row = self._row(columns, cells)
                if row["type"] == "namespace":
                    namespace = self._namespace(row["key"])
                else:
                    self._value(namespace, row)
        except csv.Error as error:
            self._line = rows.line_num
            raise self._malformed(f"a row cannot be read ({error})") from None
        if not self._values:
            raise self._malformed("there is no namespace in it")
        values = tuple(value for group in self._values.values() for value in group)
        return NvsCsv(self._path, sha256, tuple(self._values), values, tuple(self._files))

    def _lines(self, text: str) -> Iterator[str]:
        """The lines, comments as empty ones; within a value that spans several lines there are no comments."""
        for line in io.StringIO(text, newline=None):
            if line.startswith("#") and not self._is_in_row:
                yield "\n"
            else:
                self._is_in_row = True
                yield line

    def _header(self, cells: list[str]) -> list[str]:
        if sorted(cells) != sorted(_COLUMNS):
            raise self._malformed("the first line is not `key,type,encoding,value`")
        return cells

    def _row(self, columns: list[str], cells: list[str]) -> dict[str, str]:
        row = dict(zip(columns, cells, strict=False))
        names_namespace = row.get("type") == "namespace" and "key" in row
        if len(cells) > len(columns) or (len(cells) < len(columns) and not names_namespace):
            raise self._malformed(f"the row has {len(cells)} cells; a value that holds a comma needs quotes")
        key = row["key"].encode()
        if not 1 <= len(key) <= LONGEST_KEY or b"\0" in key:
            raise self._malformed(f"the name in the first cell is not 1 to {LONGEST_KEY} bytes long")
        return row

    def _namespace(self, name: str) -> str:
        self._values.setdefault(name, [])
        if len(self._values) > MOST_NAMESPACES:
            raise self._malformed(f"it has more than {MOST_NAMESPACES} namespaces")
        return name

    def _value(self, namespace: str | None, row: dict[str, str]) -> None:
        key, type_, encoding = row["key"], row["type"], row["encoding"]
        is_file = type_ == "file"
        if type_ not in ("data", "file"):
            raise self._error("SE333", f"the type of {key!r} is not one", "the types are namespace, data and file")
        known = ("string", *_BLOBS) if is_file else (*INTEGERS, "string", *_BLOBS)
        if encoding not in known:
            raise self._error(
                "SE333", f"the encoding of {key!r} is not one for type {type_}", f"the encodings are {', '.join(known)}"
            )
        if namespace is None:
            raise self._malformed(f"{key!r} stands before the first row of type namespace")
        if any(value.key == key for value in self._values[namespace]):
            raise self._error(
                "SE335",
                f"namespace {namespace!r} has the key {key!r} twice",
                "keep one of them; what the firmware would read is not defined",
            )
        content = self._file(key, row["value"]) if is_file else row["value"].encode()
        try:
            value = _decoded(encoding, content)
        except (ValueError, binascii.Error):
            raise self._error("SE334", f"the value of {key!r} is not one for {encoding}", _EXPECTED[encoding]) from None
        kind = "blob" if encoding in _BLOBS else encoding
        self._values[namespace].append(NvsValue(namespace, key, kind, value))

    def _file(self, key: str, name: str) -> bytes:
        path = self._path.parent / name
        try:
            content = read_file(path, _CSV_LIMIT)
        except OSError as error:
            reason = error.strerror or str(error)
            raise self._error(
                "SE336",
                f"the file for {key!r} cannot be read: {reason}",
                "check the path; it is relative to the folder of the CSV",
            ) from None
        self._files.append(path)
        return content

    def _malformed(self, reason: str) -> InputError:
        return self._error(
            "SE332",
            f"this is not a CSV for NVS: {reason}",
            "write it as ESP-IDF's NVS Partition Generator wants it: key,type,encoding,value",
        )

    def _error(self, code: str, cause: str, cure: str) -> InputError:
        return InputError(code, cause, cure=cure, place=f"{self._path}: line {self._line}")


_EXPECTED = {
    **{
        name: f"give a whole decimal number from {-(1 << (bits - 1)) if signed else 0} to "
        f"{(1 << (bits - 1 if signed else bits)) - 1}"
        for name, (signed, bits) in INTEGERS.items()
    },
    "string": f"give UTF-8 text without zero bytes, at most {LONGEST_STRING} bytes; more fits into a blob",
    "hex2bin": f"give pairs of hex digits, for at most {LONGEST_BLOB} bytes",
    "base64": f"give base64, for at most {LONGEST_BLOB} bytes",
    "binary": f"give at most {LONGEST_BLOB} bytes",
}


def _decoded(encoding: str, content: bytes) -> int | str | bytes:
    """The value; raises ValueError if the encoding does not take it."""
    if encoding in INTEGERS:
        return _integer(*INTEGERS[encoding], content)
    if encoding == "string":
        if len(content) > LONGEST_STRING or b"\0" in content:
            raise ValueError
        return content.decode()
    if encoding == "hex2bin":
        content = binascii.a2b_hex(content.strip())
    elif encoding == "base64":
        content = base64.b64decode(b"".join(content.split()), validate=True)
    if len(content) > LONGEST_BLOB:
        raise ValueError
    return content


def _integer(signed: bool, bits: int, content: bytes) -> int:
    if not re.fullmatch(rb"\s*[+-]?[0-9]{1,20}\s*", content):
        raise ValueError
    value = int(content)
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    if not low <= value < high:
        raise ValueError
    return value
