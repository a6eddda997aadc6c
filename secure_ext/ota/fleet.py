"""The boards out there, as the bundle tells that they were provisioned with: keys, slots, what their app says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from secure_ext.bundle.files import open_bundle_files
from secure_ext.bundle.read import FinishedBundle
from secure_ext.bundle.verify.consistency import check_consistency
from secure_ext.bundle.verify.contents import read_images
from secure_ext.bundle.verify.documents import Documents, read_documents
from secure_ext.bundle.verify.inventory import check_inventory
from secure_ext.bundle.verify.keys import find_flash_key
from secure_ext.checks import Check, Outcome
from secure_ext.errors import CheckError, InputError
from secure_ext.images.flash_encryption import FlashEncryptionKey
from secure_ext.project.app_description import AppDescription, read_app_description
from secure_ext.project.partition_table import TYPE_APP, Partition, PartitionTable, parse_partition_table

_OTA_SUBTYPES = range(0x10, 0x20)


@dataclass(frozen=True)
class Fleet:
    """What an update must fit.

    Attributes:
        identity: of the bundle, see `FinishedBundle.identity`.
        chip: ESP-IDF's name of the chip.
        project: name of the project.
        min_revision: least chip revision in the field, major * 100 + minor.
        encrypts: whether the boards have flash encryption.
        digests: secure boot digests by slot; empty without secure boot.
        key: the flash encryption key, if it is at hand.
        key_fingerprints: what identifies it.
        table: the partition table, or None if it is encrypted and the key is not at hand.
        table_sha256: hash of the table as it was built.
        app: what the fleet's own app says, None if it cannot be read.
    """

    identity: str
    chip: str
    project: str
    min_revision: int
    encrypts: bool
    digests: dict[int, bytes]
    key: FlashEncryptionKey | None = field(repr=False)
    key_fingerprints: tuple[str, ...]
    table: PartitionTable | None
    table_sha256: str
    app: AppDescription | None


def read_fleet(bundle: Path, flash_encryption_key: Path | None) -> Fleet:
    """Reads a bundle, a folder or an archive.

    Raises InputError SE730, SE750 (no bundle there), SE620 to SE625 (a key file that is none); CheckError SE753 if the
    bundle is damaged or the key another one.
    """
    files = open_bundle_files(bundle)
    checks: list[Check] = []
    documents = read_documents(files, checks)
    if documents is None:
        raise _damaged(bundle, checks)
    checks += check_inventory(files, documents)
    checks += check_consistency(files, documents)
    key = find_flash_key(files, documents, flash_encryption_key, checks)
    readable = read_images(files, documents, key, checks)
    if any(_matters(check) for check in checks):
        raise _damaged(bundle, checks)
    table, table_sha256 = _table(documents, readable)
    digests = [step for step in documents.key_steps if step["role"].startswith("secure_boot_digest")]
    secrets = [step for step in documents.key_steps if step["role"].startswith("flash_encryption_key")]
    apps = (read_app_description(readable.get(image["name"], b"")) for image in documents.images)
    return Fleet(
        identity=FinishedBundle(bundle, documents.manifest, documents.plan).identity,
        chip=documents.plan["chip"],
        project=documents.manifest["project"],
        min_revision=documents.plan["min_revision"],
        encrypts=documents.encrypts,
        digests={int(step["role"][-1]): files.read(step["file"]) or b"" for step in digests} if documents.signs else {},
        key=key,
        key_fingerprints=tuple(step["fingerprint"] for step in secrets),
        table=table,
        table_sha256=table_sha256,
        app=next((app for app in apps if app is not None), None),
    )


def ota_slots(fleet: Fleet, table: PartitionTable, table_sha256: str) -> tuple[Partition, ...]:
    """The partitions that an update is written to, from the fleet's table, or the build's if it is the same one.

    Raises InputError SE760 if the fleet's table is another one that cannot be read, SE761 if it has no OTA slots.
    """
    if fleet.table is not None:
        table = fleet.table
    elif fleet.table_sha256 != table_sha256:
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
            cure="such boards cannot be updated over the air; write the app over the cable",
            place="partition table",
        )
    return slots


def _table(documents: Documents, readable: dict[str, bytes]) -> tuple[PartitionTable | None, str]:
    image = next(image for image in documents.images if image["role"] == "partition_table")
    content = readable.get(image["name"])
    table = None if content is None else parse_partition_table(content, place=image["file"])
    return table, image["source_sha256"]


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
