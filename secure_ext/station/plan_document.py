# SPDX-License-Identifier: Apache-2.0
"""The plan as it is written down: ``plan.json`` of a bundle, and the table at the top of ``provision.py``.

Keys are named by file, fingerprint and length, never by value. Part of ``provision.py``: standard library only, Python
3.9 and later.
"""

from __future__ import annotations

from typing import Annotated, Literal, Optional, Union

from secure_ext.station.block_data import BlockData
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_words import Bits, BlockName, Chip, Field, ImageFile, Revision, Role, StepId
from secure_ext.station.typed_document import Between, Fingerprint, Items, Line, Matching, Sha256, Word32


@frozen
class BoardRequirements:
    """What a board must have, or no bootloader and no app of this bundle ever starts on it.

    Attributes:
        flash_size: bytes of flash that bootloader and app take it for; null if the bootloader could not be read.
        flash_end: first flash address in bytes behind the last partition and the last image.
        min_block_revision: least revision of the eFuse blocks, major * 100 + minor; 0 if any will do.
        max_block_revision: greatest one, null if there is no limit.
        cores: how many cores the app starts, 1 or 2.
        octal_flash: the app aborts unless the eFuse FLASH_TYPE says that the flash has eight data lines.
        secure_version: the app's, which the board's SECURE_VERSION must not exceed; null if it is not compared.
        secure_version_bits: how many bits of SECURE_VERSION count.
        bootloader_secure_version: the bootloader's, which the ROM compares where BOOTLOADER_ANTI_ROLLBACK_EN is burned.
        exclusive_purposes: beginnings of the key purposes that no block outside the plan may have.
    """

    flash_size: Optional[Word32]
    flash_end: Word32
    min_block_revision: Revision
    max_block_revision: Optional[Revision]
    cores: Literal[1, 2]
    octal_flash: bool
    secure_version: Optional[Word32]
    secure_version_bits: Annotated[int, Between(0, 32)]
    bootloader_secure_version: Annotated[int, Between(0, 255)]
    exclusive_purposes: tuple[Literal["XTS_AES_", "SECURE_BOOT_DIGEST"], ...]


@frozen
class FieldPlace:
    """Where the plan's chip has an eFuse field, so that an espefuse with another layout is found out.

    Attributes:
        field: espefuse's name.
        block: number of its block.
        start: number of its first bit in the block.
        bits: width in bits.
        min_revision: it is there from this chip revision on; 0 for all.
    """

    field: Field
    block: Annotated[int, Between(0, 10)]
    start: Annotated[int, Between(0, 511)]
    bits: Annotated[int, Between(1, 512)]
    min_revision: Revision


@frozen
class MustBeClear:
    """An eFuse field that has to be 0 on the chip, or going on would damage it or lead nowhere.

    Attributes:
        field: espefuse's name.
        why: what it would mean if it were burned.
    """

    field: Field
    why: Line


@frozen
class CarriedBlock:
    """An eFuse block in which a board may carry something that is not the plan's, and that the plan leaves alone.

    Attributes:
        block: espefuse's name.
        number: number of the block.
        wr_dis_bits: bits of WR_DIS that protect it, and the purpose of its key.
        rd_dis_bits: bits of RD_DIS that hide it.
    """

    block: Annotated[str, Matching("BLOCK(_KEY[0-5]|[0-9]+)")]
    number: Annotated[int, Between(0, 10)]
    wr_dis_bits: Bits
    rd_dis_bits: Bits


@frozen
class KeyPlace:
    """A key block into which the station may put a key, where another one is in the block that the plan names.

    Attributes:
        block: espefuse's name.
        block_number: number of the block.
        purpose_field: the field of its purpose.
        wr_dis_bits: bits of WR_DIS that protect it, and the purpose of its key.
        rd_dis_bits: bits of RD_DIS that hide it.
        holds_flash_key: whether a flash encryption key works there.
    """

    block: Annotated[str, Matching("BLOCK_KEY[0-5]")]
    block_number: Annotated[int, Between(0, 10)]
    purpose_field: Annotated[str, Matching("KEY_PURPOSE_[0-5]")]
    wr_dis_bits: Bits
    rd_dis_bits: Bits
    holds_flash_key: bool


@frozen
class ImageEntry:
    """One image of the bundle.

    Attributes:
        file: path in the bundle, with forward slashes.
        offset: flash address in bytes.
        size: bytes.
        sha256: of the file.
    """

    file: ImageFile
    offset: Word32
    size: Annotated[int, Between(1, 0xFFFFFFFF)]
    sha256: Sha256

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.offset + self.size


