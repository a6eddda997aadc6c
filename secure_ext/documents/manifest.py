# SPDX-License-Identifier: Apache-2.0
"""The manifest as it is written down: ``manifest.json`` of a bundle. It holds no secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from secure_ext.station.frozen import frozen
from secure_ext.station.plan_words import BlockName, Chip, ImageFile, Role
from secure_ext.station.typed_document import Between, Fingerprint, Items, Matching, Sha256, Word32

SomeText = Annotated[str, Matching(r"[\s\S]+")]
Tool = Annotated[str, Matching(r"idf-secure-provision \S+")]
Time = Annotated[str, Matching("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")]
ImageName = Annotated[str, Matching("[A-Za-z0-9._-]+")]
PublicFile = Annotated[str, Matching(r"(?!keys/)(?!journal/)(?!sealed/)(?!/)(?!.*\\)(?!.*(^|/)\.\.?(/|$)).+")]
"""A path in the bundle, with forward slashes, of a file that holds no secret and belongs to no single board."""
SecretRole = Literal[
    "flash_encryption_key",
    "flash_encryption_key_half_1",
    "flash_encryption_key_half_2",
    "nvs_hmac_key",
    "extra_key_0",
    "extra_key_1",
    "extra_key_2",
    "extra_key_3",
    "extra_key_4",
    "extra_key_5",
]


@frozen
class PartitionRow:
    """A row of the partition table.

    Attributes:
        label: its name.
        type: name of the type, or a number.
        subtype: name of the subtype, or a number.
        offset: flash address in bytes.
        size: bytes.
        flags: what stands in the row.
        encrypted: whether the chip encrypts it.
    """

    label: str
    type: Annotated[str, Matching("[a-z_]+|0x[0-9a-f]{2}")]
    subtype: Annotated[str, Matching("[a-z0-9_]+|0x[0-9a-f]{2}")]
    offset: Word32
    size: Word32
    flags: Word32
    encrypted: bool


@frozen
class ManifestImage:
    """An image of the bundle.

    Attributes:
        name: its name, and that of its file.
        role: what it is.
        partition: label of the partition that it is in; null outside of all.
        file: path in the bundle.
        offset: flash address in bytes.
        size: bytes.
        sha256: of the file.
        encrypted: whether the file is ciphertext.
        encrypt_per_device: whether it is encrypted when a board gets a key of its own.
        signed: whether it carries signatures.
        source: the file that it was made of.
        source_sha256: of that file; null for what was made, whose source holds secrets.
        recipe: how it was made, if not by the build.
    """

    name: ImageName
    role: Literal["bootloader", "partition_table", "app", "data"]
    partition: str | None
    file: ImageFile
    offset: Word32
    size: Annotated[int, Between(1, 0xFFFFFFFF)]
    sha256: Sha256
    encrypted: bool
    encrypt_per_device: bool
    signed: bool
    source: SomeText
    source_sha256: Sha256 | None
    recipe: Literal["nvs-csv", "nvs-keys", "identity"] | None

    @property
    def end(self) -> int:
        """The first flash address behind it."""
        return self.offset + self.size


@frozen
class ManifestKey:
    """A key that boards get.

    Attributes:
        role: what it is for.
        fingerprint: of the bytes that are burned; null for a key that each board gets for itself.
        block: name of the key block.
        purpose: espefuse's name of the purpose; null where blocks have fixed purposes.
    """

    role: Role
    fingerprint: Fingerprint | None
    block: BlockName
    purpose: SomeText | None


@frozen
class Tools:
    """Versions of the programs that made the bundle.

    Attributes:
        python: of Python.
        esptool: of esptool.
        cryptography: of the library cryptography.
    """

    python: SomeText
    esptool: SomeText
    cryptography: SomeText


@frozen
class Inputs:
    """What the bundle was made from.

    Attributes:
        sdkconfig: hash of the build's configuration.
        flasher_args: hash of the build's list of images.
        partition_table: hash of the partition table, as it was built.
        profile: hash of the profile; null if there was none.
        options: what was said on the command line or in the menu, by profile key; no key and no path of one.
        tools: versions.
        build_dir: the way from the bundle to the build directory; absent in bundles of 0.1.0.
        key_home: the way to the home of the generated keys; null if none were generated; absent in bundles of 0.1.0.
    """

    sdkconfig: Sha256
    flasher_args: Sha256
    partition_table: Sha256
    profile: Sha256 | None
    options: Mapping[str, object]
    tools: Tools
    build_dir: SomeText | None = None
    key_home: SomeText | None = ""  # absent: not null, which counts for what the bundle is


@frozen
class Proof:
    """Something that was proved of an image when the bundle was made.

    Attributes:
        name: what was proved.
        image: name of the image.
        evidence: what was seen.
    """

    name: SomeText
    image: SomeText
    evidence: SomeText


@frozen
class RecordedFinding:
    """A finding of the doctor.

    Attributes:
        code: of the rule.
        severity: how bad it is.
        place: what it is about; may be empty.
        cause: what was found.
        cure: what to do about it.
        accepted: whether the user accepted it.
    """

    code: Annotated[str, Matching("SP[0-9]{3}")]
    severity: Literal["info", "warning", "error"]
    place: str
    cause: SomeText
    cure: SomeText
    accepted: bool


@frozen
class BoardIdentity:
    """The certificate that each board gets.

    Attributes:
        role: of the key in eFuse, among those that each board gets for itself.
        key: its kind.
        subject: RFC 4514, with places for the board's values.
        days: how long it is valid.
        ca: SHA-256 of the file with the certificates of the CA.
    """

    role: SecretRole
    key: Literal["rsa2048", "rsa3072", "rsa4096", "ecdsa256"]
    subject: SomeText
    days: Annotated[int, Between(1, 36500)]
    ca: Sha256


@frozen
class PerDevice:
    """What each board gets for itself.

    Attributes:
        keys: the roles of its keys; none where only its custom MAC address is its own, as the plan says.
        keep: what becomes of them when they are burned.
        seal_to: the file of the public key that sealed copies are encrypted to; null if there are none.
        identity: the certificate of each board; absent if they get none.
    """

    keys: tuple[SecretRole, ...]
    keep: Literal["destroy", "sealed"]
    seal_to: Literal["seal_to.pem"] | None
    identity: BoardIdentity | None = None


@frozen
class ReadableImage:
    """What an image shows to whoever has its file and no key.

    Attributes:
        file: path in the bundle.
        holds: what is in it; the last four are secrets, whose files are the owner's alone.
    """

    file: ImageFile
    holds: Literal[
        "ciphertext",
        "nvs-ciphertext",
        "erased",
        "partition-table",
        "firmware",
        "data",
        "nvs-values",
        "nvs-keys",
        "core-dump",
        "private-key",
    ]


@frozen
class Manifest:
    """What is in a bundle, from what it was made, and what was proved.

    Attributes:
        schema: number of this form of the document.
        tool: the version that made it.
        chip: ESP-IDF's target name.
        idf_version: of the build; null if unknown.
        settings: Kconfig symbols of the firmware, without ``CONFIG_``; absent in bundles of 0.1.0.
        project: name of the project.
        created: time in UTC.
        flash_size: bytes of flash that the build is for; null if unknown.
        partitions: the rows of the partition table.
        key_blocks: names of the chip's key blocks.
        images: what goes to flash, by address.
        files: SHA-256 of each public file of the bundle, by path.
        keys: what is burned into key blocks.
        inputs: what it was made from.
        checks: what was proved when it was made.
        findings: of the doctor.
        per_device: the keys that each board gets for itself; null if there are none.
        readable: what each image shows, in the order of the images; absent in bundles of 0.1.0.
        boot: label of the app partition that a new board starts, if the profile says it; else absent.
    """

    schema: Literal[1]
    tool: Tool
    chip: Chip
    idf_version: str | None
    project: str
    created: Time
    flash_size: Annotated[int, Between(1, 0xFFFFFFFF)] | None
    partitions: Annotated[tuple[PartitionRow, ...], Items(least=1)]
    key_blocks: Annotated[tuple[BlockName, ...], Items(least=1, different=True)]
    images: Annotated[tuple[ManifestImage, ...], Items(least=1)]
    files: Mapping[PublicFile, Sha256]
    keys: tuple[ManifestKey, ...]
    inputs: Inputs
    checks: tuple[Proof, ...]
    findings: tuple[RecordedFinding, ...]
    per_device: PerDevice | None
    settings: Mapping[str, bool | int | str] | None = None
    readable: tuple[ReadableImage, ...] | None = None
    boot: SomeText | None = None
