# SPDX-License-Identifier: Apache-2.0
"""How an image is made that does not exist yet when the plan is made: planning touches no key."""

from __future__ import annotations

from pathlib import Path

from secure_ext.formats.nvs_csv import NvsCsv
from secure_ext.station.frozen import frozen


@frozen
class NvsFromCsv:
    """An NVS partition with the values of a CSV.

    Attributes:
        csv: what it holds.
        size: of the image in bytes: all whole pages of the partition.
        encrypted: NVS encrypts it, with the keys of the bundle.
    """

    csv: NvsCsv
    size: int
    encrypted: bool

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files it is made of."""
        return (self.csv.path, *self.csv.files)


@frozen
class NvsKeysImage:
    """The nvs_keys partition with the keys of the bundle; `size` in bytes."""

    size: int

    @property
    def inputs(self) -> tuple[Path, ...]:
        """None: a key file is named by the policy."""
        return ()


@frozen
class IdentityPlace:
    """The partition of the boards' identities: erased flash, until each board gets its own; `size` in bytes."""

    size: int
    ca_file: Path

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that identities are made of."""
        return (self.ca_file,)


IDENTITY = "identity"
Recipe = NvsFromCsv | NvsKeysImage | IdentityPlace
RECIPE_NAMES: dict[type[Recipe], str] = {
    NvsFromCsv: "nvs-csv",
    NvsKeysImage: "nvs-keys",
    IdentityPlace: IDENTITY,
}
"""As the manifest and the plan name them."""
