# SPDX-License-Identifier: Apache-2.0
"""An update package as it is written down: its ``manifest.json``."""

from __future__ import annotations

from typing import Annotated, Literal

from secure_ext.documents.manifest import RecordedFinding, SomeText, Time, Tool
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_words import Chip
from secure_ext.station.typed_document import Between, Fingerprint, Items, Matching, Sha256, Word32

_Size = Annotated[int, Between(1, 0xFFFFFFFF)]


@frozen
class UpdatedApp:
    """The app of an update, which is not encrypted.

    Attributes:
        file: path in the package.
        size: bytes.
        sha256: of the file.
        source_sha256: of the app as it was built.
        signed_by: SHA-256 of the public key of each signature.
    """

    file: Literal["app.bin"]
    size: _Size
    sha256: Sha256
    source_sha256: Sha256
    signed_by: tuple[Sha256, ...]


@frozen
class SlotFile:
    """The app as ciphertext for one slot.

    Attributes:
        file: path in the package.
        size: bytes.
        sha256: of the file.
    """

    file: Annotated[str, Matching(r"pre-encrypted/ota_[0-9]+-at-0x[0-9a-f]+\.bin")]
    size: _Size
    sha256: Sha256


@frozen
class UpdatedData:
    """Data of an update, signed and not encrypted.

    Attributes:
        partition: label of the partition that they are for.
        file: path in the package.
        size: bytes, with padding and signatures.
        sha256: of the file.
        source_sha256: of the data as they were given.
        signed_by: SHA-256 of the public key of each signature.
    """

    partition: SomeText
    file: Annotated[str, Matching(r"data/[A-Za-z0-9._-]+-at-0x[0-9a-f]+\.bin")]
    size: _Size
    sha256: Sha256
    source_sha256: Sha256
    signed_by: Annotated[tuple[Sha256, ...], Items(least=1)]


@frozen
class UpdateSlot:
    """A partition that boards write an update to.

    Attributes:
        partition: its label.
        offset: flash address in bytes.
        size: bytes.
        image: the app as ciphertext for this slot; null if it was not encrypted ahead.
    """

    partition: SomeText
    offset: Word32
    size: _Size
    image: SlotFile | None


@frozen
class RecordedCheck:
    """A check that was made.

    Attributes:
        name: stable name of the check.
        place: what it is about.
        outcome: how it ended.
        evidence: what was seen.
        cure: what to do about it; empty if nothing.
    """

    name: SomeText
    place: SomeText
    outcome: Literal["passed", "failed", "not verifiable"]
    evidence: str
    cure: str


@frozen
class UpdateManifest:
    """What is in an update package, for which boards, and what was checked.

    Attributes:
        schema: number of this form of the document.
        kind: what kind of package it is.
        tool: the version that made it.
        created: time in UTC.
        fleet: identity of the bundle that the boards were made with.
        chip: ESP-IDF's target name.
        project: name of the project.
        version: of the app.
        secure_version: of the app.
        app: the app itself.
        slots: where boards may write it.
        key_fingerprints: of the flash encryption key that slots are encrypted with.
        checks: what was checked.
        findings: of the doctor; absent in packages of 0.1.0.
        data: for data partitions; absent where there are none.
    """

    schema: Literal[1]
    kind: Literal["ota"]
    tool: Tool
    created: Time
    fleet: Sha256
    chip: Chip
    project: str
    version: str
    secure_version: Word32
    app: UpdatedApp
    slots: Annotated[tuple[UpdateSlot, ...], Items(least=1)]
    key_fingerprints: tuple[Fingerprint, ...]
    checks: tuple[RecordedCheck, ...]
    findings: tuple[RecordedFinding, ...] | None = None
    data: tuple[UpdatedData, ...] | None = None
