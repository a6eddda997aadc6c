# SPDX-License-Identifier: Apache-2.0
"""Does the flash hold what was built, encrypted where the firmware decrypts, and nothing else?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

from secure_ext.prove.boot_check.bundle_documents import Image, Promise
from secure_ext.prove.boot_check.findings import Findings, Refused
from secure_ext.prove.boot_check.flash_view import SECTOR, FlashView
from secure_ext.prove.boot_check.partition_table import Partition

_SIGNATURE_BLOCK, _MOST_SIGNATURES = 1216, 3


def check_contents(promise: Promise, partitions: Sequence[Partition], view: FlashView, findings: Findings) -> None:
    """All images of the manifest, and what lies beside them."""
    for image in promise.images:
        try:
            _check_image(image, partitions, view, findings)
        except Refused as refused:
            findings.fault(refused.fault.code, f"{image.name}: {refused.fault.cause}")
    ordered = sorted(promise.images, key=lambda image: image.offset)
    for before, after in pairwise(ordered):
        if before.end > after.offset:
            findings.fault("BC18", f"images {before.name} and {after.name} overlap")
    for start, end in promise.erased:
        _check_erased(ordered, start, len(view.raw) if end is None else min(end, len(view.raw)), view, findings)


def check_kept(
    promise: Promise, partitions: Sequence[Partition], view: FlashView, before: bytes, findings: Findings
) -> None:
    """What stays is what was in flash `before`, as the firmware reads it."""
    for kept in promise.kept:
        rows = [row for row in partitions if row.offset < kept.end and kept.offset < row.end]
        is_decrypted = view.is_encrypted and any(row.is_decrypted for row in rows)
        try:
            content = view.seen(kept.offset, kept.size) if is_decrypted else view.stored(kept.offset, kept.size)
        except Refused as refused:
            findings.fault(refused.fault.code, f"{kept.label}: {refused.fault.cause}")
            continue
        if content != before[kept.offset : kept.end]:
            findings.fault("BC23", f"{kept.label}, which the board keeps, is not what it was")
        how = "decrypted" if is_decrypted else "plain"
        findings.say(f"flash: {kept.label} at {kept.offset:#x}, {how}, is kept")


def _check_image(image: Image, partitions: Iterable[Partition], view: FlashView, findings: Findings) -> None:
    is_decrypted = view.is_encrypted and _is_decrypted(image, partitions)
    if image.encrypted != is_decrypted:
        here, there = ("decrypts", "plain") if is_decrypted else ("does not decrypt", "encrypted")
        findings.fault("BC20", f"{image.name}: the firmware {here} it, and the manifest says that it is {there}")
    content = view.seen(image.offset, image.size) if is_decrypted else view.stored(image.offset, image.size)
    if image.signed:
        if len(content) < 2 * SECTOR or len(content) % SECTOR:
            raise Refused("BC19", "it is signed, and its size is not one of whole sectors")
    # the source of an NVS image has no recorded hash: what the chip must hold is the file itself
    candidates = _before_signing(content) if image.signed else [content]
    if not any(_begins_with(candidate, image.source_sha256 or image.sha256) for candidate in candidates):
        raise Refused("BC19", f"the flash at {image.offset:#x} does not hold what was built")
    how = "decrypted" if is_decrypted else "plain"
    findings.say(f"flash: {image.name} at {image.offset:#x}, {how}, is what was built")


def _before_signing(content: bytes) -> list[bytes]:
    """A signed image as the build may have left it: unsigned, or with the first of its signatures, or with all."""
    body, sector = content[:-SECTOR], content[-SECTOR:]
    blocks = range(_SIGNATURE_BLOCK, _MOST_SIGNATURES * _SIGNATURE_BLOCK + 1, _SIGNATURE_BLOCK)
    return [body, *(body + sector[:end].ljust(SECTOR, b"\xff") for end in blocks)]


def _is_decrypted(image: Image, partitions: Iterable[Partition]) -> bool:
    """Whether firmware reads it decrypted when flash encryption is on. Raises Refused if it is not in its partition."""
    if image.partition is None:
        return True  # bootloader and partition table
    for partition in partitions:
        if partition.label == image.partition:
            if image.offset != partition.offset or image.end > partition.end:
                raise Refused("BC18", f"it does not begin and end in partition {partition.label!r}")
            return partition.is_decrypted
    raise Refused("BC18", f"the chip has no partition {image.partition!r}")


def _begins_with(content: bytes, sha256: str) -> bool:
    """Whether `content` is what has this hash, and nothing but 0xFF after it."""
    if hashlib.sha256(content).hexdigest() == sha256:
        return True
    shortest = len(content.rstrip(b"\xff"))
    digest = hashlib.sha256(content[:shortest])
    for _ in range(shortest, len(content)):
        if digest.hexdigest() == sha256:
            return True
        digest.update(b"\xff")
    return False


def _check_erased(ordered: Iterable[Image], start: int, end: int, view: FlashView, findings: Findings) -> None:
    position = start
    for first, after in [*((image.offset, image.end) for image in ordered), (end, end)]:
        gap = view.raw[position : min(first, end)]
        if gap != b"\xff" * len(gap):
            at = position + len(gap) - len(gap.lstrip(b"\xff"))
            findings.fault("BC21", f"the flash at {at:#x} belongs to no image and is not erased")
        position = max(position, after)
    findings.say(f"flash: {start:#x} to {end:#x} is erased where no image is")
