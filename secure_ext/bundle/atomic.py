"""A directory that appears whole or not at all."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from secure_ext.errors import InputError
from secure_ext.keys.locked_folder import left_over_folders, locked_folder

_MANIFEST = "manifest.json"
_NEW, _OLD = "new", "old"


class Kind(str, enum.Enum):
    """What a directory holds, as its manifest says; a bundle's says nothing."""

    BUNDLE = "bundle"
    UPDATE_PACKAGE = "ota"


@contextlib.contextmanager
def replaced_directory(target: Path, kind: Kind = Kind.BUNDLE, *, keep: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yields an empty directory (mode 0700) beside `target`, which takes its place when the block ends without error.

    On any error, and on an interrupt, nothing is left behind and `target` is as it was. Of a `target` that is replaced,
    the entries named in `keep` are carried over. Two runs at once each leave a whole directory; the later one stays.

    Raises InputError SE701 when `target` is something else than an earlier directory of this `kind`, SE702 when it
    cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            _bring_back(target)
            _refuse_foreign(target, kind)
            remove_left_over(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            place, _ = stack.enter_context(locked_folder(target.parent, _prefix(target)))
            new = place / _NEW
            new.mkdir(mode=0o700)
        except OSError as error:
            raise _cannot_write(target, error) from None
        try:
            yield new
            _carry_over(keep, target, new)
            _exchange(new, target)
        except OSError as error:
            raise _cannot_write(target, error) from None


def remove_left_over(target: Path) -> None:
    """Removes what `left_over` finds."""
    for folder in left_over(target):
        shutil.rmtree(folder, ignore_errors=True)


def left_over(target: Path) -> list[Path]:
    """What runs that were killed have left beside `target`, keys perhaps."""
    return left_over_folders(target.parent, _prefix(target))


def _prefix(target: Path) -> str:
    return f".{target.name}.partial-"


def _bring_back(target: Path) -> None:
    """Power that went between the two renames of an exchange has left the earlier directory, with its keys, aside."""
    aside = [folder / _OLD for folder in left_over(target) if (folder / _OLD).is_dir()]
    if aside and not target.exists():
        max(aside, key=lambda path: path.stat().st_mtime).rename(target)


def _refuse_foreign(target: Path, kind: Kind) -> None:
    if not target.exists() and not target.is_symlink():
        return
    is_empty = target.is_dir() and not any(target.iterdir())
    if not is_empty and (target.is_symlink() or _kind_of(target) is not kind):
        name = "a bundle" if kind is Kind.BUNDLE else "an update package"
        raise InputError(
            "SE701",
            f"the output exists already and is not {name}",
            cure="give another directory with -o, or remove this one",
            place=str(target),
        )


def _kind_of(folder: Path) -> Kind | None:
    """None if it is not from this tool: other programs, too, write a manifest.json."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        is_ours = str(manifest["tool"]).startswith("idf-secure-provision ")
        return Kind(manifest.get("kind", Kind.BUNDLE)) if is_ours else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _carry_over(names: tuple[str, ...], target: Path, new: Path) -> None:
    for name in names:
        if (target / name).exists() and not (new / name).exists():
            shutil.copytree(target / name, new / name)


def _exchange(new: Path, target: Path) -> None:
    """Puts `new` in the place of `target`; whatever happens, one whole directory is there afterwards."""
    old = new.with_name(_OLD)
    new.chmod(0o755 & ~_umask())
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _cannot_write(target: Path, error: OSError) -> InputError:
    return InputError(
        "SE702",
        f"the output cannot be written: {error.strerror or error}",
        cure="check the permissions and the free space, or give another directory with -o",
        place=str(target),
    )
