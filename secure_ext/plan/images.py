# SPDX-License-Identifier: Apache-2.0
"""What goes where into flash: which images are signed, which are encrypted, how large they become."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import field, replace
from pathlib import Path

from secure_ext.build.build import Build, BuildFile, Role
from secure_ext.build.files import read_bytes
from secure_ext.chips.chip import load_chip
from secure_ext.errors import UsageError
from secure_ext.formats.image import ImageHeader, parse_image, signature_position, without_padding
from secure_ext.formats.nvs_csv import read_nvs_csv
from secure_ext.formats.partition_table import (
    DATA_NVS,
    DATA_NVS_KEYS,
    DATA_OTA,
    DATA_TEE_OTA,
    TYPE_DATA,
    Partition,
    covered_by_flash_encryption,
)
from secure_ext.formats.windows_names import is_device
from secure_ext.plan.boot_slot import boot_data, boot_slot, ota_data_partition, placed_files
from secure_ext.plan.identity_place import identity_partition
from secure_ext.plan.recipe import IdentityPlace, NvsFromCsv, NvsKeysImage, Recipe
from secure_ext.plan.recovery import recovery_offset
from secure_ext.policy.policy import BlankContent, NvsScheme, Policy
from secure_ext.policy.signing_entry import Signs
from secure_ext.station.flash_sectors import SECTOR_SIZE, whole_sectors
from secure_ext.station.frozen import frozen

_FAT, _LITTLEFS = 0x81, 0x83
_ROLES = {"app": Role.APP, "bootloader": Role.BOOTLOADER}
"""By the type of the partition that an image of the profile is for."""


@frozen
class PlannedImage:
    """One image before it is signed and encrypted.

    Attributes:
        name: unique in the bundle; the stem of its file.
        role: what it is.
        partition: label of its partition; None for bootloader and partition table.
        offset: flash address in bytes.
        source: where it comes from, for people; relative to the build directory if it is from there.
        content: the plaintext as it came, before signing and padding; of an image that is signed here, without erased
            flash behind its signature, or behind the place for it.
        header: header of an ESP image; None for data and the partition table.
        signed_already: the content carries a Secure Boot V2 signature sector.
        sign: it needs signatures.
        encrypt: the chip will decrypt it.
        fill_to: it is filled with 0xFF up to this many bytes; 0 for no filling.
        recipe: how it is made when the bundle is; the content is empty then. None if it is there already.
    """

    name: str
    role: Role
    partition: str | None
    offset: int
    source: str
    content: bytes = field(repr=False)
    header: ImageHeader | None
    signed_already: bool
    sign: bool
    encrypt: bool
    fill_to: int = 0
    recipe: Recipe | None = None

    @property
    def final_size(self) -> int:
        """Bytes in flash, with padding and signature sector."""
        size = len(self.content) if self.recipe is None else self.recipe.size
        if self.sign and not self.signed_already:
            size = whole_sectors(size) + SECTOR_SIZE
        return max(size, self.fill_to)

    @property
    def end(self) -> int:
        """First flash address behind it."""
        return self.offset + self.final_size

    def needs_signature_by(self, signs: Signs) -> bool:
        """Whether a key that signs this much has to sign it."""
        return self.sign and signs.covers(is_bootloader=self.role is Role.BOOTLOADER)


@frozen
class BlankPartition:
    """An encrypted partition without an image, and what it will hold."""

    partition: Partition
    content: BlankContent


def plan_images(build: Build, policy: Policy) -> tuple[PlannedImage, ...]:
    """Every image of the bundle, by flash address.

    Raises InputError of `parse_image` for an image that is damaged, encrypted or not one, and of `read_nvs_csv`;
    UsageError SE410 for a label the table does not have, SE411 for a partition with two images, SE331 for NVS values in
    a partition that is none for NVS, SE453 where none is for identities; what `boot_slot`, `placed_files` and
    `recovery_offset` raise.
    """
    slot = boot_slot(build, policy)
    images = [_from_build(build, policy, file) for file in placed_files(build, policy, slot)]
    images += _from_profile(build, policy, {image.partition for image in images})
    images += _recovery_bootloader(build, images)
    images += _ota_data(build, policy, slot)
    images += _identity(build, policy, {image.partition for image in images})
    images += _nvs(build, policy, {image.partition for image in images})
    images += _made_here(build, policy, {image.partition for image in images})
    images.sort(key=lambda image: image.offset)
    return tuple(_with_unique_names(images))


def blank_partitions(build: Build, policy: Policy, images: tuple[PlannedImage, ...]) -> tuple[BlankPartition, ...]:
    """The encrypted partitions that no image fills."""
    if not policy.flash_encryption.enabled:
        return ()
    filled = {image.partition for image in images}
    own = (build.bootloader_offset, build.table_offset)
    return tuple(
        BlankPartition(row, policy.blank_partitions.get(row.label, BlankContent.ERASED))
        for row in build.partitions.partitions
        if covered_by_flash_encryption(row)
        and row.label not in filled | set(policy.keep or ())
        and row.offset not in own
    )


def _partition(build: Build, label: str | None) -> Partition | None:
    return next((row for row in build.partitions.partitions if row.label == label), None)


def _from_build(build: Build, policy: Policy, file: BuildFile) -> PlannedImage:
    content = read_bytes(file.path)
    is_image = file.role in (Role.APP, Role.BOOTLOADER)
    header = parse_image(content, place=file.source) if is_image else None
    partition = _partition(build, file.partition)
    covered = (
        file.role is not Role.DATA if partition is None else covered_by_flash_encryption(partition)
    ) or file.offset in (build.bootloader_offset, build.table_offset)
    sign = is_image and policy.secure_boot.enabled
    content = without_padding(content) if sign else content
    return PlannedImage(
        name=file.name if file.role is not Role.APP else Path(file.source).stem,
        role=file.role,
        partition=file.partition,
        offset=file.offset,
        source=file.source,
        content=content,
        header=header,
        signed_already=header is not None and signature_position(content) is not None,
        sign=sign,
        encrypt=policy.flash_encryption.enabled and covered,
        fill_to=_fill_to(policy, partition),
    )


def _from_profile(build: Build, policy: Policy, taken: Collection[str | None]) -> Iterator[PlannedImage]:
    for label, path in policy.images.items():
        partition = _free_partition(build, label, taken, f"images.{label}")
        content = read_bytes(path)
        header = parse_image(content, place=path.name) if partition.type_name in _ROLES else None
        sign = header is not None and policy.secure_boot.enabled
        content = without_padding(content) if sign else content
        yield PlannedImage(
            name=label,
            role=_ROLES.get(partition.type_name, Role.DATA),
            partition=label,
            offset=partition.offset,
            source=path.name,
            content=content,
            header=header,
            signed_already=header is not None and signature_position(content) is not None,
            sign=sign,
            encrypt=policy.flash_encryption.enabled and covered_by_flash_encryption(partition),
            fill_to=_fill_to(policy, partition),
        )


def _recovery_bootloader(build: Build, images: Collection[PlannedImage]) -> Iterator[PlannedImage]:
    """The bootloader once more, where the ROM looks for it when the first one fails; if nobody gives another one."""
    offset = recovery_offset(build, load_chip(build.chip, build.min_revision))
    first = next((image for image in images if image.offset == build.bootloader_offset), None)
    if offset is None or first is None or any(image.offset == offset for image in images):
        return
    row = next((row for row in build.partitions.partitions if row.offset == offset), None)
    yield replace(first, name="bootloader-recovery", partition=row.label if row else None, offset=offset)


def _free_partition(build: Build, label: str, taken: Collection[str | None], setting: str) -> Partition:
    partition = _partition(build, label)
    if partition is None:
        known = ", ".join(row.label for row in build.partitions.partitions)
        raise UsageError(
            "SE410",
            f"the partition table has no partition {label!r}",
            cure=f"its partitions are: {known}",
            place=f"profile: {setting}",
        )
    if label in taken:
        raise UsageError(
            "SE411",
            f"there is an image for partition {label!r} already",
            cure="leave one of them out: that of the profile, or that of the build",
            place=f"profile: {setting}",
        )
    return partition


def _nvs(build: Build, policy: Policy, filled: set[str | None]) -> Iterator[PlannedImage]:
    """The NVS images of the profile's CSVs, and the nvs_keys image, both made with the bundle."""
    encrypted = policy.nvs.scheme is not NvsScheme.OFF
    for label, path in policy.nvs.images.items():
        partition = _free_partition(build, label, filled, f"nvs.images.{label}")
        size = partition.size // SECTOR_SIZE * SECTOR_SIZE
        if (partition.type, partition.subtype) != (TYPE_DATA, DATA_NVS) or not size:
            raise UsageError(
                "SE331",
                f"partition {label!r} is not an NVS partition: it is {partition.type_name}, {partition.subtype_name} "
                f"and has {partition.size} bytes",
                cure="name a partition of type data, subtype nvs and at least 4 KB; other images go under `images`",
                place=f"profile: nvs.images.{label}",
            )
        yield _made_later(partition, path.name, NvsFromCsv(read_nvs_csv(path), size, encrypted), encrypt=False)
    keys = next((row for row in build.partitions.partitions if _is_nvs_keys(row)), None)
    if policy.nvs.has_keys_partition and keys is not None:
        _free_partition(build, keys.label, filled, "nvs.key")
        source = f"NVS keys ({policy.nvs.key.describe()})"
        yield _made_later(keys, source, NvsKeysImage(SECTOR_SIZE), encrypt=policy.flash_encryption.enabled)