@frozen
class Step:
    """What every step says.

    Attributes:
        title: what it does, in words.
        why: why it is done.
        source: where the wish comes from: a Kconfig symbol, a profile key, a rule of ESP-IDF.
        id: unique in the plan, and stable between runs of this tool.
        stage: the part of provisioning it belongs to.
        irreversible: whether it can never be undone.
        min_revision: it is done on chips of at least this revision; 0 for all.
        kind: what kind of step it is.
    """

    title: Line
    why: Line
    source: Line
    id: StepId
    stage: Literal["flash", "burn", "seal"]
    irreversible: bool
    min_revision: Revision
    kind: str


@frozen
class KeepStep(Step):
    """Leave a part of the flash as it is, or encrypt what is there as the chip will decrypt it.

    Attributes:
        label: the name of the partition, or of the range.
        offset: first flash address in bytes.
        size: bytes, in whole sectors.
        encrypt: flash encryption covers it: it is read, encrypted with the board's key, and written back.
    """

    stage: Literal["flash"]
    irreversible: Literal[False]
    kind: Literal["keep_flash"]
    label: Line
    offset: Word32
    size: Annotated[int, Between(1, 0xFFFFFFFF)]
    encrypt: bool

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.offset + self.size


@frozen
class EraseStep(Step):
    """Erase flash.

    Attributes:
        offset: first flash address in bytes.
        size: bytes; null to the end of the flash that the board has.
    """

    stage: Literal["flash"]
    irreversible: Literal[False]
    kind: Literal["erase_flash"]
    offset: Word32
    size: Optional[Annotated[int, Between(1, 0xFFFFFFFF)]]


@frozen
class WriteStep(Step):
    """Write every image, and compare its MD5 on the chip."""

    stage: Literal["flash"]
    irreversible: Literal[False]
    kind: Literal["write_images"]


@frozen
class KeyStep(Step):
    """Burn a key or a digest into a block, with its purpose and protections.

    Attributes:
        role: what the key is for.
        file: its file in the bundle.
        fingerprint: of the bytes that are burned; null if it is not known yet.
        length: how many bytes of the file are burned.
        reversed: whether espefuse burns the last byte first.
        block: name of the key block.
        block_number: number of the block.
        burn_name: espefuse's word for the block, or for the half of it, in ``burn-key``.
        part: the part of the block it fills.
        purpose: espefuse's name of the key purpose; empty where blocks have fixed purposes.
        purpose_field: the field of the purpose; null where there is none.
        wr_dis_bits: bits of WR_DIS of the block, and of its purpose.
        rd_dis_bits: bits of RD_DIS that hide it; none for a digest.
        readable_bits: bits of RD_DIS that must stay clear; none for a key that is hidden.
        pem: the same key as espefuse takes it, if that is not `file`; absent for all but ECDSA keys of one block.
        signs: what the key of a digest signs in this bundle; absent for a secret, and in plans of 0.1.0, where every
            key signs all.
    """

    stage: Literal["burn"]
    irreversible: Literal[True]
    kind: Literal["burn_key"]
    role: Role
    file: Annotated[str, Matching(r"(keys|digests)/[a-z0-9_]+\.bin")]
    fingerprint: Optional[Fingerprint]
    length: Literal[16, 32]
    reversed: bool
    block: BlockName
    block_number: Annotated[int, Between(0, 10)]
    burn_name: Line
    part: Literal["whole", "low", "high"]
    purpose: Annotated[str, Matching("[A-Z0-9_]*")]
    purpose_field: Optional[Annotated[str, Matching("KEY_PURPOSE_[0-5]")]]
    wr_dis_bits: Annotated[Bits, Items(least=1)]
    rd_dis_bits: Bits
    readable_bits: Bits
    signs: Optional[Literal["all", "bootloader", "nothing"]] = None
    pem: Optional[Annotated[str, Matching(r"keys/[a-z0-9_]+\.pem")]] = None

    @property
    def is_digest(self) -> bool:
        """Whether it is the public digest of a signing key, and not a secret."""
        return self.role.startswith("secure_boot_digest")


