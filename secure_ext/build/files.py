# SPDX-License-Identifier: Apache-2.0
"""Reading the files of a build directory, with an error that names the file and the way out."""

from __future__ import annotations

from pathlib import Path

from secure_ext.errors import InputError
from secure_ext.reading import IMAGE_LIMIT, parse_json, read_file

BUILD_AGAIN = "build the project with `idf.py build`"


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: SE108, when it is missing, no file, or may not be read.
    """
    try:
        return read_file(path, IMAGE_LIMIT)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """The error for a file or a directory that the system does not let us read."""
    return InputError(
        "SE108",
        f"{path} cannot be read: {error.strerror or error}",
        cure="check the permissions of the file, and whether another program holds it open",
        place=str(path),
    )


def read_json(path: Path, build_dir: Path) -> dict[str, object]:
    """The content of a JSON file that ESP-IDF writes into every build directory.

    Raises:
        InputError: SE102, when the file is missing; SE103, when it is not a whole JSON object; SE108.
    """
    if not path.is_file():
        raise InputError(
            "SE102",
            f"{build_dir} is not the build directory of an ESP-IDF project: {path.relative_to(build_dir).as_posix()} "
            "is missing",
            cure=f"{BUILD_AGAIN}, then give its build directory (`-B`), not that of the bootloader or the project",
            place=str(path),
        )
    try:
        content = parse_json(read_bytes(path))
    except ValueError as error:
        raise _broken(path, str(error)) from error
    if not isinstance(content, dict):
        raise _broken(path, "it holds no JSON object")
    return content


def _broken(path: Path, reason: str) -> InputError:
    return InputError(
        "SE103",
        f"{path} is damaged or was not written to its end: {reason}",
        cure=f"{BUILD_AGAIN}; if that does not rewrite the file, run `idf.py fullclean` first",
        place=str(path),
    )
