# SPDX-License-Identifier: Apache-2.0
"""All checks of a bundle, in one call."""

from __future__ import annotations

from pathlib import Path

from secure_ext.bundle.files import ArchiveFiles, BundleFiles, open_bundle_files
from secure_ext.bundle.readable import ReadableFile, readable_files
from secure_ext.checks import Check, Outcome
from secure_ext.prove.verify.archived import check_archive
from secure_ext.prove.verify.boot import check_boot
from secure_ext.prove.verify.consistency import check_consistency
from secure_ext.prove.verify.contents import check_contents, read_images
from secure_ext.prove.verify.documents import Documents, check_steps, read_documents
from secure_ext.prove.verify.identity import check_identity
from secure_ext.prove.verify.inventory import check_inventory
from secure_ext.prove.verify.keys import check_data_files, check_key_files, find_flash_key
from secure_ext.prove.verify.options import check_signing_keys
from secure_ext.prove.verify.partitions import check_partitions
from secure_ext.prove.verify.readable import check_readable
from secure_ext.prove.verify.rebuild import BuildAtHand, check_rebuild
from secure_ext.prove.verify.rehearsed import check_rehearsal
from secure_ext.prove.verify.renderings import check_renderings
from secure_ext.prove.verify.requirements import check_requirements
from secure_ext.prove.verify.statement import check_statement
from secure_ext.station.frozen import frozen


@frozen
class AtHand:
    """What the bundle is checked against besides itself. All may be missing: then less can be seen, and it is said.

    Attributes:
        build: where the recorded inputs may be.
        flash_encryption_key: the chip's key, if it is not in the bundle.
        manifest_key: PEM file of the key that must have signed the bundle.
    """

    build: BuildAtHand
    flash_encryption_key: Path | None = None
    manifest_key: Path | None = None


@frozen
class Verified:
    """All checks, the documents if both are valid, and what can be read in the files by whoever has them."""

    checks: list[Check]
    documents: Documents | None
    readable: tuple[ReadableFile, ...] = ()


def verify_bundle(place: Path, at_hand: AtHand) -> list[Check]:
    """The checks of `verify_place` alone; raises as it does."""
    return verify_place(place, at_hand).checks


def verify_place(place: Path, at_hand: AtHand) -> Verified:
    """Checks the bundle in a folder or an archive; changes nothing, and needs no private key.

    Without valid documents nothing else can be told, and nothing else is checked.

    Raises InputError SE730 (nothing there), SE750 (an archive that cannot be read), SE620 to SE625 for a flash
    encryption key file that is none, SE601 to SE611 for a manifest key or a signing key that is none.
    """
    return verify_files(open_bundle_files(place), at_hand)


def verify_files(files: BundleFiles, at_hand: AtHand) -> Verified:
    """The same for files that are opened already; raises what `verify_place` raises for keys."""
    checks: list[Check] = []
    documents = read_documents(files, checks)
    if documents is None:
        return Verified(checks, None)
    if isinstance(files, ArchiveFiles):
        checks += check_archive(files)
    checks += check_steps(documents)
    checks += check_inventory(files, documents)
    checks += check_consistency(files, documents)
    checks += check_key_files(files, documents)
    checks += check_data_files(files, documents)
    key = find_flash_key(files, documents, at_hand.flash_encryption_key, checks)
    readable = read_images(files, documents, key, checks)
    checks += check_contents(files, documents, readable)
    checks += check_identity(files, documents, readable)
    checks += check_partitions(documents, readable)
    checks += check_boot(documents, readable)
    checks.append(check_requirements(documents, readable))
    statement = list(check_statement(files, documents, at_hand.manifest_key))
    is_signed = all(check.outcome is Outcome.PASSED for check in statement)
    checks += check_renderings(files, documents, is_signed=is_signed)
    checks += check_rebuild(documents, at_hand.build, is_signed=is_signed)
    checks += check_signing_keys(documents, at_hand.build.repeated)
    checks.append(check_rehearsal(files, documents, is_signed=is_signed))
    shown = readable_files(documents.manifest, documents.plan, files.read)
    checks.append(check_readable(documents, shown))
    return Verified([*checks, *statement], documents, shown)
