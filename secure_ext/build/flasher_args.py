# SPDX-License-Identifier: Apache-2.0
"""``flasher_args.json``: which file goes where, and the flash settings.

ESP-IDF writes it at configure time from ``components/esptool_py/flasher_args.json.in``. What this reads is spelled the
same from 5.0 to 6.1; the command line options in it (``--flash_mode`` or ``--flash-mode``) are not needed. Its
``"encrypted"`` is not read: it is false in every build but one for development mode.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from secure_ext.build.files import BUILD_AGAIN, read_json
from secure_ext.errors import InputError
from secure_ext.station.frozen import frozen

FLASHER_ARGS = "flasher_args.json"
_NO_ENTRIES = ("flash_settings", "flash_files", "extra_esptool_args", "write_flash_args")


@frozen
class FlashEntry:
    """A file, its flash address, and the name that the build gave it (or the file's own name)."""

    name: str
    offset: int
    source: str


@frozen
class FlasherArgs:
    """The content of the file; ``entries`` are in the order of their flash addresses."""

    flash_mode: str
    flash_size: str
    flash_freq: str
    entries: tuple[FlashEntry, ...]


def read_flasher_args(build_dir: Path) -> FlasherArgs:
    """Read the file of a build directory.

    Raises:
        InputError: SE102, SE103, SE108; SE109, when two files go to one address; SE111, when something in it has not
            the form that ESP-IDF writes.
    """
    path = build_dir / FLASHER_ARGS
    content = read_json(path, build_dir)
    settings = _object(content.get("flash_settings"), "flash_settings", path)
    return FlasherArgs(
        flash_mode=_text(settings.get("flash_mode"), "flash_mode", path),
        flash_size=_text(settings.get("flash_size"), "flash_size", path),
        flash_freq=_text(settings.get("flash_freq"), "flash_freq", path),
        entries=_entries(content, path),
    )


def _entries(content: dict[str, object], path: Path) -> tuple[FlashEntry, ...]:
    """The named entries, and those of ``flash_files`` that have no name, one for each address."""
    found: dict[int, FlashEntry] = {}
    for name, value in content.items():
        if name not in _NO_ENTRIES:
            entry = _object(value, name, path)
            _add(found, name, entry.get("offset"), entry.get("file"), path)
    for offset, source in _object(content.get("flash_files"), "flash_files", path).items():
        _add(found, None, offset, source, path)
    return tuple(found[offset] for offset in sorted(found))


def _add(found: dict[int, FlashEntry], name: str | None, offset: object, source: object, path: Path) -> None:
    address = _address(offset, path)
    file = _text(source, f"file for {address:#x}", path).replace("\\", "/")
    other = found.setdefault(address, FlashEntry(name or PurePosixPath(file).stem, address, file))
    if other.source != file:
        raise InputError(
            "SE109",
            f"{path} puts two files at the flash address {address:#x}: {other.source} and {file}",
            cure="give each a place of its own in the partition table and in the CMake files, then build again",
            place=str(path),
        )


def _address(value: object, path: Path) -> int:
    try:
        return int(_text(value, "offset", path), 0)
    except ValueError as error:
        raise _unexpected(f"the flash address {value!r}", path) from error


def _object(value: object, name: str, path: Path) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _unexpected(f"{name!r}, which should be an object", path)
    return value


def _text(value: object, name: str, path: Path) -> str:
    if not isinstance(value, str) or not value:
        raise _unexpected(f"{name!r}, which should be a text", path)
    return value


def _unexpected(what: str, path: Path) -> InputError:
    return InputError(
        "SE111",
        f"{path} has not the form that ESP-IDF writes: see {what}",
        cure=f"{BUILD_AGAIN}; do not edit the file",
        place=str(path),
    )
