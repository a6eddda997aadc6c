# SPDX-License-Identifier: Apache-2.0
"""Does the ROM accept this image? Its signatures against the digests in eFuse.

Source: ESP-IDF ``docs/en/security/secure-boot-v2.rst``, "Secure Boot V2 Process".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from secure_ext.prove.boot_check.app_image import Region
from secure_ext.prove.boot_check.chip_facts import CHIPS, P384
from secure_ext.prove.boot_check.efuses import Efuses
from secure_ext.prove.boot_check.findings import Findings, Refused
from secure_ext.prove.boot_check.key_blocks import Digest
from secure_ext.prove.boot_check.signatures import SECTOR, Signature, signatures


def check_signatures(
    region: Region,
    length: int,
    efuses: Efuses,
    trusted: Iterable[Digest],
    findings: Findings,
    *,
    spares: Collection[str] = (),
) -> set[str]:
    """Looks at the sector behind the `length` bytes of an image; returns the schemes of the accepted signatures.

    Raises Refused if the chip would not accept it.

    The ROM is content with one good signature. A finished product is not: a bad one is a fault, and so is a digest in
    eFuse whose key did not sign; but for the blocks of `spares`, whose keys sign no image of this kind.
    """
    padded = -(-length // SECTOR) * SECTOR
    found = signatures(region.read(0, padded), region.read(padded, SECTOR))
    good = []
    for item in found:
        try:
            if isinstance(item, Refused):
                raise item
            _check_scheme(item, efuses)
            good.append(item)
        except Refused as refused:
            findings.fault(refused.fault.code, f"{region.name}: {refused.fault.cause}")
    accepted = set()
    for digest in trusted:
        used = [item for item in good if item.key_digest[: len(digest.value)] == digest.value]
        if not used and digest.block not in spares:
            findings.fault("BC13", f"{region.name}: no signature by the key of the digest in {digest.block}")
        for item in used:
            is_read = item.number <= CHIPS[efuses.chip].signature_blocks
            accepted |= {item.scheme} if is_read else set()
            verdict = "accepted" if is_read else "not looked at"
            findings.say(
                f"{region.name} at {region.offset:#x}: signed by key {item.number} with {item.scheme} "
                f"(digest in {digest.block}): {verdict}"
            )
    if not accepted:
        raise Refused("BC12", f"{region.name}: none of its {len(found)} signatures is by a key that the chip trusts")
    return accepted


def is_signed(region: Region, length: int) -> bool:
    """Whether a sector with a right signature, by whatever key, is behind the `length` bytes of an image."""
    padded = -(-length // SECTOR) * SECTOR
    if padded + SECTOR > region.size:
        return False
    found = signatures(region.read(0, padded), region.read(padded, SECTOR))
    return any(not isinstance(item, Refused) for item in found)


def _check_scheme(signature: Signature, efuses: Efuses) -> None:
    """A chip with SECURE_BOOT_SHA384_EN verifies P-384 alone if it is burned, and all but P-384 if not."""
    facts = CHIPS[efuses.chip]
    if signature.scheme not in facts.schemes:
        raise Refused(
            "BC11", f"signature block {signature.number} is {signature.scheme}: {efuses.chip} cannot verify it"
        )
    has_switch = "SECURE_BOOT_SHA384_EN" in efuses.places
    if has_switch and bool(efuses.value("SECURE_BOOT_SHA384_EN")) != (signature.scheme == P384):
        raise Refused(
            "BC11", f"signature block {signature.number} is {signature.scheme}: SECURE_BOOT_SHA384_EN says otherwise"
        )
