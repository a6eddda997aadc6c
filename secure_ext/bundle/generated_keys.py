# SPDX-License-Identifier: Apache-2.0
"""The generated keys of one run: found in their home, taken over from an earlier bundle, or new."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import field
from pathlib import Path

from secure_ext.bundle.earlier import EarlierBundle
from secure_ext.bundle.key_home import SUPERSEDED, KeyHome
from secure_ext.errors import InputError
from secure_ext.reading import IMAGE_LIMIT, read_file
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen


class KeyState(str, enum.Enum):
    """Where a generated key came from."""

    NEW = "new"
    KEPT = "kept"
    TAKEN_OVER = "taken over"


@frozen
class GeneratedKey:
    """A key that no file was named for.

    Attributes:
        name: of its file, in the bundle's folder keys and in its home.
        state: where it came from.
        data: the file's content.
        path: where it was found; None for a new one.
    """

    name: str
    state: KeyState
    data: bytes = field(repr=False)
    path: Path | None = None

    def as_dict(self) -> dict[str, str | None]:
        """For ``--format json``."""
        found = None if self.path is None else str(self.path)
        return {"file": self.name, "state": self.state.value, "fingerprint": fingerprint(self.data), "from": found}


class GeneratedKeys:
    """Looks keys up, and in the end writes to the home what is not in it yet.

    Args:
        home: where they live.
        earlier: the bundle of the same project and chip that is being replaced, None if there is none.

    Raises InputError SE735 to SE738 of the home, SE735, SE942 of the earlier bundle's keys: also if none is used, for
    they are kept.
    """

    def __init__(self, home: KeyHome, earlier: EarlierBundle | None) -> None:
        home.require_right()
        self.home = home
        self._earlier = earlier
        self.earlier_keys = tuple(earlier.own_keys()) if earlier is not None else ()
        """The keys of the bundle that is being replaced."""
        self._keys: list[GeneratedKey] = []

    @property
    def keys(self) -> tuple[GeneratedKey, ...]:
        """Those that the run uses."""
        return tuple(self._keys)

    @property
    def found(self) -> tuple[tuple[str, Path], ...]:
        """Names and places of those that were generated before."""
        return tuple((key.name, key.path) for key in self._keys if key.path is not None)

    @property
    def new(self) -> tuple[str, ...]:
        """The names of those that no board can have yet."""
        return tuple(key.name for key in self._keys if key.state is KeyState.NEW)

    def find(self, name: str) -> Path | None:
        """The file of a key that was generated before; None if it is to be generated now.

        Raises InputError SE734 if home and earlier bundle have different ones, SE735 if somebody else may have put it
        there, SE736 if the home cannot be read.
        """
        at_home = self.home.file(name)
        bundled = next((path for path in self.earlier_keys if path == self._in_earlier(name)), None)
        if at_home is not None and bundled is not None and _content(at_home) != _content(bundled):
            raise InputError(
                "SE734",
                f"there are two different keys {name}: the bundle that is to be replaced has the one with fingerprint "
                f"{fingerprint(_content(bundled))}, the home of generated keys the one with "
                f"{fingerprint(_content(at_home))}",
                cure=f"find out which one your boards have. To use the one in the home, move the bundle away; to use "
                f"the bundle's, move {at_home} away; or name the right one's file",
                place=str(bundled),
            )
        path = at_home or bundled
        if path is not None:
            state = KeyState.KEPT if at_home else KeyState.TAKEN_OVER
            self._keys.append(GeneratedKey(name, state, _content(path), path))
        return path

    def add(self, name: str, data: bytes) -> None:
        """Notes a key that was generated now."""
        self._keys.append(GeneratedKey(name, KeyState.NEW, data))

    def store(self) -> None:
        """Writes to the home what is not in it yet; also keys of a bundle of earlier releases that are not used now.

        Raises InputError SE631, SE736 if that is not possible.
        """
        for name, data in self._missing_at_home():
            self.home.add(name, data)

    @property
    def uses_home(self) -> bool:
        """Whether there is a home, or will be once the keys are stored."""
        return bool(self._keys) or self.home.exists or bool(self._missing_at_home())

    def _missing_at_home(self) -> list[tuple[str, bytes]]:
        missing = [(key.name, key.data) for key in self._keys if key.state is not KeyState.KEPT]
        if self._earlier is not None and not self._earlier.records_home:
            known = self.home.contents() | {key.data for key in self._keys}
            missing += [
                (f"{SUPERSEDED}/{superseded_name(path, data)}", data)
                for path, data in _unknown_keys(self._earlier.keys, self.earlier_keys, known)
            ]
        return missing

    def _in_earlier(self, name: str) -> Path | None:
        return None if self._earlier is None else self._earlier.keys / name


def keep_keys_of_another(earlier: EarlierBundle, home: KeyHome) -> None:
    """Before the bundle of another project or chip is replaced: puts its keys into their own `home`.

    Raises InputError SE631, SE735, SE736, SE738, SE942.
    """
    home.require_right()
    for path, data in _unknown_keys(earlier.keys, earlier.own_keys(), home.contents()):
        is_current = path.parent == earlier.keys and home.file(path.name) is None
        home.add(path.name if is_current else f"{SUPERSEDED}/{superseded_name(path, data)}", data)


def superseded_name(path: Path, data: bytes) -> str:
    """The name under which a key that is not used any more is kept."""
    return f"{path.stem.partition('.')[0]}.{fingerprint(data)}"


def _unknown_keys(folder: Path, files: Iterable[Path], known: set[bytes]) -> Iterator[tuple[Path, bytes]]:
    """Of the `files` below a bundle's folder keys those not `known`; half of a key is known with the whole."""
    known = set(known)
    for path in sorted(files, key=lambda path: (path.parent != folder, path.name)):  # the whole before its halves
        data = _content(path)
        if not any(data in content for content in known):
            known.add(data)
            yield path, data


def _content(path: Path) -> bytes:
    try:
        return read_file(path, IMAGE_LIMIT)
    except OSError as error:
        raise InputError(
            "SE942",
            f"a key that was generated before cannot be read: {error.strerror or error}",
            cure="check its owner and its permissions, or name another key's file",
            place=str(path),
        ) from None
