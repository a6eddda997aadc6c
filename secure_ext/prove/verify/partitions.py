# SPDX-License-Identifier: Apache-2.0
"""Do the images lie where the bundle's own partition table says, encrypted where the firmware decrypts?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.bundle.manifest import partition_row
from secure_ext.checks import Check
from secure_ext.documents.manifest import ManifestImage
from secure_ext.documents.read import MANIFEST
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.partition_table import (
    TYPE_BOOTLOADER,
    TYPE_PARTITION_TABLE,
    PartitionTable,
    covered_by_flash_encryption,
    parse_partition_table,
)
from secure_ext.prove.verify.check import failed, judged, passed, unseen
from secure_ext.prove.verify.documents import Documents

_PLACE, _ENCRYPTION = "partition-place", "partition-encryption"
_ENCRYPTED = "the partition table is encrypted, and the key is not given"


def check_partitions(documents: Documents, readable: dict[str, bytes]) -> Iterator[Check]:
    """Every image against the table in the bundle; `readable` is what `read_images` returns."""
    tables = [image for image in documents.images if image.role == "partition_table"]
    if len(tables) != 1:
        yield failed(_PLACE, "the partition table", f"the bundle has {len(tables)} of them")
        return
    content = readable.get(tables[0].name)
    try:
        table = None if content is None else parse_partition_table(content, place=tables[0].file)
    except SecureProvisionError:
        return  # the check of its content says so
    yield _rows(documents, table)
    for image in documents.images:
        if table is None:
            for name in (_PLACE, _ENCRYPTION) if image.partition else ():
                yield unseen(name, image.name, _ENCRYPTED)
        elif image.partition is None:
            yield _outside(image, table)
        else:
            yield from _inside(image, table, encrypts=documents.encrypts)


def _rows(documents: Documents, table: PartitionTable | None) -> Check:
    if table is None:
        return unseen("partition-rows", MANIFEST, _ENCRYPTED)
    rows = tuple(partition_row(row, encrypts=documents.encrypts) for row in table.partitions)
    wrong = "the manifest lists other partitions than the table in the bundle"
    return judged("partition-rows", MANIFEST, documents.manifest.partitions == rows, f"{len(rows)} rows", wrong)


def _outside(image: ManifestImage, table: PartitionTable) -> Check:
    """Bootloader and table lie before the partitions, or in one of a type that is made for them."""
    end = image.offset + image.size
    hit = [
        row.label
        for row in table.partitions
        if row.type not in (TYPE_BOOTLOADER, TYPE_PARTITION_TABLE) and row.offset < end and image.offset < row.end
    ]
    wrong = f"it has no partition, and lies in {', '.join(hit)}"
    return judged(_PLACE, image.name, not hit and image.role != "data", "outside of all partitions", wrong)


def _inside(image: ManifestImage, table: PartitionTable, *, encrypts: bool) -> Iterator[Check]:
    row = None if image.partition is None else table.labelled(image.partition)
    if row is None:
        yield failed(_PLACE, image.name, f"the table has no partition {image.partition!r}")
        return
    fits = row.offset == image.offset and image.offset + image.size <= row.end
    wrong = f"partition {row.label} is 0x{row.size:x} bytes at 0x{row.offset:x}, the image {image.size} bytes at "
    wrong += f"0x{image.offset:x}"
    yield judged(_PLACE, image.name, fits, f"in partition {row.label}", wrong)
    expected = encrypts and covered_by_flash_encryption(row)
    if (image.encrypted or image.encrypt_per_device) == expected:
        yield passed(_ENCRYPTION, image.name, f"the firmware {'decrypts' if expected else 'reads'} {row.label}")
    else:
        wrong = f"the firmware {'decrypts' if expected else 'does not decrypt'} {row.label}"
        yield failed(_ENCRYPTION, image.name, f"{wrong}, and the image is marked otherwise")
