# SPDX-License-Identifier: Apache-2.0
"""Makes the bundle of one board from a bundle whose boards get keys of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from secure_ext.atomic import replaced_directory
from secure_ext.bundle.manifest import IDENTITY_PLAIN, document_text
from secure_ext.bundle.read import FinishedBundle
from secure_ext.bundle.readable import as_rows, readable_files, secret_files
from secure_ext.bundle.script import render_script
from secure_ext.documents.manifest import ManifestImage, Proof
from secure_ext.documents.read import MANIFEST
from secure_ext.errors import CheckError, DeviceError, InputError
from secure_ext.formats.flash_encryption import FlashEncryptionKey, encrypt_and_undo, pad_to_unit
from secure_ext.keys.certificates import name_of
from secure_ext.keys.files import write_secret_file
from secure_ext.per_device.device_keys import DeviceKeys
from secure_ext.per_device.identity import MadeIdentity, whole_image
from secure_ext.plan.recipe import IDENTITY
from secure_ext.reading import IMAGE_LIMIT, KEY_FILE_LIMIT, read_file
from secure_ext.station.durable import write_durably
from secure_ext.station.plan_document import ImageEntry, KeyStep, PlanDocument


def write_device_bundle(
    template: FinishedBundle,
    keys: DeviceKeys,
    folder: Path,
    keys_folder: Path,
    begun: FinishedBundle | None = None,
    *,
    identity: MadeIdentity | None = None,
    before_it_is_there: Callable[[PlanDocument], None] = lambda _: None,
) -> FinishedBundle:
    """Writes the bundle of one board: the images encrypted with its key, its plan, script and manifest.

    Args:
        template: the bundle that all boards share.
        keys: the board's own.
        folder: the new bundle, whole or not at all; an earlier one of the board is replaced. On the disk on return.
        begun: what an earlier run made for this board. It tells the fingerprints of keys that are on the chip and not
            among `keys`; if the flash encryption key is one of them, its images are taken over.
        identity: what the board gets as its own, new or as `begun` has it; None if it gets none.
        before_it_is_there: gets the new plan when all is written, before it takes the place of an earlier one.
        keys_folder: where all secret keys of the board go; ``folder / "keys"`` to have a bundle like any other.

    Raises InputError SE701, SE702 (the folder cannot be written), SE631 (the keys cannot), SE731 (a shared key is
    missing, an image was changed); UsageError SE453 (no room for the identity); DeviceError SE455 (it cannot be
    encrypted); CheckError SE713 (an image does not decrypt to what was encrypted).
    """
    is_encrypted = begun is not None and keys.cipher_key(template.plan.chip) is None
    source = begun if begun is not None and is_encrypted else template
    cipher_key = keys.cipher_key(source.plan.chip)
    shared = _shared_keys(template, source.plan)
    with replaced_directory(folder) as staging:
        images, proofs = [], list(source.manifest.checks)
        contents: dict[str, bytes] = {}
        for image in source.manifest.images:
            content = _image(source.folder, image)
            if image.recipe == IDENTITY and identity is not None and not _has(begun, identity, source):
                image, content = _with_identity(image, identity, shared | keys.burned, source.plan.chip)  # noqa: PLW2901
                proofs.append(Proof("holds the board's certificate", image.name, _named(identity)))
            elif image.encrypt_per_device and cipher_key is not None:
                content = _encrypted(content, cipher_key, image.offset, image.name)
                proofs.append(Proof("decrypts to the source", image.name, f"at flash offset 0x{image.offset:x}"))
                image = replace(image, encrypted=True, encrypt_per_device=False)  # noqa: PLW2901
            images.append(replace(image, size=len(content), sha256=hashlib.sha256(content).hexdigest()))
            contents[image.file] = content
        known = () if begun is None else begun.manifest.keys
        fingerprints: dict[str, str | None] = {**{key.role: key.fingerprint for key in known}, **keys.fingerprints}
        plan = replace(
            source.plan,
            images=tuple(ImageEntry(image.file, image.offset, image.size, image.sha256) for image in images),
            steps=tuple(
                replace(step, fingerprint=fingerprints.get(step.role, step.fingerprint))
                if isinstance(step, KeyStep)
                else step
                for step in source.plan.steps
            ),
        )
        for path in sorted((template.folder / "digests").glob("*.bin")):
            write_durably(staging / "digests" / path.name, read_file(path, KEY_FILE_LIMIT))
        for step in plan.data:
            write_durably(staging / step.file, step.content)
        if identity is not None:
            write_durably(staging / IDENTITY_PLAIN, identity.content)
        manifest = replace(
            source.manifest,
            images=tuple(images),
            keys=tuple(
                replace(key, fingerprint=fingerprints.get(key.role, key.fingerprint)) for key in source.manifest.keys
            ),
            checks=tuple(proofs),
            per_device=None,
        )
        manifest = replace(manifest, readable=as_rows(readable_files(manifest, plan, contents.get)))
        secret = secret_files(manifest)
        for name, content in contents.items():
            write_durably(staging / name, content, 0o600 if name in secret else 0o644)
        write_durably(staging / "plan.json", document_text(plan).encode())
        write_durably(staging / "provision.py", render_script(plan, source.manifest.project).encode())
        files = sorted(path for path in staging.rglob("*") if path.is_file())
        hashes = {path.relative_to(staging).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        manifest = replace(manifest, files=hashes)
        write_durably(staging / MANIFEST, document_text(manifest).encode())
        inside = staging / "keys" if keys_folder == folder / "keys" else keys_folder
        burned = DeviceKeys({**shared, **keys.burned})
        for role, data in burned.burned.items():
            write_secret_file(inside / f"{role}.bin", data)
        for name, data in burned.pem_files(plan).items():
            write_secret_file(inside / Path(name).name, data)
        before_it_is_there(plan)
    return FinishedBundle(folder, manifest, plan)


def _has(begun: FinishedBundle | None, identity: MadeIdentity, source: FinishedBundle) -> bool:
    """Whether the images are those of a record that has this identity already, encrypted if it has to be."""
    if begun is None or source is not begun:
        return False
    return read_file(begun.folder / IDENTITY_PLAIN, IMAGE_LIMIT) == identity.content


def _with_identity(
    image: ManifestImage, identity: MadeIdentity, keys: dict[str, bytes], chip: str
) -> tuple[ManifestImage, bytes]:
    """The image of the identity, encrypted with one of the keys if it is to be.

    Raises DeviceError SE455 if that key is on the chip already, and nobody can read it.
    """
    plaintext = whole_image(identity, image.size)
    made = replace(image, source_sha256=hashlib.sha256(plaintext).hexdigest())
    if not (image.encrypted or image.encrypt_per_device):
        return made, plaintext
    key = DeviceKeys(keys).cipher_key(chip)
    if key is None:
        raise DeviceError(
            "SE455",
            "this board's flash encryption key is burned and hidden, the key of its identity was never burned, and a "
            "new identity cannot be encrypted for it",
            cure="set the board aside; it was cut twice, and no run can finish it",
            place=image.name,
        )
    content = _encrypted(plaintext, key, image.offset, image.name)
    return replace(made, encrypted=True, encrypt_per_device=False), content


def _named(identity: MadeIdentity) -> str:
    return f"{name_of(identity.certificate)}, serial {identity.certificate.serial_number:040x}"


def _image(folder: Path, image: ManifestImage) -> bytes:
    """An image of a bundle. Raises InputError SE731 if it is not the one that was looked at when that was opened."""
    try:
        content = read_file(folder / image.file, IMAGE_LIMIT)
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise InputError(
            "SE731",
            f"{image.file} is missing, or is not the file that the bundle was made with",
            cure="make the bundle again, or copy the whole of it again",
            place=str(folder),
        )
    return content


def _encrypted(content: bytes, key: FlashEncryptionKey, offset: int, name: str) -> bytes:
    plaintext = pad_to_unit(content, key.scheme)
    ciphertext = encrypt_and_undo(plaintext, key=key, flash_offset=offset)
    if ciphertext is None:
        raise CheckError(
            "SE713",
            "the ciphertext does not decrypt to what was encrypted",
            cure="this is a defect of secure-provision or of this machine; the board was not touched; report it",
            place=name,
        )
    return ciphertext


def _shared_keys(template: FinishedBundle, plan: PlanDocument) -> dict[str, bytes]:
    """The secrets that the boards have in common, such as an NVS HMAC key from a file."""
    shared: dict[str, bytes] = {}
    for step in plan.keys:
        if step.is_digest or step.role in template.own_roles:
            continue
        try:
            shared[step.role] = read_file(template.folder / step.file, KEY_FILE_LIMIT)
        except OSError as error:
            raise InputError(
                "SE731",
                f"{step.file} is missing, or is not the file that the bundle was made with ({error.strerror})",
                cure="make the bundle again, or copy the whole of it again",
                place=str(template.folder),
            ) from None
    return shared
