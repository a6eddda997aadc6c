# SPDX-License-Identifier: Apache-2.0
"""JSON documents as frozen dataclasses: each member is read as the type that its annotation says, or refused.

A member without a default is always there. One with a default may be absent, as documents of earlier versions lack what
later ones have; it has its default then, and is left out again when it is written.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from secure_ext.station.frozen import frozen

NO_TEXT = r"\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069"
"""For a class of a regex: control characters, line breaks of any alphabet, and what turns the direction of text."""


@frozen
class Between:
    """Least and greatest value of a number."""

    least: int
    most: int


@frozen
class Matching:
    """A regular expression that the whole text matches."""

    pattern: str


@frozen
class Items:
    """How many items a list has at least, and whether one may be there twice."""

    least: int = 0
    different: bool = False


@frozen
class OneOf:
    """The texts that are allowed."""

    texts: tuple[str, ...]


Word32 = Annotated[int, Between(0, 0xFFFFFFFF)]
Line = Annotated[str, Matching(f"[^{NO_TEXT}]+")]
"""Text of one line that is not empty."""
Sha256 = Annotated[str, Matching("[0-9a-f]{64}")]
Fingerprint = Annotated[str, Matching("[0-9a-f]{32}")]

_UNIONS = (Union, getattr(types, "UnionType", Union))
_T = TypeVar("_T")
_MEMBERS: dict[Any, dict[str, tuple[Any, bool]]] = {}
"""The members of each kind of document that was asked for: looking them up takes a while."""


class DocumentFault(ValueError):
    """A document that is not what it should be: where, and what is wrong."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}" if place else what)
        self.place, self.what = place, what


def read_document(kind: type[_T], value: object, place: str = "") -> _T:
    """The dataclass `kind` from a value of JSON. Raises DocumentFault, with the place of the first fault."""
    if not isinstance(value, dict):
        raise DocumentFault(place, "it is not an object with members")
    members = members_of(kind)
    for name in value:
        if name not in members:
            raise DocumentFault(_below(place, name), "no such member is known here")
    found = {}
    for name, (hint, is_optional) in members.items():
        if name in value:
            found[name] = _read(hint, value[name], _below(place, name))
        elif not is_optional:
            raise DocumentFault(_below(place, name), "it is missing")
    return kind(**found)


def document_data(document: Any) -> Any:
    """The value of JSON that `read_document` makes the same of."""
    if dataclasses.is_dataclass(document):
        values = ((field, getattr(document, field.name)) for field in dataclasses.fields(document))
        return {field.name: document_data(value) for field, value in values if value != field.default}
    if isinstance(document, Mapping):
        return {name: document_data(value) for name, value in document.items()}
    if isinstance(document, (tuple, list)):
        return [document_data(item) for item in document]
    return document


def members_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The type of each member of a document, and whether it may be absent."""
    if kind not in _MEMBERS:
        hints = get_type_hints(kind, include_extras=True)
        _MEMBERS[kind] = {
            field.name: (hints[field.name], field.default is not dataclasses.MISSING)
            for field in dataclasses.fields(kind)
        }
    return _MEMBERS[kind]


def _below(place: str, name: object) -> str:
    return f"{place}.{str(name)[:40]}" if place else str(name)[:40]


def _read(hint: Any, value: object, place: str) -> Any:
    if type(value) is hint:
        return value
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *rules = get_args(hint)
        found = _read(inner, value, place)
        if found is not None:
            for rule in rules:
                _check_rule(rule, found, place)
        return found
    if origin is Literal:
        return _one_of(get_args(hint), value, place)
    if origin in _UNIONS:
        return _either(get_args(hint), value, place)
    if origin is tuple:
        return _items(get_args(hint), value, place)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(get_args(hint), value, place)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read_document(hint, value, place)
    if hint is not object:
        raise DocumentFault(place, f"{_shown(value)} is not {_IN_WORDS[hint]}")
    return value


_IN_WORDS = {int: "a whole number", str: "a text", bool: "true or false", type(None): "null"}


def _shown(value: object) -> str:
    """A value, short; nothing of an object or a list."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value)[:60]


def _check_rule(rule: object, value: Any, place: str) -> None:
    if isinstance(rule, Between) and not rule.least <= value <= rule.most:
        raise DocumentFault(place, f"{_shown(value)} is not from {rule.least} to {rule.most}")
    if isinstance(rule, Matching) and not re.fullmatch(rule.pattern, value):
        raise DocumentFault(place, f"{_shown(value)} is not written as it should be")
    if isinstance(rule, OneOf) and value not in rule.texts:
        raise DocumentFault(place, f"{_shown(value)} is not one of {', '.join(map(repr, rule.texts))}")
    if isinstance(rule, Items):
        if len(value) < rule.least:
            raise DocumentFault(place, f"it has fewer than {rule.least} items")
        if rule.different and len(set(value)) != len(value):
            raise DocumentFault(place, "an item is there twice")


def _one_of(allowed: tuple[Any, ...], value: object, place: str) -> object:
    if not any(type(value) is type(one) and value == one for one in allowed):
        if place == "schema":
            raise DocumentFault(place, f"{_shown(value)} is not {allowed[0]}: it was written by another version")
        raise DocumentFault(place, f"{_shown(value)} is not one of {', '.join(map(repr, allowed))}")
    return value


def _either(kinds: tuple[Any, ...], value: object, place: str) -> Any:
    """One of several types: null or another, plain ones, or dataclasses that say what they are in a member `kind`."""
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _read(kinds[0], value, place)
    if all(dataclasses.is_dataclass(kind) for kind in kinds):
        named = {get_args(members_of(kind)["kind"][0])[0]: kind for kind in kinds}
        if not isinstance(value, dict):
            raise DocumentFault(place, "it is not an object with members")
        return _read(named[_one_of(tuple(named), value.get("kind"), _below(place, "kind"))], value, place)
    for kind in kinds:
        if type(value) is kind:
            return value
    raise DocumentFault(place, f"{_shown(value)} is not {' or '.join(_IN_WORDS[kind] for kind in kinds)}")


def _items(hints: tuple[Any, ...], value: object, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise DocumentFault(place, f"{_shown(value)} is not a list")
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise DocumentFault(place, f"it has {len(value)} items, not {len(hints)}")
    return tuple(_read(hint, item, f"{place}[{index}]") for index, (hint, item) in enumerate(zip(hints, value)))


def _mapping(hints: tuple[Any, ...], value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DocumentFault(place, f"{_shown(value)} is not an object with members")
    names, values = hints
    return {
        _read(names, name, f"{place}: name"): _read(values, item, _below(place, name)) for name, item in value.items()
    }
