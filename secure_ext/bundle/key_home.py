# SPDX-License-Identifier: Apache-2.0
"""The home of generated keys: a private folder that `idf.py fullclean` and `set-target` do not reach.

``<place>/<chip>-<output>-<8 hex digits>/``, where the place is ``secure_keys`` in the project or what ``keys.home``
names. There is one for each project, chip and output directory, so that none shares its keys by accident, and each
finds its own again after the build directory was deleted. The digits are a hash of all three, and ``home.json`` says
them in full.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from secure_ext.build.build import Build
from secure_ext.bundle.ways import way
from secure_ext.errors import InputError, UsageError
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.own_files import require_own, require_own_place
from secure_ext.reading import KEY_FILE_LIMIT, read_file, read_json
from secure_ext.station.durable import make_folder_durably, sync_folder
from secure_ext.station.frozen import frozen

PLACE = "secure_keys"
"""The folder in the project that holds the homes, unless ``keys.home`` names another."""
IDENTITY = "home.json"
SUPERSEDED = "superseded"
"""Folder for keys that are not used any more; boards may carry them."""

_README = b"""\
Keys that secure-provision generated for one project, chip and output directory; home.json says which.

Boards carry these keys. Without them they can never be given another firmware over the cable, and without a signing key
never any update at all. Back this folder up where nobody else can read it. When the last board is done,
`secure-provision keys destroy` on this folder, or on the bundle, shows what is lost with each key, and deletes them.
"""
KEYS_IGNORED = ".gitignore"
"""The file, in a home and in a bundle's folder keys, that keeps all of that folder out of git."""
_README_NAME = "README.txt"
NO_KEYS = (IDENTITY, KEYS_IGNORED, _README_NAME)
"""The files of a home that are not keys."""
_NAME_LENGTH = 40


@frozen
class KeyHome:
    """The home of the keys of one project, chip and output.

    Attributes:
        folder: where it is, or will be.
        project: name of the project.
        chip: ESP-IDF's name of the chip.
        output: the way from the homes' place to the output directory.
    """

    folder: Path
    project: str
    chip: str
    output: str

    @property
    def exists(self) -> bool:
        """Whether keys were put there before."""
        return os.path.lexists(self.folder)

    @property
    def ignored(self) -> bytes:
        """The content of KEYS_IGNORED, here and in bundles: it says whose home the keys have, and takes in nothing."""
        return f"# secrets of {self.folder.name}: never commit them\n*\n".encode()

    def require_right(self) -> None:
        """Raises InputError SE735 if it may be somebody else's, SE736 if it cannot be read, SE738 if it is another's.

        One that does not exist is right.
        """
        if not self.exists:
            return
        try:
            require_own_place(self.folder.parent)
            require_own(self.folder, self.folder / IDENTITY)
            identity = read_json(self.folder / IDENTITY)
        except FileNotFoundError:
            identity = None
        except OSError as error:
            raise _cannot(self.folder, "read", error) from None
        except ValueError:
            identity = None
        if identity != self._identity():
            raise InputError(
                "SE738",
                f"this folder is not the home of the keys of project {self.project}, {self.chip}: its {IDENTITY} says "
                "something else, or is missing",
                cure=f"if it was copied or renamed, put it back; else move it away. Its {IDENTITY} says whose keys "
                "they are",
                place=str(self.folder),
            )

    def file(self, name: str) -> Path | None:
        """The key of that name, None if there is none. Raises InputError SE735, SE736 if it cannot be trusted, read."""
        path = self.folder / name
        try:
            if not os.path.lexists(path):
                return None
            require_own(path)
            read_file(path, KEY_FILE_LIMIT)
        except OSError as error:
            raise _cannot(path, "read", error) from None
        return path

    def contents(self) -> set[bytes]:
        """The content of every key in it. Raises InputError SE736."""
        try:
            return {read_file(path, KEY_FILE_LIMIT) for path in key_files(self.folder)}
        except OSError as error:
            raise _cannot(self.folder, "read", error) from None

    def add(self, name: str, data: bytes) -> None:
        """Writes a key, which is whole or not there whatever ends the run; makes the home if need be.

        Raises InputError SE736 if that is not possible.
        """
        try:
            self._make()
            _write_whole(self.folder / name, data)
        except OSError as error:
            raise _cannot(self.folder, "written", error) from None

    def _make(self) -> None:
        """All at once: a home without an identity would be nobody's."""
        if self.exists:
            return
        new = self.folder.with_name(f".{self.folder.name}.partial")
        shutil.rmtree(new, ignore_errors=True)
        make_folder_durably(new, 0o700)
        identity = (json.dumps(self._identity(), indent=2) + "\n").encode()
        for name, content in {KEYS_IGNORED: self.ignored, _README_NAME: _README, IDENTITY: identity}.items():
            write_secret_file(new / name, content)
        new.rename(self.folder)
        sync_folder(self.folder.parent)

    def _identity(self) -> dict[str, object]:
        return {"schema": 1, "project": self.project, "chip": self.chip, "output": self.output}


