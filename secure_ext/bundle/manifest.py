# SPDX-License-Identifier: Apache-2.0
"""The manifest: what is in a bundle, from what it was made, and what was proved. It holds no secret."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

from secure_ext import __version__
from secure_ext.bundle.produce import ProducedImage
from secure_ext.bundle.settings import firmware_settings
from secure_ext.doctor.decide import Decision
from secure_ext.documents.manifest import Inputs, Manifest, PartitionRow, PerDevice, Proof
from secure_ext.documents.read import MANIFEST
from secure_ext.formats.partition_table import Partition, covered_by_flash_encryption
from secure_ext.plan.document import key_length
from secure_ext.plan.key_blocks import extra_key_roles
from secure_ext.plan.recipe import RECIPE_NAMES
from secure_ext.plan.steps import KeyRole
from secure_ext.policy.identity import IdentityPolicy
from secure_ext.policy.policy import Policy
from secure_ext.reading import IMAGE_LIMIT, parse_json, read_file
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.typed_document import document_data, read_document

SCHEMA = 1
ENVELOPE = "manifest.dsse.json"
OUTSIDE_THE_MANIFEST = ("keys/", "journal/", "sealed/")
"""Folders of a bundle that hold what is secret or belongs to one board."""


def image_path(name: str) -> str:
    """The path of the image `name` inside a bundle."""
    return f"images/{name}.bin"


def image_file(produced: ProducedImage) -> str:
    """The path of an image inside the bundle."""
    return image_path(produced.planned.name)


IDENTITY_CA = "identity_ca.pem"
"""The file, in a bundle whose boards get certificates, of those of the CA."""
IDENTITY_PLAIN = "identity.bin"
"""The file, in the bundle of one board, of its identity without flash encryption. It holds no secret."""
SEAL_TO = "seal_to.pem"
"""The file, in a bundle with keys per device, of the public key that sealed copies are encrypted to."""


def manifest(
    decision: Decision,
    images: list[ProducedImage],
    burned: dict[KeyRole, bytes],
    checks: list[Proof],
    folder: Path,
    *,
    inputs: Inputs,
) -> Manifest:
    """The manifest of the bundle in `folder`, whose other files are all written; `inputs` are what it was made from."""
    build = decision.build
    later = decision.policy.flash_encryption.key.per_device
    members = {
        "schema": SCHEMA,
        "tool": f"idf-secure-provision {__version__}",
        "chip": build.chip,
        "idf_version": build.idf_version,
        "project": build.project_name,
        "created": creation_time(),
        "flash_size": build.flash_size,
        "partitions": document_data(partition_rows(decision)),
        "key_blocks": [block.name for block in decision.chip.key_blocks],
        "images": [_image(produced, encrypt_later=later) for produced in images],
        "files": {
            name: hashlib.sha256(read_file(folder / name, IMAGE_LIMIT)).hexdigest() for name in public_files(folder)
        },
        "keys": [
            {
                "role": key.role.value,
                "fingerprint": fingerprint(burned[key.role][: key_length(key)]) if key.role in burned else None,
                "block": key.block.name,
                "purpose": key.purpose or None,
            }
            for key in decision.plan.keys
        ],
        "inputs": document_data(inputs),
        "checks": document_data(checks),
        "findings": [finding.as_dict() for finding in decision.findings],
        "per_device": document_data(per_device(decision)),
        "settings": firmware_settings(build.config),
        "boot": None if decision.boot is None else decision.boot.label,
    }
    return read_document(Manifest, members)


def per_device(decision: Decision) -> PerDevice | None:
    """Which keys each board gets for itself, and what becomes of them; None if there are none."""
    policy = decision.policy
    if not policy.is_per_device:
        return None
    sources = {
        KeyRole.FLASH_ENCRYPTION: policy.flash_encryption.key,
        KeyRole.FLASH_ENCRYPTION_1: policy.flash_encryption.key,
        KeyRole.FLASH_ENCRYPTION_2: policy.flash_encryption.key,
        KeyRole.NVS_HMAC: policy.nvs.key,
        **{role: extra.key for role, extra in extra_key_roles(policy.extra_keys)},
    }
    own = {role for role, source in sources.items() if source.per_device}
    members: dict[str, object] = {
        "keys": [key.role.value for key in decision.plan.keys if key.role in own],
        "keep": policy.per_device.keep.value,
        "seal_to": SEAL_TO if policy.per_device.seal_to else None,
    }
    if policy.identity is not None:
        members["identity"] = _identity(policy, policy.identity)
    return read_document(PerDevice, members)


def _identity(policy: Policy, identity: IdentityPolicy) -> dict[str, object]:
    roles = [role.value for role, extra in extra_key_roles(policy.extra_keys) if extra.is_identity]
    ca = hashlib.sha256(identity.ca).hexdigest()
    return {"role": roles[0], "key": identity.key, "subject": identity.subject, "days": identity.days, "ca": ca}


def with_file(content: Manifest, name: str, text: str) -> Manifest:
    """The manifest `content` with a text file that was written, or written again, after it was made."""
    files = {**content.files, name: hashlib.sha256(text.encode()).hexdigest()}
    return replace(content, files=dict(sorted(files.items())))


def partition_rows(decision: Decision) -> tuple[PartitionRow, ...]:
    """The rows of the build's partition table."""
    encrypts = decision.policy.flash_encryption.enabled
    return tuple(partition_row(row, encrypts=encrypts) for row in decision.build.partitions.partitions)


def partition_row(row: Partition, *, encrypts: bool) -> PartitionRow:
    """A row of the partition table; `encrypted` says what the chip does, `flags` what stands in the row."""
    return PartitionRow(
        label=row.label,
        type=row.type_name,
        subtype=row.subtype_name,
        offset=row.offset,
        size=row.size,
        flags=row.flags,
        encrypted=encrypts and covered_by_flash_encryption(row),
    )


def document_text(document: object) -> str:
    """A document of the bundle as it lies in its file."""
    return json.dumps(document_data(document), indent=2) + "\n"


def is_as_written(content: bytes) -> bool:
    """Whether a document's file is as `document_text` writes it, whatever the order of its members.

    Raises as `parse_json` does.
    """
    return (json.dumps(parse_json(content), indent=2) + "\n").encode() == content


def public_files(folder: Path) -> list[str]:
    """Every file of a bundle but the manifest, its signature, and what is secret or belongs to one board.

    With forward slashes, sorted.
    """
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(n for n in names if not n.startswith(OUTSIDE_THE_MANIFEST) and n not in (MANIFEST, ENVELOPE))


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_file(path, IMAGE_LIMIT)).hexdigest()


def _image(produced: ProducedImage, *, encrypt_later: bool) -> dict[str, object]:
    planned = produced.planned
    return {
        "name": planned.name,
        "role": planned.role.value,
        "partition": planned.partition,
        "file": image_file(produced),
        "offset": planned.offset,
        "size": len(produced.content),
        "sha256": produced.sha256,
        "encrypted": planned.encrypt and not encrypt_later,
        "encrypt_per_device": planned.encrypt and encrypt_later,
        "signed": planned.sign,
        "source": planned.source,
        "source_sha256": produced.source_sha256,
        "recipe": None if planned.recipe is None else RECIPE_NAMES[type(planned.recipe)],
    }


def creation_time() -> str:
    """The time in UTC; SOURCE_DATE_EPOCH (seconds), as reproducible builds set it, overrides the clock."""
    now = dt.datetime.now(tz=dt.timezone.utc)
    with contextlib.suppress(ValueError, OverflowError, OSError):  # not set, or no time
        now = dt.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "")), tz=dt.timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
