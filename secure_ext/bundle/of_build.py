"""Which bundles were made of a build, and whether it has changed since: a small record in the build directory.

The record helps the fronts that work on "the bundle of this build". A bundle is complete without it: one that is
elsewhere, or whose build directory is gone, is used as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from secure_ext.bundle.inputs import inputs_of_build
from secure_ext.bundle.read import FinishedBundle
from secure_ext.errors import SecureProvisionError
from secure_ext.plan.decide import Decision
from secure_ext.project.build import read_build

RECORD = "secure_provision_bundles.json"
"""In the build directory."""
_SCHEMA = 1
_BUILD_FILES = {
    "sdkconfig": "the configuration",
    "flasher_args": "the list of images",
    "partition_table": "the partition table",
}


@dataclass(frozen=True)
class Made:
    """A bundle that was made of a build.

    Attributes:
        folder: where, absolute.
        inputs: the files from outside the build that it was made of, keys excepted, with their SHA-256.
    """

    folder: Path
    inputs: Mapping[str, str]


def record_bundle(build_dir: Path, folder: Path, decision: Decision, profile: Path | None) -> None:
    """Notes in the build directory that the bundle in `folder` was made of it; the last one stands last.

    A build directory that cannot be written keeps what it has.
    """
    paths = [*decision.policy.images.values(), *([profile] if profile else [])]
    paths += [path for image in decision.images if image.recipe is not None for path in image.recipe.inputs]
    inputs = {_from(build_dir, path): digest for path in paths if (digest := _digest(path))}
    others = [made for made in bundles_made(build_dir) if made.folder != folder.resolve()]
    entries = [
        {"folder": _from(build_dir, made.folder), "inputs": made.inputs} for made in (*others, Made(folder, inputs))
    ]
    beside = build_dir / f".{RECORD}.{os.getpid()}.new"
    with contextlib.suppress(OSError):
        try:
            beside.write_text(json.dumps({"schema": _SCHEMA, "bundles": entries}, indent=2) + "\n", encoding="utf-8")
            beside.replace(build_dir / RECORD)
        finally:
            beside.unlink(missing_ok=True)


def bundles_made(build_dir: Path) -> tuple[Made, ...]:
    """The recorded bundles that are still there, the last one last; none where there is no record."""
    try:
        entries = json.loads((build_dir / RECORD).read_bytes())["bundles"]
        own = build_dir.resolve()
        made = [Made((own / entry["folder"]).resolve(), dict(entry["inputs"])) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ()
    return tuple(item for item in made if (item.folder / "manifest.json").is_file())


def is_of_build(folder: Path, build_dir: Path, default: Path) -> bool:
    """Whether the bundle in `folder` is one of this build directory: recorded, in it, or at the place `default`."""
    own = folder.resolve()
    recorded = (made.folder for made in bundles_made(build_dir))
    return own in recorded or own == default.resolve() or build_dir.resolve() in own.parents


def changes_since(bundle: FinishedBundle, build_dir: Path) -> tuple[str, ...]:
    """What of a build is not as it was when `bundle` was made of it; nothing if the build is gone or being made."""
    try:
        now, build = inputs_of_build(build_dir), read_build(build_dir)
    except SecureProvisionError:
        return ()
    return tuple(_changes(bundle, build_dir, now, {file.offset: (file.source, file.path) for file in build.files}))


def _changes(
    bundle: FinishedBundle, build_dir: Path, now: Mapping[str, str], files: Mapping[int, tuple[str, Path]]
) -> Iterator[str]:
    then = bundle.manifest.get("inputs", {})
    yield from (told for name, told in _BUILD_FILES.items() if then.get(name) != now[name])
    for image in bundle.manifest["images"]:
        source, path = files.get(image["offset"], ("", None))
        if path is not None and image.get("recipe") is None and _digest(path) != image.get("source_sha256"):
            yield source
    inputs = next((made.inputs for made in bundles_made(build_dir) if made.folder == bundle.folder.resolve()), {})
    for name, digest in inputs.items():
        if _digest(build_dir.resolve() / name) not in (digest, None):
            yield Path(name).name


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _from(build_dir: Path, path: Path) -> str:
    """The way from the build directory, so that a project may be moved as a whole; absolute on another drive."""
    try:
        return Path(os.path.relpath(path.resolve(), build_dir.resolve())).as_posix()
    except ValueError:
        return str(path.resolve())
