# SPDX-License-Identifier: Apache-2.0
"""`frozen`: the standard library's frozen dataclass, quick to define.

``dataclasses`` writes six methods a class as text and compiles them at every start of a program: a quarter of the time
of a command. Here all classes share methods that were compiled once. Fields, `replace`, `asdict` and `match` are those
of ``dataclasses``.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: object) -> Any:
        """Tells type checkers what a decorator does, and does nothing itself."""
        return lambda decorator: decorator


_Class = TypeVar("_Class", bound=type)


class _Shape(NamedTuple):
    """What the shared methods know of a class: names of fields, in their order."""

    taken: tuple[str, ...]
    defaults: dict[str, Field[Any]]
    shown: tuple[str, ...]
    compared: tuple[str, ...]
    hashed: tuple[str, ...]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: _Class) -> _Class:
    """``@dataclass(frozen=True)`` for classes whose fields are all taken by ``__init__``, and none by keyword only."""
    made: Any = dataclass(init=False, repr=False, eq=False)(cls)
    known = fields(made)
    made._frozen_shape = _Shape(
        taken=tuple(one.name for one in known),
        defaults={one.name: one for one in known if (one.default, one.default_factory) != (MISSING, MISSING)},
        shown=tuple(one.name for one in known if one.repr),
        compared=tuple(one.name for one in known if one.compare),
        hashed=tuple(one.name for one in known if (one.compare if one.hash is None else one.hash)),
    )
    for method in (_init, _repr, _eq, _hash, _setattr, _delattr):
        setattr(made, f"_{method.__name__}__", method)
    finished: _Class = made
    return finished


def _init(self: Any, /, *values: object, **named: object) -> None:
    shape: _Shape = self._frozen_shape
    state: dict[str, object] = vars(self)
    state.update(zip(shape.taken, values))
    state.update(named)
    once = len(state) == len(values) + len(named)
    if len(state) < len(shape.taken):
        for name, default in shape.defaults.items():
            if name not in state:
                state[name] = default.default if default.default_factory is MISSING else default.default_factory()
    if not once or len(state) != len(shape.taken) or not all(name in state for name in shape.taken):
        raise TypeError(f"{type(self).__name__} takes {', '.join(shape.taken)}")


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._frozen_shape.shown)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return all(getattr(self, name) == getattr(other, name) for name in self._frozen_shape.compared)


def _hash(self: Any) -> int:
    return hash(tuple(getattr(self, name) for name in self._frozen_shape.hashed))


def _setattr(self: Any, name: str, _: object) -> None:
    raise FrozenInstanceError(f"cannot assign to {name!r} of {type(self).__name__}")


def _delattr(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete {name!r} of {type(self).__name__}")
