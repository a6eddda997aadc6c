# SPDX-License-Identifier: Apache-2.0
"""How files and documents from outside are read: sizes first, regular files only, nothing that is said twice."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secure_ext.station.one_line import is_one_line

if TYPE_CHECKING:
    from yaml.nodes import Node

KEY_FILE_LIMIT = 0x10000
"""Bytes of a key file; a PEM file with a chain of certificates beside the key is about a tenth of it."""
DOCUMENT_LIMIT = 0x400000
"""Bytes of a JSON document, or of a text; a value of JSON takes up to 30 times its bytes in memory."""
IMAGE_LIMIT = 0x4000000
"""Bytes of an image: no chip runs a larger one."""
PROFILE_LIMIT = 0x40000
"""Bytes of a profile."""
_MOST_LEVELS = 64
"""Of a JSON document: lists and objects in one another."""
_MOST_NODES = 20_000
"""Values in a YAML document, with each alias counted as what it stands for."""
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:]', re.DOTALL)
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_file(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    A pipe, a device or a socket is not read: it may never end, and is empty the next time.

    Raises OSError, whose `strerror` says what is wrong, also for another kind of file or a larger one, and for a name
    that no file can have.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError:  # a zero byte, or half a character
        raise OSError(errno.EINVAL, "no file can have that name", str(path)) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file, but a pipe or a device", str(path))
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit} bytes, so it is not such a file", str(path))
    return content


def read_json(path: Path, *, lines: bool = True) -> Any:
    """The value of the JSON document in a file of at most DOCUMENT_LIMIT bytes; `lines` as for `parse_json`.

    Raises OSError as `read_file` does, ValueError as `parse_json` does.
    """
    return parse_json(read_file(path, DOCUMENT_LIMIT), lines=lines)


def parse_json(content: bytes | str, *, fractions: bool = True, lines: bool = True) -> Any:
    """The value of a JSON document.

    Args:
        content: its text, as UTF-8 if it is bytes.
        fractions: whether its numbers may be other than whole.
        lines: whether its texts may have line breaks and control characters.

    Raises ValueError if it is not one; also for a member that is there twice, for NaN, Infinity and what is as large,
    which JSON does not have, for half characters and zero bytes, which no file or no name of one can hold, and for a
    nesting that nobody writes.
    """
    if len(content) > DOCUMENT_LIMIT:
        raise ValueError(f"it is larger than {DOCUMENT_LIMIT} bytes")
    text = content if isinstance(content, str) else content.decode("utf-8")
    number = _finite if fractions else _no_fraction
    try:
        value = json.loads(text, object_pairs_hook=_members, parse_float=number, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except _Twice:
        raise ValueError(_what_is_there_twice(text)) from None
    _check_levels(value, lines=lines)
    return value


def _check_levels(value: object, *, lines: bool) -> None:
    """Raises ValueError for too many levels, and for text that holds half a character or what `lines` excludes."""
    level = [value]
    for _ in range(_MOST_LEVELS):
        below: list[object] = []
        for item in level:
            if isinstance(item, str):
                item.encode()
                if "\0" in item:
                    raise ValueError(f"it holds a zero byte: {item[:80]!r}")
                if not (lines or is_one_line(item)):
                    raise ValueError(f"it holds a line break or a control character: {item[:80]!r}")
            elif isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
        if not below:
            return
        level = below
    raise ValueError("it is nested too deeply")


class _Twice(Exception):
    """A member is there twice; json does not say where."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Twice
    return members


def _what_is_there_twice(text: str) -> str:
    """The first member that is there twice in the text of a JSON document, with its lines."""
    objects: list[dict[str, int]] = []
    name, line, end = "", 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", end, token.start())
        end = token.start()
        if token[0] in "{[":
            objects.append({})
        elif token[0] in "}]":
            objects.pop()
        elif token[0] != ":":
            name = json.loads(token[0], strict=False)
        elif objects and name in objects[-1]:
            return f"line {line}: {name[:80]!r} is there already, in line {objects[-1][name]}"
        elif objects:
            objects[-1][name] = line
    return "a member is there twice"


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_constant(digits[:80])


def _no_fraction(digits: str) -> float:
    raise ValueError(f"{digits[:80]} is not a whole number")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def parse_yaml(content: bytes) -> object:
    """The value of a YAML document, read as YAML 1.1 without tags of its own.

    Raises UnicodeDecodeError if it is not text; ValueError, which names the line and shows nothing of the content (a
    key may have been pasted there), if it is not such a document; also for a key that is there twice, and for aliases
    that stand for more than anybody means.
    """
    import yaml  # noqa: PLC0415 (slow to import, and only needed here)

    try:
        node = yaml.compose(content.decode("utf-8"), Loader=yaml.SafeLoader)
        if node is None:
            return None
        _check_nodes(node)
        return yaml.safe_load(content.decode("utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{_without_quotes(error.problem or error.context or 'not YAML')}") from None
    except yaml.YAMLError:
        raise ValueError("it holds characters that are not allowed in YAML") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _without_quotes(problem: str) -> str:
    """PyYAML's message without what it quotes of the document."""
    return problem.split("'", maxsplit=1)[0].strip().rstrip(",:") or "not YAML"


def _check_nodes(root: Node) -> None:
    """Raises ValueError for a key that is there twice, and for what is too large once its aliases are followed."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size_of(node: Node) -> int:
        if id(node) in open_nodes:
            raise ValueError(f"line {node.start_mark.line + 1}: it holds itself")
        if id(node) not in sizes:
            open_nodes.add(id(node))
            sizes[id(node)] = 1 + sum(map(size_of, _children(node)))
            open_nodes.remove(id(node))
        if sizes[id(node)] > _MOST_NODES:
            raise ValueError(f"line {node.start_mark.line + 1}: it stands for more than {_MOST_NODES} values")
        return sizes[id(node)]

    size_of(root)


def _children(node: Node) -> Iterable[Node]:
    from yaml.nodes import MappingNode, ScalarNode, SequenceNode  # noqa: PLC0415 (slow to import, and only needed here)

    if isinstance(node, SequenceNode):
        return list(node.value)
    if not isinstance(node, MappingNode):
        return ()
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            line = key.start_mark.line + 1
            if key.value in seen:
                name = key.value if len(key.value) <= 40 else "a key"
                raise ValueError(f"line {line}: {name} is there already, in line {seen[key.value]}")
            seen[key.value] = line
    return [child for pair in node.value for child in pair]
