# SPDX-License-Identifier: Apache-2.0
"""Do the bundle's own OTA data start the app that its manifest names?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.checks import Check
from secure_ext.documents.manifest import PartitionRow
from secure_ext.formats.ota_data import started_slot
from secure_ext.prove.verify.check import failed, judged, unseen
from secure_ext.prove.verify.documents import Documents

_NAME = "boot-slot"
_SLOT = "ota_"


def check_boot(documents: Documents, readable: dict[str, bytes]) -> Iterator[Check]:
    """Nothing for a bundle whose profile named no app; `readable` is what `read_images` returns."""
    manifest = documents.manifest
    label = manifest.boot
    if label is None:
        return
    apps = {row.label: row for row in manifest.partitions if row.type == "app"}
    if label not in apps or not any((image.partition, image.role) == (label, "app") for image in manifest.images):
        yield failed(_NAME, label, "a new board is to start it, and the bundle has no app for such a partition")
        return
    data = {row.label for row in manifest.partitions if (row.type, row.subtype) == ("data", "ota")}
    image = next((image for image in manifest.images if image.partition in data), None)
    if image is not None and image.name not in readable:
        yield unseen(_NAME, label, "the OTA data are encrypted, and the key is not given")
        return
    slots = {row.subtype: row for row in apps.values() if row.subtype.startswith(_SLOT)}
    number = None if image is None else started_slot(readable[image.name], len(slots))
    started = _started(number, slots, apps)
    yield judged(_NAME, label, started == label, "a new board starts it", f"a new board starts {started or 'no app'}")


def _started(number: int | None, slots: dict[str, PartitionRow], apps: dict[str, PartitionRow]) -> str | None:
    """The label of what the bootloader starts: the chosen slot, else the factory app, else the first slot."""
    factory = next((row for row in apps.values() if row.subtype == "factory"), None)
    row = slots.get(f"{_SLOT}{number}") if number is not None else factory or slots.get(f"{_SLOT}0")
    return None if row is None else row.label
