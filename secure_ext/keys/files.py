# SPDX-License-Identifier: Apache-2.0
"""Write a secret to a file that nobody else can read, not even for a moment, and that replaces nothing."""

from __future__ import annotations

import os
from pathlib import Path

from secure_ext.errors import InputError
from secure_ext.station.durable import make_folder_durably, sync_folder

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def write_secret_file(path: Path, data: bytes) -> None:
    """Create ``path`` with mode 0600 and write ``data``; the bytes are on the disk when this returns.

    The directory gets mode 0700 when it has to be created. Nothing is left behind when writing fails.

    Raises:
        InputError: SE630 when something is already there (a link counts), SE631 when it cannot be written.
    """
    try:
        make_folder_durably(path.parent, 0o700)
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        descriptor = os.open(path, _NEW_FILE, 0o600)
    except FileExistsError as error:
        raise InputError(
            "SE630",
            "the key file exists already, and a key is never overwritten",
            cure="choose another place; delete the file only when no device carries that key",
            place=str(path),
        ) from error
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        path.unlink()
        raise _not_writable(path, error) from error


def _not_writable(path: Path, error: OSError) -> InputError:
    return InputError(
        "SE631",
        f"the key file cannot be written: {error.strerror}",
        cure="check the directory, its permissions and the free space",
        place=str(path),
    )
