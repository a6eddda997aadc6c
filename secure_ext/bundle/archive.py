# SPDX-License-Identifier: Apache-2.0
"""One file for the factory: a bundle without its secrets, byte for byte the same for the same bundle."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from secure_ext.bundle.file_names import refuse_foreign_files
from secure_ext.bundle.files import BundleFiles, open_bundle_files
from secure_ext.bundle.manifest import ENVELOPE
from secure_ext.bundle.read import read_documents_of
from secure_ext.bundle.readable import readable_files, refuse_secrets, secret_files
from secure_ext.bundle.ways import is_inside
from secure_ext.documents.read import MANIFEST, parse_manifest
from secure_ext.errors import InputError, UsageError
from secure_ext.station.durable import write_durably

_EXECUTABLE = ("provision.py", "commands.sh")
_UNIX = 3
_FIRST_DATE, _LAST_DATE = dt.datetime(1980, 1, 1), dt.datetime(2107, 12, 31)


def check_archive_target(target: Path, bundle: Path) -> None:
    """Refuses a place for an archive before anything is made.

    Raises UsageError SE751 for a name that is not .zip, or in the bundle itself; InputError SE752 if something other
    than an earlier archive is there.
    """
    inside = is_inside(target, bundle)
    if target.suffix.lower() != ".zip" or inside:
        raise UsageError(
            "SE751",
            "the archive would be in the bundle" if inside else "the archive is a zip file, and the name is another",
            cure="give a name that ends in .zip, outside the bundle",
            place=str(target),
        )
    if (target.exists() or target.is_symlink()) and not _is_archive(target):
        raise InputError(
            "SE752",
            "the archive's name is taken by something that is not an archive of a bundle",
            cure="give another name, or remove it",
            place=str(target),
        )


def write_archive(bundle: Path, target: Path, *, with_plaintext: bool = False) -> None:
    """Writes what the manifest of `bundle` lists, the manifest and its signature; whole or not at all.

    With secrets that can be read in it, which is only `with_plaintext`, the archive is the owner's alone (mode 0600).

    Raises what `check_archive_target` raises; InputError SE702 if it cannot be written, or a file is missing, SE715 if
    the manifest lists one that no bundle has; CheckError SE960 if it would show secrets and is not `with_plaintext`.
    """
    check_archive_target(target, bundle)
    try:
        opened = open_bundle_files(bundle)
        files = _content(opened)
        readable = readable_files(*read_documents_of(opened), files.get)
        if not with_plaintext:
            refuse_secrets(readable, bundle)
        write_durably(target, archive_bytes(files), 0o600 if any(item.holds.is_secret for item in readable) else 0o644)
    except OSError as error:
        raise not_written(target, error) from None


def not_written(target: Path, error: OSError) -> InputError:
    """Why there is no file at `target`, which was to hold what goes out of the house."""
    return InputError(
        "SE702",
        f"the output cannot be written: {error.strerror or error}",
        cure="check the permissions and the free space, or give another name",
        place=str(target),
    )


def archive_bytes(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files, of which the manifest must be one: nothing in it depends on machine or time.

    Sorted; dated as the manifest is; not compressed, because ciphertext cannot be, and compressors differ.

    Raises ValueError if the manifest is damaged.
    """
    manifest = parse_manifest(files[MANIFEST])
    date, secret = _date(manifest.created), secret_files(manifest)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, date)
            member.create_system = _UNIX
            mode = 0o755 if name in _EXECUTABLE else 0o600 if name in secret else 0o644
            member.external_attr = (0o100000 | mode) << 16
            archive.writestr(member, files[name])
    return buffer.getvalue()


def _date(created: str) -> tuple[int, int, int, int, int, int]:
    """As zip files have it: from 1980 to 2107; the first one for a text that is not a date."""
    date = _FIRST_DATE
    with contextlib.suppress(ValueError):
        date = min(max(date, dt.datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ")), _LAST_DATE)
    return date.year, date.month, date.day, date.hour, date.minute, date.second


def _content(files: BundleFiles) -> dict[str, bytes]:
    """What the manifest lists, the manifest, and its signature if there is one.

    Raises OSError if a file is missing; InputError SE730, SE875 for a damaged manifest or plan, SE715.
    """
    manifest, plan = read_documents_of(files)
    content = {name: files.read(name) for name in (MANIFEST, *manifest.files, ENVELOPE)}
    missing = [name for name, data in content.items() if data is None and name != ENVELOPE]
    if missing:
        raise FileNotFoundError(0, f"{missing[0]} is missing in the bundle")
    refuse_foreign_files(files.place, manifest.files, manifest, plan)
    return {name: data for name, data in content.items() if data is not None}


def _is_archive(path: Path) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    with contextlib.suppress(InputError):
        return open_bundle_files(path).read(MANIFEST) is not None
    return False
