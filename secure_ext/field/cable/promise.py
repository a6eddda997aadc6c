# SPDX-License-Identifier: Apache-2.0
"""What the boot check is to hold a board against after an update: the fleet's documents, with what was written."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from secure_ext.build.build import Role
from secure_ext.bundle.file_names import PLAN
from secure_ext.bundle.manifest import document_text
from secure_ext.bundle.read import FinishedBundle
from secure_ext.documents.manifest import ManifestImage
from secure_ext.documents.read import MANIFEST
from secure_ext.field.cable.pieces import StoredPiece
from secure_ext.field.cable.prepare import Prepared
from secure_ext.field.cable.update import Updated
from secure_ext.formats.flash_encryption import decrypt
from secure_ext.formats.secure_boot import is_signed, signed_content
from secure_ext.plan.boot_slot import ota_data_partition


def write_promise(bundle: FinishedBundle, prepared: Prepared, done: Updated, folder: Path, *, is_sealed: bool) -> None:
    """Writes manifest and plan into a folder, for `boot_check`; without the seal for one that was stopped before."""
    images = {image.offset: image for image in bundle.manifest.images}
    for piece in done.pieces:
        if done.choice is not None and piece.piece is done.choice.switch:
            image = _ota_data(bundle, prepared, piece, images)
        else:
            image = _image(piece, images.get(piece.piece.offset))
        images[image.offset] = image
    boot = bundle.manifest.boot
    if done.choice is not None:
        boot = None if done.choice.is_on_trial else done.choice.slot.label
    manifest = replace(bundle.manifest, images=tuple(images[at] for at in sorted(images)), boot=boot)
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(document_text(manifest), encoding="utf-8")
    steps = tuple(step for step in bundle.plan.steps if is_sealed or step.stage != "seal")
    (folder / PLAN).write_text(document_text(replace(bundle.plan, steps=steps)), encoding="utf-8")


def _image(stored: StoredPiece, before: ManifestImage | None) -> ManifestImage:
    piece = stored.piece
    is_app = piece.role in (Role.APP, Role.BOOTLOADER) and is_signed(piece.plain)
    source = signed_content(piece.plain) if is_app else piece.plain
    partition = None if piece.role is Role.BOOTLOADER else piece.name
    name = piece.name if before is None else before.name
    return _entry(stored, name, partition, len(stored.content), source, is_signed_here=is_app)


def _ota_data(
    bundle: FinishedBundle, prepared: Prepared, stored: StoredPiece, images: dict[int, ManifestImage]
) -> ManifestImage:
    """The whole partition: one sector of it was written, the other is as the bundle has it, or erased."""
    partition = ota_data_partition(prepared.table)
    if partition is None:
        raise AssertionError("what was switched is there")
    before = images.get(partition.offset)
    content = b"\xff" * partition.size
    if before is not None:
        content = (bundle.folder / before.file).read_bytes()
        if before.encrypted and prepared.key is not None:
            content = decrypt(content, key=prepared.key, flash_offset=before.offset)
    at = stored.piece.offset - partition.offset
    content = content.ljust(partition.size, b"\xff")
    content = content[:at] + stored.piece.plain + content[at + len(stored.piece.plain) :]
    whole = replace(stored, piece=replace(stored.piece, offset=partition.offset))
    return _entry(whole, "otadata", partition.label, len(content), content, is_signed_here=False)


def _entry(
    stored: StoredPiece, name: str, partition: str | None, size: int, source: bytes, *, is_signed_here: bool
) -> ManifestImage:
    digest = hashlib.sha256(source).hexdigest()
    return ManifestImage(
        name=name,
        role=stored.piece.role.value,
        partition=partition,
        file=f"images/{name}.bin",
        offset=stored.piece.offset,
        size=size,
        sha256=hashlib.sha256(stored.content).hexdigest(),
        encrypted=stored.is_encrypted,
        encrypt_per_device=False,
        signed=is_signed_here,
        source="the update",
        source_sha256=digest,
        recipe=None,
    )
