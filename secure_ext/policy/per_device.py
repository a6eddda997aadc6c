# SPDX-License-Identifier: Apache-2.0
"""What a profile wants done with the keys that each device has for itself."""

from __future__ import annotations

from secure_ext.errors import UsageError
from secure_ext.policy.paths import given_path
from secure_ext.policy.policy import KeyKeeping, PerDevicePolicy
from secure_ext.policy.profile import Profile


def per_device_policy(profile: Profile) -> PerDevicePolicy:
    """From the keys ``per_device`` of a profile. Raises UsageError SE680 if one of the two comes without the other."""
    keep = KeyKeeping(profile.text("per_device.keep") or KeyKeeping.DESTROY.value)
    seal_to = profile.text("per_device.seal_to")
    if (keep is KeyKeeping.SEALED) != (seal_to is not None):
        raise UsageError(
            "SE680",
            f"per_device.keep is {keep.value}, and per_device.seal_to is {'given' if seal_to else 'not given'}",
            cure="for sealed copies give both: keep: sealed, and as seal_to the public key of whoever may open them",
            place="per_device.seal_to",
        )
    return PerDevicePolicy(keep, given_path(profile.folder, seal_to) if seal_to else None)