def home_of(place: Path, project: str, chip: str, output: Path) -> KeyHome:
    """The home in `place` of the keys of a project's bundle for `chip` in the directory `output`."""
    place = place.resolve()
    to_output = way(place, output)
    digest = hashlib.sha256("\n".join((project, chip, to_output)).encode()).hexdigest()[:8]
    named = re.sub(r"[^A-Za-z0-9_]+", "-", to_output.replace("..", "")).strip("-")[-_NAME_LENGTH:].strip("-")
    return KeyHome(place / "-".join(filter(None, (chip, named, digest))), project, chip, to_output)


def place_for(build: Build, named: Path | None, output: Path) -> Path:
    """Where the homes are: the `named` folder, or ``secure_keys`` in the project.

    A build that came here without its project has them beside the output, or beside the build directory for an output
    in there.

    Raises UsageError SE737 for a place that is deleted with the build directory or replaced with the bundle.
    """
    build_dir, output = build.build_dir.resolve(), output.resolve()
    beside = build_dir if build_dir in output.parents else output
    place = (named or (build.project_dir or beside.parent) / PLACE).resolve()
    for folder, what in ((build_dir, "the build directory, which `idf.py fullclean` deletes"), (output, "the bundle")):
        if folder == place or folder in place.parents:
            raise UsageError(
                "SE737",
                f"generated keys would have their only home in {what}",
                cure="name a folder elsewhere: --key-home DIR, or keys.home in the profile",
                place=str(place),
            )
    return place


def ignores_all(content: bytes) -> bool:
    """Whether a .gitignore keeps all of its folder out of git: it has one rule, and for the rest comments."""
    return [line for line in content.splitlines() if not line.startswith(b"#")] == [b"*"]


def key_files(folder: Path) -> list[Path]:
    """The keys in a home, those not used any more included."""
    others = {folder / name for name in NO_KEYS}
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in files if path not in others and not path.name.startswith("."))


def remove_if_empty(folder: Path) -> None:
    """Removes a home that holds no key any more. Raises OSError if that is not possible."""
    if not key_files(folder):
        shutil.rmtree(folder)


def _write_whole(path: Path, data: bytes) -> None:
    """Raises OSError; InputError SE631 of the writing itself."""
    beside = path.with_name(f".{path.name}.partial")
    beside.unlink(missing_ok=True)
    write_secret_file(beside, data)
    beside.replace(path)
    sync_folder(path.parent)


def _cannot(path: Path, what: str, error: OSError) -> InputError:
    return InputError(
        "SE736",
        f"the home of generated keys cannot be {what}: {error.strerror or error}",
        cure="check the owner, the permissions and the free space; or name another place with --key-home DIR, or "
        "keys.home in the profile",
        place=str(path),
    )
