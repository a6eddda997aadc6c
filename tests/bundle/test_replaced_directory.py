# SPDX-License-Identifier: Apache-2.0
"""A directory that appears whole or not at all, whatever happens while it is made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from secure_ext.atomic import Kind, replaced_directory
from secure_ext.errors import InputError

Snapshot = Callable[..., dict[str, tuple[int, bytes]]]
KilledRun = Callable[[Path], Path]


def begun(target: Path, **contents: str) -> None:
    target.mkdir()
    for name, text in contents.items():
        path = target / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def finish(folder: Path, name: str) -> None:
    manifest = {"tool": "idf-secure-provision 0", "name": name}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def name_of(folder: Path) -> str:
    name: str = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["name"]
    return name


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder / "bundle"


@pytest.fixture
def old(target: Path) -> Path:
    target.mkdir()
    finish(target, "old")
    (target / "journal").mkdir()
    (target / "journal" / "board.json").write_text("{}", encoding="utf-8")
    return target


def test_directory_appears_whole(target: Path) -> None:
    with replaced_directory(target) as folder:
        finish(folder, "new")
        assert not target.exists()
        assert folder.parent == target.parent and folder.stat().st_mode & 0o777 == 0o700
    assert name_of(target) == "new"
    assert list(target.parent.iterdir()) == [target]


def test_parents_are_made(tmp_path: Path) -> None:
    with replaced_directory(tmp_path / "a" / "b" / "bundle") as folder:
        finish(folder, "new")
    assert (tmp_path / "a" / "b" / "bundle" / "manifest.json").is_file()


def test_an_empty_directory_is_taken(target: Path) -> None:
    target.mkdir()
    with replaced_directory(target) as folder:
        finish(folder, "new")
    assert (target / "manifest.json").is_file()


def test_directory_is_replaced_and_some_of_it_kept(old: Path) -> None:
    (old / "left.txt").write_text("left", encoding="utf-8")
    with replaced_directory(old, keep=("journal", "absent")) as folder:
        finish(folder, "new")
        assert name_of(old) == "old"
    left = {path.relative_to(old).as_posix() for path in old.rglob("*") if path.is_file()}
    assert left == {"manifest.json", "journal/board.json"}
    assert name_of(old) == "new"
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError, InputError])
@pytest.mark.parametrize("exists", [False, True])
def test_nothing_is_left_after_an_error(
    error: type[BaseException], exists: bool, target: Path, snapshot: Snapshot
) -> None:
    if exists:
        begun(target, manifest__json="")
        finish(target, "old")
    before = snapshot(target.parent)
    raised = InputError("SE000", "a cause", cure="a cure") if error is InputError else error()
    with pytest.raises(error), replaced_directory(target) as folder:
        finish(folder, "new")
        raise raised
    assert snapshot(target.parent) == before


def test_an_error_of_the_disk_gets_its_code(old: Path, snapshot: Snapshot) -> None:
    before = snapshot(old.parent)
    with pytest.raises(InputError) as caught, replaced_directory(old) as folder:
        (folder / "missing" / "file").write_bytes(b"")
    assert caught.value.code == "SE702" and caught.value.place == str(old)
    assert snapshot(old.parent) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), SystemExit(143)])
def test_interrupted_while_the_journal_is_carried_over(
    error: BaseException, old: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    before = snapshot(old.parent)
    monkeypatch.setattr(shutil, "copytree", fail)
    with pytest.raises((InputError, type(error))), replaced_directory(old, keep=("journal",)) as folder:
        finish(folder, "new")
    monkeypatch.undo()
    assert snapshot(old.parent) == before


@pytest.mark.parametrize("error", [OSError(13, "Permission denied"), KeyboardInterrupt(), SystemExit(143)])
@pytest.mark.parametrize("failing", [1, 2])
def test_interrupted_while_directories_are_exchanged(
    failing: int, error: BaseException, old: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = Path.rename, 0

    def fail(path: Path, new: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise error
        return rename(path, new)

    before = snapshot(old.parent)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((InputError, type(error))), replaced_directory(old, keep=("journal",)) as folder:
        finish(folder, "new")
    monkeypatch.undo()
    assert snapshot(old.parent) == before


def test_a_second_run_is_refused(target: Path) -> None:
    """The later one would replace, and delete, keys that the earlier one has just generated."""
    with replaced_directory(target) as first:
        finish(first, "first")
        with pytest.raises(InputError) as raised, replaced_directory(target):
            raise AssertionError("it must not come to this")
        assert raised.value.code == "SE705"
    assert name_of(target) == "first"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("appears", ["a journal", "another bundle"])
def test_something_appears_between_the_two_renames(appears: str, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that provisions a board in this moment makes its journal there: the earlier bundle must not be lost."""
    rename, calls = Path.rename, 0

    def meet(path: Path, new: Path) -> Path:
        nonlocal calls
        calls += 1
        done = rename(path, new)
        if calls == 1:
            begun(old, journal__board="{}") if appears == "a journal" else begun(old, manifest__json="")
        return done

    monkeypatch.setattr(Path, "rename", meet)
    with pytest.raises(InputError) as raised, replaced_directory(old) as folder:
        finish(folder, "new")
    monkeypatch.undo()
    aside = Path(str(raised.value.place))
    assert (raised.value.code, name_of(aside)) == ("SE706", "old")
    assert sorted(old.parent.iterdir()) == [aside, old]


