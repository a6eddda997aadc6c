# SPDX-License-Identifier: Apache-2.0
"""One file of all images, for gang programmers and flash houses: the flash from address 0 to the end of the last image.

What ``esptool merge-bin`` makes of the same images (esptool, ``cmds.py``, merge_bin; raw format, target offset 0, flash
parameters kept): between the images it holds 0xFF, as erased flash does, also before a bootloader that does not begin
at 0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from secure_ext.bundle.archive import not_written
from secure_ext.bundle.files import MOST_BYTES
from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.readable import secret_files
from secure_ext.bundle.ways import is_inside
from secure_ext.errors import InputError, SecureProvisionError, UsageError
from secure_ext.policy.policy import Policy
from secure_ext.reading import IMAGE_LIMIT, read_file
from secure_ext.station.durable import write_durably
from secure_ext.station.frozen import frozen


@frozen
class Merged:
    """A merged image that was written; it goes to flash address 0."""

    path: Path
    size: int
    sha256: str


def check_merged_target(target: Path, bundle: Path, policy: Policy) -> None:
    """Refuses what cannot be merged, and a place for it, before anything is made.

    Raises UsageError SE962 if each board's images are encrypted with a key of its own, SE965 if boards carry something
    in flash, SE963 for a place in the bundle; InputError SE964 if something is there that is not the merged image of
    the bundle in `bundle`.
    """
    if policy.flash_encryption.enabled and policy.flash_encryption.key.per_device:
        raise UsageError(
            "SE962",
            "there is no merged image for all boards: each board's images are encrypted with a key of its own, when it "
            "is flashed",
            cure="leave --merged out, or use one key for all boards of this bundle (flash_encryption.key: generate, or "
            "a key file)",
            place="--merged",
        )
    if policy.keep:
        raise UsageError(
            "SE965",
            f"a merged image would overwrite what boards keep in flash ({', '.join(policy.keep)})",
            cure="leave --merged out, and let the bundle's script write the images around it",
            place="--merged",
        )
    if is_inside(target, bundle):
        raise UsageError(
            "SE963",
            "the merged image would be in the bundle, which holds no file but its own",
            cure="give a name outside of the bundle",
            place=str(target),
        )
    if (target.exists() or target.is_symlink()) and not _is_merged(target, bundle):
        raise InputError(
            "SE964",
            "the name of the merged image is taken by something that is not the merged image of the bundle "
            f"in {bundle.name}",
            cure="remove it if nobody needs it, or give another name",
            place=str(target),
        )


def write_merged(folder: Path, target: Path) -> Merged:
    """Merges the images of the bundle in `folder`; whole or not at all.

    Where an image holds secrets that anybody can read, the file is the owner's alone (mode 0600).

    Raises InputError SE702 if it cannot be written; what `read_bundle` raises.
    """
    bundle = read_bundle(folder)
    try:
        content = _merge(bundle)
        write_durably(target, content, 0o600 if secret_files(bundle.manifest) else 0o644)
    except OSError as error:
        raise not_written(target, error) from None
    return Merged(target, len(content), hashlib.sha256(content).hexdigest())


def merge(images: Iterable[tuple[int, bytes]]) -> bytes:
    """One content of these images, which do not overlap, by their flash addresses."""
    merged = bytearray()
    for offset, content in sorted(images):
        merged += b"\xff" * (offset - len(merged)) + content
    return bytes(merged)


def _merge(bundle: FinishedBundle) -> bytes:
    images = bundle.manifest.images
    return merge((image.offset, read_file(bundle.folder / image.file, IMAGE_LIMIT)) for image in images)


def _is_merged(target: Path, bundle: Path) -> bool:
    """Whether nothing is lost with `target`: it is what the earlier bundle still gives."""
    if target.is_symlink() or not target.is_file():
        return False
    try:
        return read_file(target, MOST_BYTES) == _merge(read_bundle(bundle))
    except (OSError, SecureProvisionError):
        return False
