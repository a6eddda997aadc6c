# SPDX-License-Identifier: Apache-2.0
"""Writes a configuration into the project: nothing that somebody else has made, and only what is not there yet."""

from __future__ import annotations

import os
from pathlib import Path

from secure_ext.configure.configuration import HEADING_BEGINS, Configuration
from secure_ext.errors import InputError
from secure_ext.station.durable import write_durably


def write_configuration(configuration: Configuration, *, to_sdkconfig: bool) -> tuple[Path, ...]:
    """Writes what is not there yet; returns those files.

    Raises InputError SE117 (cannot be written), SE119 (a file that somebody else has made is in the way).
    """
    wanted = [(configuration.defaults_file, configuration.defaults)]
    if configuration.table.rewrites:
        wanted.insert(0, (configuration.table.csv, configuration.table.after))
    if to_sdkconfig and configuration.applied.lacking:
        wanted.append((configuration.project.sdkconfig, configuration.sdkconfig))
    new = [(path, text.encode()) for path, text in wanted if not _has_content(path.resolve(), text.encode())]
    for path, _ in new:
        _refuse_foreign(path, configuration)
    written: list[Path] = []
    for path, content in new:
        try:
            mode = path.stat().st_mode & 0o777 if path.exists() else None
            write_durably(path.resolve(), content)  # a link stays one
            if mode is not None:
                path.chmod(mode)
        except OSError as error:
            done = ", ".join(str(one) for one in written)
            raise _not_writable(path, f"{error.strerror}" + (f"; written before it: {done}" if done else "")) from None
        written.append(path)
    return tuple(written)


def _has_content(path: Path, content: bytes) -> bool:
    """Raises InputError SE117 if something else than a file is there, or the folder may not be written."""
    if path.exists() and not path.is_file():
        raise _not_writable(path, "it is not a file")
    if not os.access(path.parent, os.W_OK):
        raise _not_writable(path, "the folder may not be written")
    return path.is_file() and path.read_bytes() == content


def _refuse_foreign(path: Path, configuration: Configuration) -> None:
    is_ours = True
    if path == configuration.defaults_file:
        is_ours = not path.exists() or path.read_bytes().startswith(HEADING_BEGINS.encode())
    elif path == configuration.table.csv:
        is_ours = not path.exists() or path.read_bytes() == configuration.table.before.encode()
    if not is_ours:
        raise InputError(
            "SE119",
            f"{path} is there already, and is not what this command made",
            cure="move it away; or, if it is the partition table that you want, choose it in menuconfig",
            place=str(path),
        )


def _not_writable(path: Path, why: str) -> InputError:
    return InputError(
        "SE117",
        f"{path} cannot be written: {why}",
        cure="check that you may write in the project, and the free space; then run again",
        place=str(path),
    )
