# SPDX-License-Identifier: Apache-2.0
"""Files of a build that lie neither in it nor in its project: a build from elsewhere takes no file of this machine.

``flasher_args.json`` names every file that goes into flash, and what goes into flash leaves with the bundle.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from secure_ext.build.build import Build
from secure_ext.errors import InputError

OPTION = "--allow-files-in"


def require_inside(build: Build, allowed: Sequence[Path] = ()) -> None:
    """Raises InputError SE670 for a file that is outside of build, project, ESP-IDF and what is `allowed`.

    Links are followed: what counts is where the bytes are.
    """
    roots = [folder.resolve() for folder in (*_own_folders(build), *allowed)]
    for file in build.files:
        path = file.path.resolve()
        if not any(root in path.parents for root in roots):
            raise InputError(
                "SE670",
                f"the build wants a file in the flash that is neither in it nor in its project: {path}",
                cure=f"if it belongs there, allow its folder with {OPTION} {path.parent}; else do not use this build, "
                "which would take a file of this computer with it",
                place=f"{build.build_dir / 'flasher_args.json'}: {file.name}",
            )


def _own_folders(build: Build) -> Iterator[Path]:
    """The build, its project, and the ESP-IDF of this environment. What a build says of its project is not believed."""
    yield build.build_dir
    project = build.project_dir.resolve() if build.project_dir else None
    if project in build.build_dir.resolve().parents and project and (project / "CMakeLists.txt").is_file():
        yield project
    if os.environ.get("IDF_PATH"):
        yield Path(os.environ["IDF_PATH"])
