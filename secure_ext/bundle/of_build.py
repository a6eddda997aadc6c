# SPDX-License-Identifier: Apache-2.0
"""Notes that a bundle was made of a build, and tells whether the build has changed since.

The record helps the fronts that work on "the bundle of this build". A bundle is complete without it: one that is
elsewhere, or whose build directory is gone, is used as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from secure_ext.build.build import read_build
from secure_ext.bundle.inputs import inputs_of_build
from secure_ext.bundle.read import FinishedBundle
from secure_ext.bundle.record import Made, add_to_record, bundles_made, way_from
from secure_ext.doctor.decide import Decision
from secure_ext.errors import SecureProvisionError
from secure_ext.reading import IMAGE_LIMIT, read_file

_BUILD_FILES = {
    "sdkconfig": "the configuration",
    "flasher_args": "the list of images",
    "partition_table": "the partition table",
}


def record_bundle(build_dir: Path, folder: Path, decision: Decision, profile: Path | None) -> None:
    """Notes in the build directory that the bundle in `folder` was made of it."""
    paths = [*decision.policy.images.values(), *([profile] if profile else [])]
    paths += decision.policy.user_block.files
    paths += [path for image in decision.images if image.recipe is not None for path in image.recipe.inputs]
    inputs = {way_from(build_dir, path): digest for path in paths if (digest := _digest(path))}
    add_to_record(build_dir, Made(folder, inputs))


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
    then = bundle.manifest.inputs
    yield from (told for name, told in _BUILD_FILES.items() if getattr(then, name) != now[name])
    for image in bundle.manifest.images:
        source, path = files.get(image.offset, ("", None))
        if bundle.manifest.boot is not None and source != image.source:  # the app is elsewhere, OTA data are made
            source, path = next((file for file in files.values() if file[0] == image.source), ("", None))
        if path is not None and image.recipe is None and _digest(path) != image.source_sha256:
            yield source
    inputs = next((made.inputs for made in bundles_made(build_dir) if made.folder == bundle.folder.resolve()), {})
    for name, digest in inputs.items():
        if _digest(build_dir.resolve() / name) not in (digest, None):
            yield Path(name).name


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_file(path, IMAGE_LIMIT)).hexdigest()
    except OSError:
        return None
