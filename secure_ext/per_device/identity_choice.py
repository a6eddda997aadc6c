# SPDX-License-Identifier: Apache-2.0
"""Whose identity a board gets: a new one, the one that an interrupted run has begun, or one for a rehearsal."""

from __future__ import annotations

from secure_ext.bundle.read import FinishedBundle
from secure_ext.keys.secret_source import SecretSource
from secure_ext.per_device.authority import authority_of_a_rehearsal, identity_of, open_authority
from secure_ext.per_device.device_keys import DeviceKeys
from secure_ext.per_device.identity import MadeIdentity, kept_identity, make_identity
from secure_ext.station.fingerprint import fingerprint

_NO_BOARD = "020000000000"


def identity_of_board(  # noqa: PLR0917 (what it depends on)
    template: FinishedBundle,
    begun: FinishedBundle | None,
    keys: DeviceKeys,
    mac: str,
    ca_key: str | None,
    secrets: SecretSource,
) -> MadeIdentity | None:
    """The identity that goes with `keys`, in which those are missing that are hidden on the chip; None for none.

    Key and certificate belong together: where the key of an earlier run is on the chip, its identity stays, and where
    a new one is burned, the identity is made anew.

    Raises the errors of `kept_identity`, or of `open_authority` and `make_identity`.
    """
    identity = identity_of(template)
    if identity is None:
        return None
    key = keys.burned.get(identity.role)
    if begun is not None and (key is None or fingerprint(key) == _known(begun, identity.role)):
        return kept_identity(template, begun, mac)
    authority = open_authority(template, identity, ca_key, secrets)
    return make_identity(template, keys.burned[identity.role], mac, authority)


def identity_of_a_rehearsal(bundle: FinishedBundle, keys: DeviceKeys) -> MadeIdentity | None:
    """One that only looks like it, from a CA that nobody trusts; None if boards get none."""
    identity = identity_of(bundle)
    if identity is None:
        return None
    authority = authority_of_a_rehearsal(bundle, identity)
    return make_identity(bundle, keys.burned[identity.role], _NO_BOARD, authority)


def _known(begun: FinishedBundle, role: str) -> str | None:
    return next((step.fingerprint for step in begun.plan.keys if step.role == role), None)
