# SPDX-License-Identifier: Apache-2.0
"""What stays in the flash of a board that carries something already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from secure_ext.build.build import Build
from secure_ext.errors import UsageError
from secure_ext.formats.partition_table import Partition, covered_by_flash_encryption
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.steps import KeepFlash
from secure_ext.policy.policy import Policy
from secure_ext.station.flash_sectors import SECTOR_SIZE, whole_sectors

_RANGE = re.compile(r"(0x[0-9a-fA-F]+|\d+)\s*\+\s*(0x[0-9a-fA-F]+|\d+)")


def kept_ranges(build: Build, policy: Policy, images: Sequence[PlannedImage]) -> tuple[KeepFlash, ...]:
    """What ``keep`` of the profile names, by flash address.

    Raises UsageError SE407 for what cannot be kept: an unknown partition, one that gets an image, ranges that overlap
    or that are not whole sectors, and one that flash encryption covers in part only.
    """
    kept = sorted((_range(build, policy, wish) for wish in policy.keep or ()), key=lambda keep: keep.offset)
    for before, after in pairwise(kept):
        if before.end > after.offset:
            raise _refused(after.label, f"it overlaps {before.label}", "name each part of the flash once")
    own = [(build.table_offset, build.table_offset + SECTOR_SIZE, "the partition table")]
    own += [(image.offset, whole_sectors(image.end), f"the image {image.name}") for image in images]
    for keep in kept:
        for start, end, what in own:
            if keep.offset < end and start < keep.end:
                raise _refused(keep.label, f"{what} is written there", "leave out one of the two")
    return tuple(kept)


def _range(build: Build, policy: Policy, wish: str) -> KeepFlash:
    partition = next((row for row in build.partitions.partitions if row.label == wish), None)
    if partition is not None:
        return _kept(policy, wish, partition.offset, partition.size, (partition,))
    found = _RANGE.fullmatch(wish)
    if found is None:
        known = ", ".join(row.label for row in build.partitions.partitions)
        cure = f"the partitions are: {known}; or give a flash offset and a size, as 0x9000+0x2000"
        raise _refused(wish, "the partition table has no such partition", cure)
    offset, size = (int(number, 0) for number in found.groups())
    touched = [row for row in build.partitions.partitions if row.offset < offset + size and offset < row.end]
    return _kept(policy, wish, offset, size, touched)


def _kept(policy: Policy, label: str, offset: int, size: int, touched: Sequence[Partition]) -> KeepFlash:
    if not size or offset % SECTOR_SIZE or size % SECTOR_SIZE:
        raise _refused(label, "it is not a number of whole sectors", "flash is erased in sectors of 0x1000 bytes")
    covered = [row for row in touched if covered_by_flash_encryption(row)]
    is_whole = len(covered) == 1 and covered[0].offset <= offset and offset + size <= covered[0].end
    if covered and not is_whole:
        raise _refused(
            label,
            f"flash encryption covers a part of it ({', '.join(row.label for row in covered)})",
            "name each partition by itself",
        )
    return KeepFlash(label, offset, size, encrypt=bool(covered) and policy.flash_encryption.enabled)


def _refused(label: str, why: str, cure: str) -> UsageError:
    return UsageError("SE407", f"{label} cannot be kept: {why}", cure=cure, place="profile: keep")
