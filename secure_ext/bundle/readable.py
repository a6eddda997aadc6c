# SPDX-License-Identifier: Apache-2.0
"""What can be read in a bundle by whoever has its files, but not its keys: decided here, from the files themselves.

An image counts as ciphertext only if the plan burns the key that it was encrypted with, its place in flash is one that
the chip decrypts, and its bytes look like ciphertext. Anything else is readable, whatever the manifest calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from secure_ext.documents.manifest import Manifest, PartitionRow, ReadableImage
from secure_ext.documents.readable import Holds
from secure_ext.errors import CheckError
from secure_ext.formats.in_the_clear import (
    hides_nvs_values,
    is_erased,
    is_plaintext,
    is_program,
    is_table,
    shows_nvs_keys,
    shows_nvs_values,
    shows_private_key,
)
from secure_ext.formats.secure_cert import shows_a_key
from secure_ext.plan.effects import FLASH_KEY_ROLES
from secure_ext.station.efuse_features import CRYPT_COUNTS
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import read_document

_IDENTITY = "esp_secure_cert"
"""The label by which esp_secure_cert_mgr finds a device's certificate and private key."""


@frozen
class ReadableFile:
    """A file of a bundle, and what it shows."""

    file: str
    holds: Holds


def readable_files(
    manifest: Manifest, plan: PlanDocument, read: Callable[[str], bytes | None]
) -> tuple[ReadableFile, ...]:
    """Every image, in the manifest's order; `read` gives the bytes of a file, None if there is none: it is left out."""
    rows = {row.label: row for row in manifest.partitions}
    is_encrypted_here = _has_encrypted_images(plan)
    found = []
    for image in manifest.images:
        content = read(image.file)
        if content is None:
            continue
        row = rows.get(image.partition or "")
        is_decrypted = image.role != "data" or (row is not None and row.encrypted)
        if is_encrypted_here and is_decrypted and not is_plaintext(content):
            found.append(ReadableFile(image.file, Holds.CIPHERTEXT))
        else:
            found.append(ReadableFile(image.file, _plaintext(content, image.role, row)))
    if any(item.holds is Holds.NVS_KEYS for item in found):  # what they encrypt can be read with them
        found = [
            ReadableFile(item.file, Holds.NVS_VALUES) if item.holds is Holds.NVS_CIPHERTEXT else item for item in found
        ]
    return tuple(found)


def secret_files(manifest: Manifest) -> tuple[str, ...]:
    """The files that a manifest says are the owner's alone; none in manifests of earlier versions."""
    return tuple(item.file for item in manifest.readable or () if Holds(item.holds).is_secret)


def refuse_secrets(files: Sequence[ReadableFile], place: Path) -> None:
    """Raises CheckError SE960 if one of them holds what an archive is to hold only when it is asked for."""
    secret = [item for item in files if item.holds.is_secret]
    if secret:
        listed = "; ".join(f"{item.file}: {item.holds.words}" for item in secret)
        raise CheckError(
            "SE960",
            f"whoever gets the archive could read secrets in it without any key: {listed}",
            cure="have them encrypted (NVS with nvs.scheme `hmac` or `flash-encryption`; other data by the flag "
            "`encrypted` in the partition table and flash encryption), or leave them out and let the firmware get them "
            "later; if whoever gets the archive may know them, give --with-plaintext",
            place=str(place),
        )


def readable_text(files: Sequence[ReadableFile]) -> str:
    """One line for people, what matters most first."""
    groups = [_group(kind, files) for kind in reversed(Holds) if any(item.holds is kind for item in files)]
    shown = [text for kind, text in groups if not kind.is_closed and kind is not Holds.ERASED]
    closed = [text for kind, text in groups if kind.is_closed]
    readable = "; ".join(shown) or "no firmware, no data and no values"
    return f"{readable}. Not readable without the keys: {'; '.join(closed) or 'nothing'}."


def _group(kind: Holds, files: Sequence[ReadableFile]) -> tuple[Holds, str]:
    names = [Path(item.file).stem for item in files if item.holds is kind]
    return kind, f"{kind.words} ({', '.join(names)})"


def as_rows(files: Sequence[ReadableFile]) -> tuple[ReadableImage, ...]:
    """The manifest's member."""
    return tuple(read_document(ReadableImage, {"file": item.file, "holds": item.holds.value}) for item in files)


def from_rows(manifest: Manifest) -> Iterator[ReadableFile]:
    """The manifest's member read back; nothing for manifests of earlier versions."""
    for row in manifest.readable or ():
        yield ReadableFile(row.file, Holds(row.holds))


def _has_encrypted_images(plan: PlanDocument) -> bool:
    """Whether the plan turns flash encryption on with a key that is known already: not one that each board will get."""
    keys = [key for key in plan.keys if key.role in FLASH_KEY_ROLES]
    enabled = any(step.field in CRYPT_COUNTS for step in plan.fields)
    return enabled and bool(keys) and all(key.fingerprint is not None for key in keys)


def _plaintext(content: bytes, role: str, row: PartitionRow | None) -> Holds:
    """What a file without flash encryption shows. What lies in an NVS partition and is not understood is readable."""
    subtype = row.subtype if row is not None and row.type == "data" else ""
    if is_erased(content):
        return Holds.ERASED
    if shows_nvs_keys(content):
        return Holds.NVS_KEYS
    if hides_nvs_values(content):
        return Holds.NVS_CIPHERTEXT
    if subtype == "nvs" or shows_nvs_values(content):
        return Holds.NVS_VALUES
    if shows_private_key(content) or (row is not None and row.label == _IDENTITY and shows_a_key(content)):
        return Holds.PRIVATE_KEY
    if subtype == "coredump":
        return Holds.CORE_DUMP
    if role in ("app", "bootloader") or is_program(content):
        return Holds.FIRMWARE
    return Holds.PARTITION_TABLE if role == "partition_table" or is_table(content) else Holds.DATA
