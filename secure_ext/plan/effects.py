# SPDX-License-Identifier: Apache-2.0
"""What a plan makes of a chip, read from the plan document: which protections are on, and how far they go."""

from __future__ import annotations

from secure_ext.policy.extra_key import OPENS_JTAG
from secure_ext.station.efuse_features import CRYPT_COUNTS, DOWNLOAD_FIELDS, JTAG_FIELDS, SECURE_BOOT_SWITCHES, Download
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import PlanDocument

FLASH_KEY_ROLES = frozenset({"flash_encryption_key", "flash_encryption_key_half_1", "flash_encryption_key_half_2"})


@frozen
class Effects:
    """What the chip will be.

    Attributes:
        flash_encryption: ``off``, ``development`` or ``release``.
        flash_key_bits: bits of flash encryption key that are burned; 0 for none.
        signing_keys: how many signing keys are trusted; 0 if secure boot stays off.
        revoked_slots: how many slots for further signing keys are closed.
        nvs_key: whether a key for NVS encryption is burned.
        jtag_closed: whether debugging over JTAG is disabled for ever.
        jtag_by_token: whether it is closed until software opens it with the token of a key that is burned.
        download: what is left of the serial download mode.
        sealed_from: the serial download mode is closed only on chips of at least this revision (major * 100 + minor),
            and `download` tells of the others; None if there is no such difference.
        own_keys: how many key blocks are burned for the software's own use.
    """

    flash_encryption: str
    flash_key_bits: int
    signing_keys: int
    revoked_slots: int
    nvs_key: bool
    jtag_closed: bool
    jtag_by_token: bool
    download: Download
    sealed_from: int | None = None
    own_keys: int = 0


def effects_of(plan: PlanDocument) -> Effects:
    """The effects of a plan document on every chip that it is for; steps for later revisions alone do not count."""
    burned = {step.field: step.value for step in plan.fields if step.min_revision <= plan.min_revision}
    later = [step.min_revision for step in plan.fields if step.field in DOWNLOAD_FIELDS and step.field not in burned]
    keys = {step.role: step for step in plan.keys}
    widths = {row.field: row.bits for row in plan.layout}
    count = next((name for name in burned if name in CRYPT_COUNTS), None)
    closed = bool(set(JTAG_FIELDS) & set(burned))
    mode = "off"
    if count is not None:
        width = widths.get(count, 0)  # a plan that nobody has checked yet may not say it
        mode = "release" if burned[count] == (1 << width) - 1 else "development"
    return Effects(
        flash_encryption=mode,
        flash_key_bits=sum(step.length * 8 for role, step in keys.items() if role in FLASH_KEY_ROLES),
        signing_keys=sum(role.startswith("secure_boot_digest") for role in keys)
        if SECURE_BOOT_SWITCHES & set(burned)
        else 0,
        revoked_slots=sum(name.startswith("SECURE_BOOT_KEY_REVOKE") for name in burned),
        nvs_key="nvs_hmac_key" in keys,
        jtag_closed=closed,
        jtag_by_token=not closed
        and "SOFT_DIS_JTAG" in burned
        and any(step.purpose in OPENS_JTAG for step in plan.keys),
        download=max((DOWNLOAD_FIELDS[name] for name in burned if name in DOWNLOAD_FIELDS), default=Download.OPEN),
        sealed_from=min(later, default=None),
        own_keys=sum(role.startswith("extra_key") for role in keys),
    )
