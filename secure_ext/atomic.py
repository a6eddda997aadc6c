# SPDX-License-Identifier: Apache-2.0
"""A directory that appears whole or not at all, and of which nothing is lost, whatever ends a run.

Beside the directory NAME there are, while it is written:

- ``.NAME.lock``: held by the one run that writes.
- ``.NAME.partial-*`` (mode 0700): what the run makes, and in the end what it has replaced. A run that is killed leaves
  it; the next one removes it.
- ``.NAME.old-*``: NAME itself, for the moment in which the new one takes its place. After a kill it may be the only
  copy of keys: the next run brings it back, and none ever removes it.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from secure_ext.documents.glance import glance_at
from secure_ext.errors import InputError
from secure_ext.station.durable import make_folder_durably, sync_folder
from secure_ext.station.file_lock import hold

_MANIFEST = "manifest.json"
_RANDOM_CHARACTERS = 8
"""How many `tempfile.mkdtemp` appends."""
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class Kind(str, enum.Enum):
    """What a directory holds, as its manifest says; a bundle's says nothing."""

    BUNDLE = "bundle"
    UPDATE_PACKAGE = "ota"
    SIGNATURE_REQUESTS = "signature requests"


_NAMES = {
    Kind.BUNDLE: "a bundle",
    Kind.UPDATE_PACKAGE: "an update package",
    Kind.SIGNATURE_REQUESTS: "empty",
}


@contextlib.contextmanager
def replaced_directory(target: Path, kind: Kind = Kind.BUNDLE, *, keep: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yields an empty directory (mode 0700) beside `target`, which takes its place when the block ends without error.

    On any error, and on an interrupt, nothing is left behind and `target` is as it was. Of a `target` that is replaced,
    the entries named in `keep` are carried over.

    Raises InputError SE701 when `target` is something else than an earlier directory of this `kind`, SE702 when it
    cannot be written, SE705 when another run is writing it, SE706 when what was moved aside cannot be put back.
    """
    with contextlib.ExitStack() as stack:
        try:
            make_folder_durably(target.parent)
            stack.enter_context(only_run(target))
            _bring_back(target, kind)
            _refuse_foreign(target, kind)
            for folder in left_over(target):
                shutil.rmtree(folder, ignore_errors=True)
            new = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
            stack.callback(shutil.rmtree, new, ignore_errors=True)
        except OSError as error:
            raise _cannot_write(target, error) from None
        try:
            yield new
            _carry_over(keep, target, new)
            _exchange(new, target)
        except OSError as error:
            raise _cannot_write(target, error) from None


@contextlib.contextmanager
def only_run(target: Path) -> Iterator[None]:
    """Keeps other runs from writing `target`.

    Raises InputError SE705 if one is writing it, OSError if that cannot be found out.
    """
    path = target.parent / f".{target.name}.lock"
    lock = _locked(path, target)
    try:
        yield
    finally:
        if os.name == "nt":
            lock.close()  # what is open, here or in another run, is not removed on Windows
        with contextlib.suppress(OSError):
            path.unlink()
        lock.close()


def left_over(target: Path) -> list[Path]:
    """What runs that were killed have left beside `target` and nobody needs, keys perhaps; for the `only_run`."""
    return _beside(target, "partial")


def moved_aside(target: Path) -> list[Path]:
    """Earlier directories that were being replaced when a run was killed; their keys may be nowhere else."""
    return _beside(target, "old")


def _beside(target: Path, what: str) -> list[Path]:
    pattern = glob.escape(f".{target.name}.{what}-") + "?" * _RANDOM_CHARACTERS
    return sorted(target.parent.glob(pattern))


def _locked(path: Path, target: Path) -> TextIO:
    while True:
        lock = _opened(path)
        try:
            hold(lock)
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        except FileNotFoundError:
            pass  # the run that has just ended has removed it
        except OSError as error:
            lock.close()
            if error.errno not in _HELD:
                raise
            raise InputError(
                "SE705",
                "another run is writing this output",
                cure="wait until it has ended, or give another directory with -o",
                place=str(target),
            ) from None
        lock.close()


def _opened(path: Path) -> TextIO:
    """The file of the lock. One of another user, left by a run with sudo for example, can be locked without writing it.

    Raises InputError SE944 if not even that is possible.
    """
    try:
        return os.fdopen(os.open(path, _LOCK_FLAGS, 0o644), "a", encoding="ascii")
    except PermissionError:
        if not os.path.lexists(path):
            raise
    try:
        return os.fdopen(os.open(path, _LOCK_FLAGS & ~(os.O_RDWR | os.O_CREAT | os.O_APPEND)), encoding="ascii")
    except PermissionError:
        raise InputError(
            "SE944",
            "the lock of this output belongs to another user: a run as root, perhaps, which goes on or was killed",
            cure="if no run of another user is going on, delete the file; or give another directory with -o",
            place=str(path),
        ) from None


def _bring_back(target: Path, kind: Kind) -> None:
    """Power that went between the two renames of an exchange has left the earlier directory, with its keys, aside."""
    aside = [path for path in moved_aside(target) if _kind_of(path) is kind]
    if aside and not target.is_symlink() and (not target.exists() or _is_empty(target)):
        if target.exists():
            target.rmdir()
        max(aside, key=lambda path: path.stat().st_mtime).rename(target)


def _refuse_foreign(target: Path, kind: Kind) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if target.is_symlink() or not (_is_empty(target) or _kind_of(target) is kind):
        raise InputError(
            "SE701",
            f"the output exists already and is not {_NAMES[kind]}",
            cure="give another directory with -o, or remove this one",
            place=str(target),
        )


def _is_empty(target: Path) -> bool:
    return target.is_dir() and not any(target.iterdir())


def _kind_of(folder: Path) -> Kind | None:
    """None if it is not from this tool: other programs, too, write a manifest.json."""
    seen = glance_at(folder)
    if seen is None or seen.kind not in ("", *(kind.value for kind in Kind)):
        return None
    return Kind(seen.kind) if seen.kind else Kind.BUNDLE


def _carry_over(names: tuple[str, ...], target: Path, new: Path) -> None:
    for name in names:
        if (target / name).exists() and not (new / name).exists():
            shutil.copytree(target / name, new / name)


def _exchange(new: Path, target: Path) -> None:
    """Puts `new` in the place of `target`, and what was there in the place of `new`."""
    new.chmod(0o755 & ~_umask())
    if not target.exists():
        new.rename(target)
        sync_folder(target.parent)
        return
    if hasattr(os, "sync"):
        os.sync()  # what was carried over must be on the disk before the only other copy goes
    aside = target.parent / new.name.replace(".partial-", ".old-")
    try:
        target.rename(aside)
        new.rename(target)
    except BaseException as error:
        _put_back(aside, target, error)
        raise
    with contextlib.suppress(OSError):
        aside.rename(new)
    sync_folder(target.parent)


def _put_back(aside: Path, target: Path, error: BaseException) -> None:
    """Raises InputError SE706 if that is not possible."""
    with contextlib.suppress(OSError):
        if aside.exists() and not target.exists():
            aside.rename(target)
    if aside.exists():
        raise InputError(
            "SE706",
            "the new output could not be put in its place, and the earlier one, with its keys, was moved aside",
            cure=f"move it back to {target} by hand, then run again",
            place=str(aside),
        ) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _cannot_write(target: Path, error: OSError) -> InputError:
    return InputError(
        "SE702",
        f"the output cannot be written: {error.strerror or error}",
        cure="check the permissions, the free space and that files can be locked there, or give another place with -o",
        place=str(target),
    )
