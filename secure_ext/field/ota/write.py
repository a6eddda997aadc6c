# SPDX-License-Identifier: Apache-2.0
"""Writes an update package: the app, the images of the slots, what they are, and how they are used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from secure_ext import __version__
from secure_ext.atomic import Kind, replaced_directory
from secure_ext.build.build import Build
from secure_ext.build.files import read_bytes
from secure_ext.bundle.manifest import creation_time, document_text
from secure_ext.checks import Check, checks_data
from secure_ext.doctor.rule import Finding
from secure_ext.documents.read import MANIFEST
from secure_ext.documents.update import UpdateManifest
from secure_ext.field.fleet_signatures import Wanted
from secure_ext.field.ota.app import UpdateApp, make_app
from secure_ext.field.ota.data import SignedData, sign_all_data
from secure_ext.field.ota.fleet import FleetBundle, ota_slots
from secure_ext.field.ota.slots import SlotImage, first_update, pre_encrypt, size_checks
from secure_ext.formats.partition_table import Partition
from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import read_document

SCHEMA = 1
APP = "app.bin"
README = "README.txt"


@frozen
class Package:
    """A finished update package: where it is, and its manifest."""

    folder: Path
    manifest: UpdateManifest
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def write_package(
    build: Build,
    fleet: FleetBundle,
    wanted: Wanted,
    output: Path,
    *,
    pre_encrypted: bool,
    data_files: Sequence[tuple[str, Path]] = (),
) -> Package:
    """Makes the update in the directory `output`, whole or not at all; an earlier update there is replaced.

    `data_files` are files with the labels of the data partitions that they are for. Raises what `make_app`,
    `ota_slots`, `sign_all_data` and `pre_encrypt` raise; InputError SE701, SE702 if it cannot be written.
    """
    table_sha256 = hashlib.sha256(read_bytes(build.partition_table_file.path)).hexdigest()
    slots = ota_slots(fleet, build.partitions, table_sha256)
    app = make_app(build, fleet, slots, wanted)
    sizes = tuple(size_checks(slots, app.content))
    images = pre_encrypt(slots, app.content, fleet) if pre_encrypted else ()
    data = sign_all_data(data_files, build, fleet, fleet.boards.table or build.partitions, wanted)
    first = first_update(slots, fleet.boot)
    of_data = dict.fromkeys(check for one in data for check in one.checks)
    checks = (*app.checks, *sizes, *first, *(check for image in images for check in image.checks), *of_data)
    manifest = _manifest(fleet, app, slots, images, data=data, checks=checks)
    with replaced_directory(output, Kind.UPDATE_PACKAGE) as folder:
        (folder / APP).write_bytes(app.content)
        contents = {_file(image.slot): image.content for image in images} | {one.file: one.content for one in data}
        for name, content in contents.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        (folder / README).write_text(readme(manifest), encoding="utf-8", newline="\n")
        (folder / MANIFEST).write_text(document_text(manifest), encoding="utf-8", newline="\n")
    return Package(output, manifest, checks, app.findings)


def _file(slot: Partition) -> str:
    return f"pre-encrypted/{slot.subtype_name}-at-0x{slot.offset:x}.bin"


def _manifest(
    fleet: FleetBundle,
    app: UpdateApp,
    slots: tuple[Partition, ...],
    images: tuple[SlotImage, ...],
    *,
    data: tuple[SignedData, ...],
    checks: tuple[Check, ...],
) -> UpdateManifest:
    encrypted = {image.slot: image for image in images}
    members = {
        "schema": SCHEMA,
        "kind": Kind.UPDATE_PACKAGE.value,
        "tool": f"idf-secure-provision {__version__}",
        "created": creation_time(),
        "fleet": fleet.identity,
        "chip": fleet.boards.chip.name,
        "project": app.description.project,
        "version": app.description.version,
        "secure_version": app.description.secure_version,
        "app": {
            "file": APP,
            "size": len(app.content),
            "sha256": hashlib.sha256(app.content).hexdigest(),
            "source_sha256": hashlib.sha256(app.source).hexdigest(),
            "signed_by": [digest.hex() for digest in app.signed_by],
        },
        "slots": [
            {"partition": slot.label, "offset": slot.offset, "size": slot.size, "image": _image(encrypted.get(slot))}
            for slot in slots
        ],
        "key_fingerprints": list(fleet.key_fingerprints) if images else [],
        "checks": checks_data(checks)["checks"],
        "findings": [finding.as_dict() for finding in app.findings],
        **({"data": [_data(one) for one in data]} if data else {}),
    }
    return read_document(UpdateManifest, members)


def _image(image: SlotImage | None) -> dict[str, object] | None:
    if image is None:
        return None
    return {"file": _file(image.slot), "size": len(image.content), "sha256": image.sha256}


def _data(data: SignedData) -> dict[str, object]:
    return {
        "partition": data.partition.label,
        "file": data.file,
        "size": len(data.content),
        "sha256": hashlib.sha256(data.content).hexdigest(),
        "source_sha256": data.source_sha256,
        "signed_by": [digest.hex() for digest in data.signed_by],
    }


def readme(manifest: UpdateManifest) -> str:
    """What whoever gets the folder must know."""
    lines = [
        f"Update {manifest.version} of {manifest.project} for {manifest.chip}",
        "",
        f"{APP}: the app, {'signed' if manifest.app.signed_by else 'not signed'}, not encrypted. This is what",
        "esp_ota_write and esp_https_ota take: a board with flash encryption encrypts it while it writes. Send it over",
        "TLS, for whoever reads it has the code.",
    ]
    images = [(slot, slot.image) for slot in manifest.slots if slot.image is not None]
    if images:
        lines += [
            "",
            "pre-encrypted/: the same app as ciphertext, one file a slot. Flash encryption depends on the address:",
            "what is encrypted for one slot decrypts to noise in the other, and does not boot there. A board must",
            "fetch the file of the slot that it does not run from (esp_ota_get_next_update_partition), and write it",
            "with esp_partition_write_raw: esp_ota_write would encrypt it once more. Only for boards with this key:",
            f"fingerprint {', '.join(manifest.key_fingerprints)}.",
            "",
            *(f"  0x{slot.offset:06x}  {slot.partition:16}  {image.file}" for slot, image in images),
        ]
    if manifest.data:
        lines += [
            "",
            "data/: for data partitions, signed, not encrypted. Write all of a file with esp_ota_write, signature",
            "included, to a partition of this label as esp_ota_begin's final one: esp_ota_end verifies it.",
            "",
            *(f"  {one.partition:16}  {one.file}" for one in manifest.data),
        ]
    return "\n".join([*lines, "", f"{MANIFEST} has the hashes, and what was checked.", ""])