def _identity(build: Build, policy: Policy, filled: set[str | None]) -> Iterator[PlannedImage]:
    """The place of what each board gets for itself: its certificate."""
    wanted = policy.identity
    if wanted is None:
        return
    partition = _free_partition(build, identity_partition(build.partitions).label, filled, "identity")
    encrypt = policy.flash_encryption.enabled and covered_by_flash_encryption(partition)
    recipe = IdentityPlace(partition.size // SECTOR_SIZE * SECTOR_SIZE, wanted.ca_file)
    yield _made_later(partition, "the identity of each board", recipe, encrypt=encrypt)


def _made_later(partition: Partition, source: str, recipe: Recipe, *, encrypt: bool) -> PlannedImage:
    return replace(_ready(partition, source, b"", encrypt=encrypt), recipe=recipe)


def _ready(partition: Partition, source: str, content: bytes, *, encrypt: bool) -> PlannedImage:
    """Data for a whole partition that no build made."""
    return PlannedImage(
        name=partition.label,
        role=Role.DATA,
        partition=partition.label,
        offset=partition.offset,
        source=source,
        content=content,
        header=None,
        signed_already=False,
        sign=False,
        encrypt=encrypt,
    )


def _is_nvs_keys(partition: Partition) -> bool:
    return partition.type == TYPE_DATA and partition.subtype == DATA_NVS_KEYS


def _ota_data(build: Build, policy: Policy, slot: Partition | None) -> Iterator[PlannedImage]:
    """The OTA data with which a new board starts `slot`, if the profile names one."""
    partition = ota_data_partition(build.partitions)
    if slot is None or partition is None:
        return
    yield _ready(
        partition,
        f"OTA data that start {slot.label}",
        boot_data(slot).ljust(partition.size, b"\xff"),
        encrypt=policy.flash_encryption.enabled,
    )


def _made_here(build: Build, policy: Policy, filled: set[str | None]) -> Iterator[PlannedImage]:
    """Erased OTA data, which has to decrypt to 0xFF, and the blank partitions that the profile wants encrypted."""
    if not policy.flash_encryption.enabled:
        return
    for partition in build.partitions.partitions:
        is_ota_data = partition.type == TYPE_DATA and partition.subtype in (DATA_OTA, DATA_TEE_OTA)
        is_keys = _is_nvs_keys(partition)
        wanted = is_ota_data or policy.blank_partitions.get(partition.label) is BlankContent.ENCRYPTED
        if (
            partition.label in filled | set(policy.keep or ())
            or is_keys
            or not wanted
            or not covered_by_flash_encryption(partition)
        ):
            continue
        yield _ready(partition, "erased flash (0xFF)", b"\xff" * partition.size, encrypt=True)


def _fill_to(policy: Policy, partition: Partition | None) -> int:
    """File systems expect erased flash behind their data; behind ciphertext the chip would read noise."""
    expects_erased = partition is not None and partition.type == TYPE_DATA and partition.subtype in (_FAT, _LITTLEFS)
    if partition is None or not expects_erased or not policy.flash_encryption.enabled:
        return 0
    return partition.size if covered_by_flash_encryption(partition) else 0


def _with_unique_names(images: list[PlannedImage]) -> Iterator[PlannedImage]:
    seen: set[str] = set()
    for image in images:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", image.name) or "image"
        name = f"image-{name}" if is_device(name) else name
        if name.lower() in seen:  # Windows would write both into one file
            name = f"{name}-0x{image.offset:x}"
        seen.add(name.lower())
        yield replace(image, name=name)