@pytest.mark.parametrize("error", [OSError(13, "Permission denied"), SystemExit(143)])
def test_neither_put_in_place_nor_put_back(error: BaseException, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something holds the directory, or a second signal comes: the earlier one is aside, and the next run finds it."""
    rename, calls = Path.rename, 0

    def fail(path: Path, new: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise error
        return rename(path, new)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((InputError, SystemExit)), replaced_directory(old) as folder:
        finish(folder, "new")
    monkeypatch.undo()
    assert not old.exists()
    with pytest.raises(ValueError, match="stop"), replaced_directory(old):
        raise ValueError("stop")
    assert name_of(old) == "old"
    assert list(old.parent.iterdir()) == [old]


FOREIGN_MANIFESTS = {
    "manifest of a web page": '{"name": "a web page"}',
    "manifest of another kind": '{"tool": "idf-secure-provision 0", "kind": "ota"}',
    "manifest of an unknown kind": '{"tool": "idf-secure-provision 0", "kind": []}',
    "broken manifest": "{",
    "list as manifest": "[]",
}
NO_BUNDLES = [
    "file",
    "link to a bundle",
    "link to an empty directory",
    "directory with files",
    "link to nothing",
    *FOREIGN_MANIFESTS,
]


@pytest.mark.parametrize("kind", NO_BUNDLES)
def test_what_is_no_bundle_is_left_alone(kind: str, target: Path, snapshot: Snapshot) -> None:
    if kind == "file":
        target.write_text("text", encoding="utf-8")
    elif kind == "directory with files":
        begun(target, text="text")
    elif kind in FOREIGN_MANIFESTS:
        begun(target, manifest__json=FOREIGN_MANIFESTS[kind])
    else:
        other = target.with_name("other")
        target.symlink_to(other)
        if kind != "link to nothing":
            other.mkdir()
        if kind == "link to a bundle":
            finish(other, "old")
    before = snapshot(target.parent)
    with pytest.raises(InputError) as caught, replaced_directory(target):
        raise AssertionError("it must not come to this")
    assert caught.value.code == "SE701"
    assert snapshot(target.parent) == before


def test_what_a_killed_run_left_is_removed_by_the_next(target: Path, killed_run: KilledRun) -> None:
    left, other = killed_run(target), killed_run(target.with_name(f"{target.name}.partial-x"))
    with replaced_directory(target) as folder:
        finish(folder, "new")
    assert (left.exists(), other.exists(), name_of(target)) == (False, True, "new")


@pytest.fixture
def aside(old: Path) -> Path:
    """Power has gone between the two renames: the earlier directory, with its keys, lies under another name."""
    path = old.with_name(f".{old.name}.old-abcd_123")
    old.rename(path)
    return path


@pytest.mark.parametrize("is_made_again", [False, True])
def test_power_lost_between_the_two_renames_costs_nothing(
    is_made_again: bool, target: Path, aside: Path, snapshot: Snapshot
) -> None:
    """Also if somebody, such as CMake, has made an empty directory since."""
    before = snapshot(aside)
    if is_made_again:
        target.mkdir()
    with pytest.raises(ValueError, match="stop"), replaced_directory(target):
        raise ValueError("stop")
    assert snapshot(target) == before
    assert list(target.parent.iterdir()) == [target]


def test_the_only_copy_is_never_removed(target: Path, aside: Path) -> None:
    """Something else is in its place: another bundle, an update package, signature requests."""
    with replaced_directory(target, Kind.UPDATE_PACKAGE) as folder:
        (folder / "manifest.json").write_text('{"tool": "idf-secure-provision 0", "kind": "ota"}', encoding="utf-8")
    assert name_of(aside) == "old"
    shutil.rmtree(target)
    with replaced_directory(target, Kind.SIGNATURE_REQUESTS) as folder:
        (folder / "requests.json").write_text("{}", encoding="utf-8")
    assert name_of(aside) == "old"
    shutil.rmtree(target)
    begun(target, journal__board="{}")
    finish(target, "another")
    with replaced_directory(target) as folder:
        finish(folder, "new")
    assert name_of(aside) == "old"
