# SPDX-License-Identifier: Apache-2.0
"""The bundle that stands already where a new one is to be made: whose it is, and whether it may be replaced."""

from __future__ import annotations

import os
from pathlib import Path

from secure_ext.build.build import Build
from secure_ext.bundle.key_home import KEYS_IGNORED
from secure_ext.documents.glance import glance_at
from secure_ext.errors import InputError
from secure_ext.keys.own_files import own_files_below, require_own, require_own_document
from secure_ext.station.frozen import frozen

_MANIFEST = "manifest.json"


@frozen
class EarlierBundle:
    """A bundle that stands where a new one is to be made.

    Attributes:
        folder: where it is.
        chip: its chip.
        project: name of its project.
        build_dir: the build directory it was made from; None if it does not say, as those of earlier releases.
        records_home: whether its generated keys were given a home; those of earlier releases are in its folder keys
            alone.
    """

    folder: Path
    chip: str
    project: str
    build_dir: Path | None
    records_home: bool

    @property
    def keys(self) -> Path:
        """Its folder with keys, which need not be there."""
        return self.folder / "keys"

    def own_keys(self) -> list[Path]:
        """The keys in it and below, old ones included; none if it has no such folder.

        Whoever may write anywhere on the way to them, or the manifest that says whose they are, may have planted them.

        Raises InputError SE735 then, and SE942 if they cannot be looked at.
        """
        try:
            if not os.path.lexists(self.keys):
                return []
            require_own(self.folder)
            require_own_document(self.folder / _MANIFEST)
            return [path for path in own_files_below(self.keys) if path != self.keys / KEYS_IGNORED]
        except OSError as error:
            raise InputError(
                "SE942",
                f"the keys of the bundle that is to be replaced cannot be looked at: {error.strerror or error}",
                cure="check the owner and the permissions of its folder keys, or give another directory with -o",
                place=str(error.filename or self.keys),
            ) from None

    def is_of(self, build: Build) -> bool:
        """Whether it is of the same project and chip: then its keys are the new bundle's."""
        return (self.chip, self.project) == (build.chip, build.project_name)


def read_earlier(output: Path) -> EarlierBundle | None:
    """The bundle in `output`; None if there is none, or its manifest does not say what it is."""
    seen = glance_at(output)
    if seen is None or not seen.chip:
        return None
    build_dir = (output.resolve() / seen.build_dir).resolve() if seen.build_dir else None
    return EarlierBundle(output, seen.chip, seen.project, build_dir, seen.records_home)


def refuse_another(earlier: EarlierBundle, build: Build) -> None:
    """Raises InputError SE739 if the earlier bundle is of another chip, project or build directory than the new one."""
    new_dir = build.build_dir.resolve()
    other_dir = earlier.build_dir is not None and earlier.build_dir != new_dir
    if earlier.is_of(build) and not other_dir:
        return
    there = f"project {earlier.project}, {earlier.chip}" + (f", built in {earlier.build_dir}" if other_dir else "")
    new = f"project {build.project_name}, {build.chip}" + (f", built in {new_dir}" if other_dir else "")
    raise InputError(
        "SE739",
        f"a bundle of something else is in the output directory: {there}. The new one is of {new}",
        cure="give each its own directory with -o (in menuconfig the name can hold {target}); --replace puts the new "
        "one in its place, and the keys of the other stay in their home",
        place=str(earlier.folder),
    )
