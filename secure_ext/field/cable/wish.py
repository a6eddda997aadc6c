# SPDX-License-Identifier: Apache-2.0
"""What somebody wants to have written onto a board."""

from __future__ import annotations

from secure_ext.field.fleet_signatures import Wanted
from secure_ext.station.frozen import frozen

APP, BOOTLOADER = "app", "bootloader"


@frozen
class CableWish:
    """What is written.

    Attributes:
        wanted: signing keys, and what is accepted.
        only: ``app``, ``bootloader`` and labels of data partitions; empty for the app.
        everything: the app, and every data partition that the build has an image for.
        bootloader: the bootloader, too.
        slot: label of the app partition that the board is to start; None for the one that is safest.
    """

    wanted: Wanted
    only: tuple[str, ...] = ()
    everything: bool = False
    bootloader: bool = False
    slot: str | None = None

    @property
    def has_app(self) -> bool:
        """Whether the app is written."""
        return self.everything or not self.only or APP in self.only

    @property
    def has_bootloader(self) -> bool:
        """Whether the bootloader is written."""
        return self.bootloader or BOOTLOADER in self.only

    @property
    def data(self) -> tuple[str, ...]:
        """The labels of data partitions that are named."""
        return tuple(dict.fromkeys(label for label in self.only if label not in (APP, BOOTLOADER)))
