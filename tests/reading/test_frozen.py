# SPDX-License-Identifier: Apache-2.0
"""`frozen` makes what ``@dataclass(frozen=True)`` makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_ext.station.frozen import frozen


def example(decorator: Callable[[type], type]) -> Any:
    """One class with each kind of field that the project has."""

    class Base:
        name: str
        key: bytes = field(repr=False)

    class Example(decorator(Base)):  # type: ignore[misc]
        size: int = 4
        labels: list[str] = field(default_factory=list)
        place: str = field(default="", compare=False)
        found: dict[str, int] = field(default_factory=dict, hash=False)

        def __str__(self) -> str:
            return f"<{self.name}>"

    return decorator(Example)


OURS, THEIRS = example(frozen), example(dataclass(frozen=True))
VALUES = {
    "name": st.text(max_size=3),
    "key": st.binary(max_size=3),
    "size": st.integers(0, 2),
    "labels": st.just([]),
    "place": st.text(max_size=2),
    "found": st.just({}),
}
ARGUMENTS = st.tuples(
    st.lists(st.integers(0, 2), max_size=7), st.dictionaries(st.sampled_from([*VALUES, "x"]), st.none())
)


def outcome(call: Callable[[], object]) -> object:
    """What a call gives, or the class of its error."""
    try:
        return call()
    except Exception as error:
        return type(error)


@given(ARGUMENTS)
def test_it_takes_the_same_arguments(arguments: tuple[list[int], dict[str, None]]) -> None:
    values, named = arguments
    assert outcome(lambda: dataclasses.asdict(OURS(*values, **named))) == outcome(
        lambda: dataclasses.asdict(THEIRS(*values, **named))
    )


@given(st.fixed_dictionaries(VALUES), st.fixed_dictionaries(VALUES))
def test_equal_shown_and_hashed_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    ours, theirs = [(kind(**one), kind(**other)) for kind in (OURS, THEIRS)]
    assert (ours[0] == ours[1]) == (theirs[0] == theirs[1])
    assert repr(ours[0]) == repr(theirs[0]) and "key" not in repr(ours[0])
    assert ours[0] != theirs[0] and str(ours[0]) == f"<{one['name']}>"
    assert outcome(lambda: hash(ours[0])) is outcome(lambda: hash(theirs[0])) is TypeError  # a list is in it


def test_hash_is_that_of_the_compared_fields() -> None:
    ours, theirs = OURS("a", b"k", labels=(), place="b"), THEIRS("a", b"k", labels=(), place="c")
    assert hash(ours) == hash(theirs)
    assert len({ours, dataclasses.replace(ours, place="d"), dataclasses.replace(ours, size=5)}) == 2


def test_nothing_of_it_changes() -> None:
    one = OURS("a", b"")
    for name in ("name", "new"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, name, "b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.name
    assert one.name == "a"


def test_each_instance_has_defaults_of_its_own_and_matches_by_place() -> None:
    assert OURS("a", b"").labels is not OURS("a", b"").labels
    match OURS("a", b"k", 7):
        case OURS(name, key, 7):
            assert (name, key) == ("a", b"k")
        case _:
            pytest.fail("no match")
    assert [one.name for one in dataclasses.fields(OURS)] == list(VALUES)
