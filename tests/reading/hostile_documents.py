# SPDX-License-Identifier: Apache-2.0
"""Spoils documents: what a damaged disk, another program or somebody who means harm makes of a good one."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 256, 1 << 31, 1 << 63, 10**30, 10**4000, 1.0, 1.5),
    *(
        "",
        "x",
        "0" * 64,
        "\0",
        "a\0b",
        "\ud800",
        "a\nb",
        "a\r\nb",
        "\x1b[2J",
        "\u202e",
        "../../x",
        "/dev/zero",
        "~",
        ".",
    ),
    *("x" * 300, "x" * 70_000, "esp32", "app", "burn_key", "generate", "per-device", "pkcs11:token=x", "{", "%s%n"),
    *([], [1], [[]], ["x"], [{}], [1] * 5_000, {}, {"a": 1}, {"": {}}, {"schema": 1}),
)
_RAW = ("1e400", "-1e400", "NaN", "Infinity", "9" * 5000, "0x10", '"\\ud800\\ud800"', "[" * 50 + "]" * 50)
"""Values as JSON's text has them, or must not have them."""
_WHOLE = (b"", b"null", b"[]", b"{}", b'""', b"0", b"[" * 200_000, b'{"a":' * 50_000, b"\xff\xfe{\0}\0", b"\0" * 1000)
_HOLE = "@hole@"


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in ((*path, key), *_places(inner, (*path, key)))]


def spoilt_json(content: bytes, dice: random.Random) -> bytes:
    """A JSON document with members of other types, huge, missing, twice, deep, half, or with damaged bytes."""
    if dice.random() < 0.15:
        return spoilt_bytes(content, dice)
    document = json.loads(content)
    raw = _HOLE
    for _ in range(dice.randint(1, 2)):
        places = _places(document)
        if not places:
            break
        *parents, last = dice.choice(places)
        inner = document
        for key in parents:
            inner = inner[key]
        how = dice.random()
        if how < 0.5:
            inner[last] = copy.deepcopy(dice.choice(_ODD))
        elif how < 0.65:
            del inner[last]
        elif how < 0.75 and isinstance(inner, dict):
            inner[dice.choice(("", "x", "schema", "\0", "\ud800", "../x", "a\nb", "x" * 300))] = inner[last]
        elif how < 0.75:
            inner.append(copy.deepcopy(dice.choice((*_ODD, inner[last]))))
        elif how < 0.9:
            inner[last] = _HOLE
            raw = dice.choice(_RAW)
        elif isinstance(inner, dict):
            inner[f"{last}{_HOLE}"] = copy.deepcopy(dice.choice(_ODD))
            raw = ""
    return json.dumps(document, indent=dice.choice((None, 2))).replace(f'"{_HOLE}"', raw).replace(_HOLE, raw).encode()


def spoilt_text(content: bytes, dice: random.Random) -> bytes:
    """A text with lines that are missing, twice, exchanged or filled with something else."""
    if dice.random() < 0.2:
        return spoilt_bytes(content, dice)
    lines = content.decode().splitlines(keepends=True)
    for _ in range(dice.randint(1, 3)):
        at, other = dice.randrange(len(lines) + 1), dice.randrange(len(lines) + 1)
        how = dice.random()
        if how < 0.2:
            del lines[at : at + 1]
        elif how < 0.4:
            lines.insert(other, lines[at] if at < len(lines) else "\n")
        elif at < len(lines):
            words = lines[at].replace(",", " , ").replace(":", " : ").split(" ")
            odd = dice.choice((*_ODD, *_RAW, "&a", "*a", "!!python/object:os.system x", "- - -", "'", '"', "\t", "#"))
            words[dice.randrange(len(words))] = str(odd).replace("\ud800", "?")
            lines[at] = " ".join(words).replace(" , ", ",").replace(" : ", ":")
    return "".join(lines).encode()


def spoilt_bytes(content: bytes, dice: random.Random) -> bytes:
    """Bytes that are cut off, changed, longer, or others altogether."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(data) + 1) if dice.random() < 0.5 else dice.randrange(min(len(data), 400) + 1)
        how = dice.random()
        if how < 0.2:
            del data[at:]
        elif how < 0.5:
            data[at : at + 4] = dice.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0"))
        elif how < 0.75 and at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        elif how < 0.85:
            data[at:at] = dice.randbytes(dice.choice((1, 7, 4096)))
        elif how < 0.9:
            data += dice.choice((b"\0", b"\xff", data[:64])) * dice.choice((1, 4096, 70_000))
        else:
            return dice.choice((*_WHOLE, dice.randbytes(len(content) or 1)))
    return bytes(data)


Spoiler = Callable[[bytes, random.Random], bytes]
