# SPDX-License-Identifier: Apache-2.0
"""What a plan must hold before a single eFuse of it is burned: no feature is turned on without its key and its images.

The builder of plans and their reader refuse worse than this (`secure_ext.plan.order`); here it is asked once more by
what burns, which believes no table. Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from secure_ext.station.chip_facts import FACTS
from secure_ext.station.efuse_features import CRYPT_COUNTS, SECURE_BOOT_SWITCHES
from secure_ext.station.esp_tools import Stop
from secure_ext.station.flash_sectors import whole_sectors
from secure_ext.station.plan_document import PlanDocument

_FLASH_KEYS = ({"flash_encryption_key"}, {"flash_encryption_key_half_1", "flash_encryption_key_half_2"})
_DIGESTS = {"secure_boot_digest_0", "secure_boot_digest_1", "secure_boot_digest_2"}
_SWITCHES = {
    **dict.fromkeys(CRYPT_COUNTS, "flash encryption"),
    **dict.fromkeys(SECURE_BOOT_SWITCHES, "secure boot"),
}


def check_plan(plan: PlanDocument) -> None:
    """Raises Stop SE866 for a plan that turns a feature on whose key, or whose images, are not there before."""
    roles: set[str] = set()
    are_images_written = False
    switched = []
    for step in plan.steps:
        if step.kind == "write_images":
            are_images_written = bool(plan.images)
        elif step.kind == "burn_key":
            roles.add(step.role)
        elif step.kind == "burn_data" and step.mac_list:
            raise _lethal(f"{step.block} would get no custom MAC address: each board has its own")
        elif step.kind == "burn_data" and step.block_number != FACTS[plan.chip].user_block:
            raise _lethal(f"{step.block} is not the block of user data")
        elif step.kind == "burn_field" and step.field in _SWITCHES:
            feature = _SWITCHES[step.field]
            has_key = any(keys <= roles for keys in _FLASH_KEYS) if feature == "flash encryption" else roles & _DIGESTS
            if not has_key:
                raise _lethal(f"{step.field} turns {feature} on, and no key for it is burned before")
            if not are_images_written:
                raise _lethal(f"{step.field} turns {feature} on before the images are written")
            switched.append(step.field)
    for kept in plan.kept:
        written = [(image.offset, whole_sectors(image.end)) for image in plan.images]
        erased = [(step.offset, step.offset + step.size if step.size else 1 << 32) for step in plan.erases]
        if any(start < kept.end and kept.offset < end for start, end in (*written, *erased)):
            raise _lethal(f"it erases or overwrites {kept.label}, which boards keep")
    if sorted(switched) != sorted(plan.enabling_fields):
        raise _lethal("enabling_fields does not name what turns the features on")


def _lethal(why: str) -> Stop:
    return Stop(
        3,
        "SE866",
        f"this plan would end every board: {why}",
        "do not use this bundle: somebody has changed it; have it made again",
    )