@frozen
class FieldStep(Step):
    """Burn a value into a field.

    Attributes:
        field: espefuse's name.
        value: what the field becomes.
    """

    stage: Literal["burn", "seal"]
    irreversible: Literal[True]
    kind: Literal["burn_field"]
    field: Field
    value: Annotated[int, Between(1, 0xFFFFFFFF)]


@frozen
class ProtectStep(Step):
    """Make a field, and all that share its bit of WR_DIS, read-only.

    Attributes:
        field: espefuse's name.
        wr_dis_bit: number of the bit.
    """

    stage: Literal["burn"]
    irreversible: Literal[True]
    kind: Literal["write_protect"]
    field: Field
    wr_dis_bit: Annotated[int, Between(0, 31)]


@frozen
class DataStep(BlockData, Step):
    """Burn data into the block of user data.

    Attributes:
        mac_list: SHA-256 of the list in the bundle from which each board gets its address, which `data` then lack.
    """

    stage: Literal["burn"]
    irreversible: Literal[True]
    kind: Literal["burn_data"]
    mac_list: Optional[Sha256] = None


PlanStep = Union[KeepStep, EraseStep, WriteStep, KeyStep, DataStep, FieldStep, ProtectStep]
EfuseStep = Union[KeyStep, DataStep, FieldStep, ProtectStep]


@frozen
class PlanDocument:
    """A plan.

    Attributes:
        schema: number of this form of the document.
        chip: ESP-IDF's target name.
        min_revision: least chip revision that the plan is good for.
        max_revision: greatest one; null if there is no limit.
        virtual_revision_bits: block and bits that make a virtual chip one of these.
        least_esptool: least version of esptool that knows the chip, major and minor.
        layout: where each field is that the plan reads or burns.
        enabling_fields: the fields that turn flash encryption and secure boot on.
        must_be_clear: what must not be burned on the board before.
        images: what is written to flash; empty as long as no bundle is made.
        steps: what is done, in order.
        requirements: what this firmware asks of a board; absent in plans of 0.1.0.
        carried: where a board may carry something that is not the plan's; absent where it may carry nothing.
        places: the blocks from which the station chooses, if one is taken; absent where the plan's blocks are final.
    """

    schema: Literal[1]
    chip: Chip
    min_revision: Revision
    max_revision: Optional[Revision]
    virtual_revision_bits: tuple[
        tuple[Annotated[str, Matching("BLOCK[0-9]+")], tuple[Annotated[int, Between(0, 255)], ...]], ...
    ]
    least_esptool: tuple[Annotated[int, Between(0, 999)], Annotated[int, Between(0, 999)]]
    layout: tuple[FieldPlace, ...]
    enabling_fields: Annotated[
        tuple[Literal["FLASH_CRYPT_CNT", "SPI_BOOT_CRYPT_CNT", "ABS_DONE_1", "SECURE_BOOT_EN"], ...],
        Items(different=True),
    ]
    must_be_clear: tuple[MustBeClear, ...]
    images: tuple[ImageEntry, ...]
    steps: Annotated[tuple[PlanStep, ...], Items(least=1)]
    requirements: Optional[BoardRequirements] = None
    carried: Optional[tuple[CarriedBlock, ...]] = None
    places: Optional[tuple[KeyPlace, ...]] = None

    @property
    def efuse_steps(self) -> tuple[EfuseStep, ...]:
        """What is burned, in order."""
        return tuple(step for step in self.steps if isinstance(step, (KeyStep, DataStep, FieldStep, ProtectStep)))

    @property
    def keys(self) -> tuple[KeyStep, ...]:
        """The keys and digests that are burned."""
        return tuple(step for step in self.steps if isinstance(step, KeyStep))

    @property
    def data(self) -> tuple[DataStep, ...]:
        """What is burned into the block of user data."""
        return tuple(step for step in self.steps if isinstance(step, DataStep))

    @property
    def fields(self) -> tuple[FieldStep, ...]:
        """The fields that are burned."""
        return tuple(step for step in self.steps if isinstance(step, FieldStep))

    @property
    def protections(self) -> tuple[ProtectStep, ...]:
        """The fields that are write-protected."""
        return tuple(step for step in self.steps if isinstance(step, ProtectStep))

    @property
    def kept(self) -> tuple[KeepStep, ...]:
        """What stays in flash."""
        return tuple(step for step in self.steps if isinstance(step, KeepStep))

    @property
    def erases(self) -> tuple[EraseStep, ...]:
        """What is erased."""
        return tuple(step for step in self.steps if isinstance(step, EraseStep))
