# SPDX-License-Identifier: Apache-2.0
"""From the profile to the firmware's own keys, as far as the chip has a use for them."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.chips.chip import Chip
from secure_ext.errors import UsageError
from secure_ext.policy.choices import Choices
from secure_ext.policy.extra_key import HMAC_PURPOSES
from secure_ext.policy.identity import IdentityPolicy
from secure_ext.policy.key_uri import is_key_uri
from secure_ext.policy.policy import ExtraKeyPolicy, KeySource
from secure_ext.policy.profile import Profile


def chip_purposes(chip: Chip) -> tuple[str, ...]:
    """espefuse's names of the purposes that a further key can have on a chip."""
    return (*(HMAC_PURPOSES if chip.facts.hmac else ()), *chip.facts.ecdsa_curves)


def extra_key_policies(choices: Choices) -> Iterator[ExtraKeyPolicy]:
    """The keys of the profile's ``extra_keys``, in its order.

    Raises UsageError SE325 for a purpose that the chip does not have, SE313 for a key in a token.
    """
    purposes = chip_purposes(choices.chip)
    for name, entry in choices.profile.extra_keys("extra_keys").items():
        place = f"extra_keys.{name}"
        if entry.purpose not in purposes:
            raise UsageError(
                "SE325",
                f"no plan gives a key of {choices.chip.name} the purpose {entry.purpose}",
                cure="its purposes are " + ", ".join(purposes) if purposes else "take extra_keys out of the profile",
                place=f"{place}.purpose",
            )
        if is_key_uri(entry.key):
            raise UsageError(
                "SE313",
                f"{place}.key names a key in a token, and this key is burned into the chip",
                cure="use generate, per-device or a file",
                place=f"{place}.key",
            )
        yield ExtraKeyPolicy(name, entry.purpose, choices.key_source(entry.key), entry.block)


def identity_keys(profile: Profile, identity: IdentityPolicy | None) -> Iterator[ExtraKeyPolicy]:
    """The key of the board's identity, if it has one; each board gets its own."""
    if identity is not None:
        block = profile.text("identity.block") or ""
        yield ExtraKeyPolicy("identity", identity.purpose, KeySource(per_device=True), block, is_identity=True)
