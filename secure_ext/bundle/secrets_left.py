# SPDX-License-Identifier: Apache-2.0
"""The secrets of a bundle and of its keys' home: which boards carry each, and what is lost with it; and their end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from secure_ext.atomic import left_over, moved_aside, only_run
from secure_ext.bundle.deleted_files import Remains, delete, files_below, linked_folders
from secure_ext.bundle.key_home import IDENTITY, KEYS_IGNORED, NO_KEYS, remove_if_empty
from secure_ext.bundle.read import FinishedBundle
from secure_ext.errors import InputError
from secure_ext.reading import IMAGE_LIMIT, read_file, read_json
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.frozen import frozen
from secure_ext.station.journal import board_journal

_LOST = {
    "flash_encryption_key": "their flash can never be written from outside again, only updated over the air; a board "
    "that is not finished and has no key yet cannot be provisioned from this bundle",
    "nvs_hmac_key": "NVS images for these boards can no longer be made on the host",
    "extra_key": "what the firmware did with it cannot be done outside of these boards: no JTAG token, no "
    "new signature key for the chip, no further use of its secret",
    "secure_boot_signing_key": "NO UPDATE CAN EVER BE SIGNED with it again; without another copy these boards keep "
    "their firmware for ever",
}


@frozen
class SecretFile:
    """A secret in one or several files.

    Attributes:
        paths: where it is: in the bundle, in the home of its keys, or in both.
        fingerprint: names its content.
        boards: MAC addresses of the boards that carry it, as the journal knows; None if it cannot tell.
        lost: what cannot be done any more without it.
    """

    paths: tuple[Path, ...]
    fingerprint: str
    boards: tuple[str, ...] | None
    lost: str

    @property
    def is_signing_key(self) -> bool:
        """Whether updates are signed with it."""
        return self.paths[0].name.startswith("secure_boot_signing_key")


def recorded_home(bundle: FinishedBundle) -> Path | None:
    """Where the home of the bundle's generated keys is, or was when it was made; None if it has none."""
    recorded = bundle.manifest.inputs.key_home
    return (bundle.folder.resolve() / recorded).resolve() if recorded else None


def is_home(folder: Path) -> bool:
    """Whether the folder is a home of generated keys."""
    return (folder / IDENTITY).is_file() and not (folder / "manifest.json").exists()


def secrets_left(bundle: FinishedBundle) -> tuple[SecretFile, ...]:
    """Every secret below the bundle's ``keys`` and in their home, those of earlier bundles in its place included.

    Raises InputError SE696 if one cannot be read.
    """
    folder, home = bundle.folder / "keys", recorded_home(bundle)
    files = [path for path in _below(folder) if path != folder / KEYS_IGNORED]
    if home is not None and is_home(home):
        files += _keys_at(home)
    return _secrets(files, folder, _boards(bundle), set(_burned_fingerprints(bundle)))


def secrets_at_home(home: Path) -> tuple[SecretFile, ...]:
    """Every secret in a home whose bundle is gone. Raises InputError SE696 if one cannot be read."""
    return _secrets(_keys_at(home), home, (), set())


def _keys_at(home: Path) -> list[Path]:
    """Also what a run that was killed has not finished."""
    return [path for path in _below(home) if path not in (home / name for name in NO_KEYS)]


def _secrets(files: Sequence[Path], current: Path, boards: tuple[str, ...], burned: set[str]) -> tuple[SecretFile, ...]:
    """`boards` carry what lies right in the folder `current`, or has a fingerprint that is `burned`."""
    places: dict[bytes, list[Path]] = {}
    for path in files:
        try:
            places.setdefault(read_file(path, IMAGE_LIMIT), []).append(path)
        except OSError as error:
            raise _cannot(path, "read", error) from None
    return tuple(
        SecretFile(
            tuple(paths),
            fingerprint(content),
            boards if paths[0].parent == current or fingerprint(content) in burned else None,
            next(
                (lost for name, lost in _LOST.items() if paths[0].name.startswith(name)), "what it is for is not known"
            ),
        )
        for content, paths in places.items()
    )


def _burned_fingerprints(bundle: FinishedBundle) -> Iterator[str]:
    yield from (key.fingerprint for key in bundle.manifest.keys if key.fingerprint)


def destroy(secrets: Sequence[SecretFile], folder: Path, home: Path | None) -> tuple[Remains, ...]:
    """Deletes the files, the folders below and including `folder` that are empty then, and a `home` without keys.

    Returns what is still there of them, by looking again.

    Raises InputError SE696 if one cannot be deleted; those before it are gone.
    """
    remains: list[Remains] = []
    for path in (path for secret in secrets for path in secret.paths):
        try:
            remains += delete([path])
        except OSError as error:
            raise _cannot(path, "deleted", error) from None
    try:
        for path in sorted([folder, *folder.rglob("*")], reverse=True):
            if (
                path.is_dir()
                and not path.is_symlink()
                and not any(item != folder / KEYS_IGNORED for item in path.iterdir())
            ):
                (path / KEYS_IGNORED).unlink(missing_ok=True)
                path.rmdir()
        if home is not None and is_home(home):
            remove_if_empty(home)
    except OSError as error:
        raise _cannot(Path(error.filename or folder), "deleted", error) from None
    return tuple(remains)


def not_looked_into(folder: Path, home: Path | None) -> list[Path]:
    """Links to folders, in which secrets may be, too. Raises InputError SE696 for a folder that cannot be read."""
    return [path for place in (folder, home) if place is not None for path in _below(place, linked_folders)]


def _below(folder: Path, look: Callable[[Path], list[Path]] = files_below) -> list[Path]:
    try:
        return look(folder)
    except OSError as error:
        raise _cannot(Path(error.filename or folder), "read", error) from None


def destroy_left_over(target: Path, say: Callable[[str], None]) -> None:
    """Deletes what runs that were killed have left beside `target`, which nobody needs any more.

    Names to `say` what is deleted; and an earlier bundle that was moved aside, which is not.

    Raises InputError SE696 if something cannot be deleted, SE705 if a run is writing `target`.
    """
    if left_over(target):
        try:
            with only_run(target):
                for folder in left_over(target):
                    shutil.rmtree(folder)
                    say(f"A run was killed and left keys behind in {folder}: destroyed.")
        except OSError as error:
            raise _cannot(target.parent, "deleted", error) from None
    for folder in moved_aside(target):
        say(f"A run was killed while it replaced an earlier bundle, which is now in {folder}: left alone.")
        say("  It may hold the only copy of keys that boards have. When it does not, run this command on it.")


def _boards(bundle: FinishedBundle) -> tuple[str, ...]:
    journals = sorted((bundle.folder / "journal").glob("*.json"))
    return tuple(path.stem for path in journals if board_journal(bundle.plan, path).burning_begun)


def boards_of_other_keys(bundle: FinishedBundle) -> int:
    """How many boards of the journal carry keys of an earlier bundle in this place."""
    known = set(_boards(bundle))
    others = 0
    for path in (bundle.folder / "journal").glob("*.json"):
        try:
            entry = read_json(path)
        except (OSError, ValueError):
            continue
        others += path.stem not in known and isinstance(entry, dict) and "burning_begun" in entry
    return others


def _cannot(path: Path, what: str, error: OSError) -> InputError:
    return InputError(
        "SE696",
        f"a secret of the bundle cannot be {what}: {error.strerror or error}",
        cure="check the permissions of the bundle's folder keys and of the keys' home, and run the command again",
        place=str(path),
    )
