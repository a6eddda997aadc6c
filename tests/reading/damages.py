# SPDX-License-Identifier: Apache-2.0
"""Damages of a document: each a text that its reader must refuse, made of the JSON of a sound one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Damage = Callable[[dict[str, Any]], str]
"""Makes the damaged text of a sound document."""
_HOLE = "@hole@"


def raw(text: str, *path: str | int) -> Damage:
    """The text in place of the value at a path: also what is not JSON."""

    def damage(document: dict[str, Any]) -> str:
        inner: Any = document
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = _HOLE
        return json.dumps(document, indent=2).replace(f'"{_HOLE}"', text)

    return damage


def value(new: object, *path: str | int) -> Damage:
    """Another value at a path, or one more member."""
    return raw(json.dumps(new), *path)


def missing(name: str) -> Damage:
    """A member is left out."""
    return lambda document: json.dumps({key: item for key, item in document.items() if key != name})


def twice(name: str) -> Damage:
    """A member is there twice, the second time with the same value."""
    return lambda document: json.dumps(document)[:-1] + f", {json.dumps(name)}: {json.dumps(document[name])}}}"


def _whole(text: str) -> Damage:
    return lambda _: text


EVERYWHERE: Mapping[str, Damage] = {
    "nothing": _whole(""),
    "a list": _whole("[]"),
    "half of it": lambda document: json.dumps(document)[: len(json.dumps(document)) // 2],
    "nested lists": _whole("[" * 100_000),
    "a nested member": raw("[" * 60 + "]" * 60, "chip"),
    "more than any document": lambda document: json.dumps(document) + " " * 0x400000,
    "not UTF-8": lambda document: json.dumps({**document, "chip": "\udcff"}, ensure_ascii=False),
    "schema 2": value(2, "schema"),
    "schema true": value(True, "schema"),
    "no schema": missing("schema"),
    "an unknown member": value(1, "more"),
    "chip unknown": value("esp8266", "chip"),
    "chip a number": value(32, "chip"),
    "chip null": value(None, "chip"),
    "a member twice": twice("chip"),
}
"""What no document may be."""


def _number(*path: str | int) -> dict[str, Damage]:
    """What a whole number may not be."""
    place = ".".join(map(str, path))
    return {
        f"{place}: {text[:8]}": raw(text, *path)
        for text in ("1.5", '"1"', "-1", "NaN", "Infinity", "1e400", "1.0", "true", "null", "1" + "0" * 30, "[1]")
    }


PLAN: Mapping[str, Damage] = {
    **EVERYWHERE,
    **_number("min_revision"),
    **_number("steps", 2, "block_number"),
    **{name: damage for name, damage in _number("images", 0, "offset").items() if "1.0" in name or "1.5" in name},
    "steps no list": value({}, "steps"),
    "no steps": value([], "steps"),
    "a step null": value(None, "steps", 0),
    "an unknown kind": value("reset", "steps", 0, "kind"),
    "no kind": value({}, "steps", 0),
    "length a text": value("32", "steps", 2, "length"),
    "length 10**30": value(10**30, "steps", 2, "length"),
    "length 0": value(0, "steps", 2, "length"),
    "a path elsewhere": value("images/../../x.bin", "images", 0, "file"),
    "two lines": value("a\nb", "steps", 0, "title"),
    "an unknown member of a step": value(1, "steps", 0, "more"),
    "requirements null": value(None, "requirements", "flash_end"),
}
MANIFEST: Mapping[str, Damage] = {
    **EVERYWHERE,
    **_number("images", 0, "size"),
    "flash_size 0": value(0, "flash_size"),
    "images no list": value({}, "images"),
    "an image null": value(None, "images", 0),
    "an unknown role": value("kernel", "images", 0, "role"),
    "a hash too short": value("0" * 63, "images", 0, "sha256"),
    "a file elsewhere": value("0" * 64, "files", "../outside"),
    "a secret listed": value("0" * 64, "files", "keys/flash_encryption_key.bin"),
    "an option of a fraction": value(1.5, "inputs", "options", "more"),
    "an option that is not a number": raw("NaN", "inputs", "options", "more"),
    "settings a list": value([], "settings"),
    "two lines": value("a\nb", "project"),
    "an unknown member of an image": value(1, "images", 0, "more"),
}
REHEARSAL: Mapping[str, Damage] = {
    **EVERYWHERE,
    "passed 1": value(1, "passed"),
    "passed a text": value("true", "passed"),
    "means no list": value({}, "means"),
    "no means": value([], "means"),
    "a means null": value(None, "means", 0),
    "a means that is not a number": raw("NaN", "means", 0, "passed"),
    "a date of words": value("yesterday", "date"),
    "boot_log numbers": raw("[1.5]", "boot_log"),
    "power_cuts too large": raw("1e400", "power_cuts"),
    "an unknown member of a means": value(1, "means", 0, "more"),
}
