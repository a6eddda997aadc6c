# SPDX-License-Identifier: Apache-2.0
"""How a passphrase or a PIN is asked for: what is wanted, and the interface of whoever has the answer."""

from __future__ import annotations

import enum
from typing import Protocol

from secure_ext.station.frozen import frozen


class SecretKind(enum.Enum):
    """What opens a key; the value is its name for people."""

    PASSPHRASE = "passphrase"  # noqa: S105 (a name, no secret)
    PIN = "PIN"


MANIFEST_KEY = 0
"""Number of the key that signs the manifest."""
OFFLINE_KEY = -1
"""Number of the key that opens sealed copies."""
EXTRA_KEY = -2
"""Number of each of the firmware's own keys."""


CA_KEY = -3
"""Number of the key of the CA that issues the boards' certificates."""


@frozen
class SecretWanted:
    """One secret that is needed to go on.

    Attributes:
        kind: what it is.
        key_number: which of the signing keys it opens, from 1; or `MANIFEST_KEY`, `OFFLINE_KEY`, `EXTRA_KEY`,
            `CA_KEY`.
        place: the key's file, or the URI of the token, for people.
    """

    kind: SecretKind
    key_number: int
    place: str

    @property
    def key_name(self) -> str:
        """The key it opens, for people."""
        others = {
            MANIFEST_KEY: "the manifest's key",
            OFFLINE_KEY: "the offline key",
            EXTRA_KEY: "an extra key",
            CA_KEY: "the CA's key",
        }
        return others.get(self.key_number, f"signing key {self.key_number}")


class SecretSource(Protocol):
    """Whoever knows secrets: the fronts have one that looks into the environment and asks at a terminal."""

    def secret(self, wanted: SecretWanted) -> str | None:
        """The secret; None when there is none and nobody can be asked."""


@frozen
class NoSecrets:
    """Knows nothing: locked keys stay locked."""

    def secret(self, wanted: SecretWanted) -> str | None:  # noqa: ARG002 (the interface's)
        """Always None."""
        return None


NO_SECRETS = NoSecrets()
