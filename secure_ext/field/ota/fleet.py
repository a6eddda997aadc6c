# SPDX-License-Identifier: Apache-2.0
"""The boards out there, as the bundle tells that they were provisioned with: keys, slots, what their app says."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from secure_ext.build.build import Role
from secure_ext.bundle.files import open_bundle_files
from secure_ext.bundle.read import FinishedBundle, read_documents_of
from secure_ext.checks import Check, Outcome
from secure_ext.documents.manifest import ManifestImage
from secure_ext.errors import CheckError, InputError
from secure_ext.formats.flash_encryption import FlashEncryptionKey
from secure_ext.formats.partition_table import TYPE_APP, Partition, PartitionTable, parse_partition_table
from secure_ext.plan.fleet import Fleet, FleetImage, read_fleet_facts
from secure_ext.plan.recipe import RECIPE_NAMES, NvsKeysImage
from secure_ext.prove.verify.consistency import check_consistency
from secure_ext.prove.verify.contents import read_images
from secure_ext.prove.verify.documents import Documents, read_documents
from secure_ext.prove.verify.inventory import check_inventory
from secure_ext.prove.verify.keys import find_flash_key
from secure_ext.station.frozen import frozen

_OTA_SUBTYPES = range(0x10, 0x20)


@frozen
class FleetBundle:
    """The bundle that boards were made with.

    Attributes:
        identity: of the bundle, see `FinishedBundle.identity`.
        project: name of the project.
        boards: what an update must fit.
        key: the flash encryption key, if it is at hand.
        key_fingerprints: what identifies it.
        table_sha256: hash of the partition table as it was built.
        boot: label of the app partition that they start when they are new, if their bundle says it.
    """

    identity: str
    project: str
    boards: Fleet
    key: FlashEncryptionKey | None = field(repr=False)
    key_fingerprints: tuple[str, ...]
    table_sha256: str | None
    boot: str | None = None


def read_fleet(
    bundle: Path,
    flash_encryption_key: Path | None,
    *,
    revoked: frozenset[int] = frozenset(),
    least_secure_version: int | None = None,
) -> FleetBundle:
    """Reads a bundle, a folder or an archive.

    Args:
        bundle: where it is.
        flash_encryption_key: its key, if that is not in the bundle.
        revoked: digest slots that were revoked in the field since.
        least_secure_version: the least that boards in the field accept; None takes that of the fleet's own app.

    Raises InputError SE730, SE750 (no bundle there), SE875 (its plan is damaged), SE620 to SE625 (a key file that is
    none); CheckError SE753 if the bundle is damaged or the key another one.
    """
    files = open_bundle_files(bundle)
    checks: list[Check] = []
    documents = read_documents(files, checks)
    if documents is None:
        documents = Documents(*read_documents_of(files))  # which says what is wrong as every reader does
    checks += check_inventory(files, documents)
    checks += check_consistency(files, documents)
    key = find_flash_key(files, documents, flash_encryption_key, checks)
    readable = read_images(files, documents, key, checks)
    if any(_matters(check) for check in checks):
        raise _damaged(bundle, checks)
    table, table_sha256 = _table(documents, readable)
    manifest = documents.manifest
    secrets = [step for step in documents.plan.keys if step.role.startswith("flash_encryption_key")]
    boards = read_fleet_facts(
        documents.plan,
        [_image(image, readable, manifest.boot) for image in documents.images],
        table=table,
        settings=manifest.settings,
        idf_version=manifest.idf_version,
        flash_size=manifest.flash_size,
        revoked=revoked,
        least_secure_version=least_secure_version,
    )
    return FleetBundle(
        identity=FinishedBundle(bundle, manifest, documents.plan).identity,
        project=manifest.project,
        boards=boards,
        key=key,
        key_fingerprints=tuple(step.fingerprint for step in secrets if step.fingerprint is not None),
        table_sha256=table_sha256,
        boot=manifest.boot,
    )


def _image(image: ManifestImage, readable: dict[str, bytes], boot: str | None) -> FleetImage:
    has_nvs_keys = image.recipe == RECIPE_NAMES[NvsKeysImage]
    starts_first = boot is not None and image.partition == boot
    return FleetImage(Role(image.role), image.offset, readable.get(image.name), has_nvs_keys, starts_first)


def ota_slots(bundle: FleetBundle, table: PartitionTable, table_sha256: str) -> tuple[Partition, ...]:
    """The partitions that an update is written to, from the fleet's table, or the build's if it is the same one.

    Raises InputError SE760 if the fleet's table is another one that cannot be read, SE761 if it has no OTA slots.
    """
    if bundle.boards.table is not None:
        table = bundle.boards.table
    elif bundle.table_sha256 != table_sha256:
        raise InputError(
            "SE760",
            "the fleet has another partition table than this build, and it is encrypted",
            cure="give the fleet's flash encryption key, or build with the fleet's partition table",
            place="partition table",
        )
    slots = tuple(row for row in table.partitions if row.type == TYPE_APP and row.subtype in _OTA_SUBTYPES)
    if not slots:
        raise InputError(
            "SE761",
            "the fleet's partition table has no OTA slots",
            cure="such boards cannot be updated over the air; write the app by cable: `secure-provision update`",
            place="partition table",
        )
    return slots


def _table(documents: Documents, readable: dict[str, bytes]) -> tuple[PartitionTable | None, str | None]:
    image = next(image for image in documents.images if image.role == "partition_table")
    content = readable.get(image.name)
    table = None if content is None else parse_partition_table(content, place=image.file)
    return table, image.source_sha256


def _matters(check: Check) -> bool:
    return check.outcome is Outcome.FAILED and check.name != "key-permissions"


def _damaged(bundle: Path, checks: list[Check]) -> CheckError:
    first = next(check for check in checks if _matters(check))
    return CheckError(
        "SE753",
        f"the fleet's bundle is damaged: {first.name}, {first.place}: {first.evidence}",
        cure="`secure-provision verify` shows all that is wrong; give the bundle that the boards were made with",
        place=str(bundle),
    )
