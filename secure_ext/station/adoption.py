# SPDX-License-Identifier: Apache-2.0
"""Takes over a board whose flash encryption key is hidden, if the board proves that it is the one at hand.

The chip is asked to encrypt a few random bytes into a blank sector of its flash, and what lies there then is compared
with what the key at hand makes of them. Only a chip whose manual encryption is still on can be asked (development
mode). No other hidden key can be proved over a cable.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from secure_ext.station.board_link import BoardLink
from secure_ext.station.bundle_files import BundleFiles
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.chip_state import ChipState
from secure_ext.station.esp_tools import Stop
from secure_ext.station.flash_sectors import SECTOR_SIZE
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import KeyStep, PlanDocument
from secure_ext.station.step_status import StepStatus

MANUAL_ENCRYPTION_OFF = ("DIS_DOWNLOAD_MANUAL_ENCRYPT", "DISABLE_DL_ENCRYPT")
_PROBE_SIZE = 64
_SECTORS_LOOKED_AT = 64
_SEEN_BY_THE_ROM = 0x200000
_LEFT_ALONE = "the board was left as it was"


@frozen
class KeyProof:
    """Has a board show that it holds the plan's flash encryption key."""

    plan: PlanDocument
    files: BundleFiles
    link: BoardLink
    flash_size: Optional[int]
    say: Callable[[str], None]

    def require(self, state: ChipState, statuses: list[StepStatus]) -> None:
        """Raises Stop SE867 if the board cannot show it, SE868 if it shows that it holds another key."""
        hidden = [item.step for item in statuses if item.hidden and isinstance(item.step, KeyStep)]
        why = self._why_unprovable(hidden, state)
        if why:
            raise _unprovable(why)
        key = self.files.flash_encryption_key()
        has_xts = FACTS[self.plan.chip].has_xts
        self._run_stub(is_needed=not has_xts)
        offset = self._blank_sector()
        probe = os.urandom(_PROBE_SIZE)
        self.say(
            f"The chip is asked to encrypt {_PROBE_SIZE} random bytes at flash offset 0x{offset:x}, which is blank."
        )
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = self._as_the_chip_encrypts(probe, offset, Path(folder))
            finally:
                self._blank_again(offset, Path(folder))
        if found != self.link.encrypt(key, offset, probe, xts=has_xts):
            raise Stop(
                5,
                "SE868",
                "the flash encryption key of this board is another one than this bundle's: it encrypts otherwise",
                f"use the bundle that has the board's key, or set the board aside; {_LEFT_ALONE}",
            )
        self.say("It encrypts as the key of this bundle does: the board holds this key.")

    def _why_unprovable(self, hidden: list[KeyStep], state: ChipState) -> str:
        others = [step for step in hidden if not step.role.startswith("flash_encryption")]
        if others:
            return f"{others[0].block} holds a hidden key ({others[0].purpose}) that only firmware on the board can use"
        off = [name for name in MANUAL_ENCRYPTION_OFF if state.values.get(name)]
        if off:
            return f"{off[0]} is burned: the chip encrypts nothing in download mode"
        if self.link.connection.virtual_file:
            return "virtual eFuses have no flash"
        return ""

    def _run_stub(self, *, is_needed: bool) -> None:
        """An esp32 encrypts through esptool's stub alone; and the ROM loader sees no more than 2 MB of the flash."""
        if self.link.connection.resets and not self.link.is_stub:
            started = self.link.start_stub()
            if started.exit_code and self.link.connect().exit_code:
                raise _unprovable(f"it does not answer any more: {started.last_words()}")
        if is_needed and not self.link.is_stub:
            raise _unprovable("esptool's flasher stub, which it takes, does not start")

    def _blank_sector(self) -> int:
        """Flash offset of a sector that holds nothing, near the end of the flash: nothing of the board's is touched."""
        end = min(self.flash_size or 0, 1 << 32 if self.link.is_stub else _SEEN_BY_THE_ROM)
        first = max(0, end - _SECTORS_LOOKED_AT * SECTOR_SIZE)
        offsets = list(range(first, end, SECTOR_SIZE))
        blank = hashlib.md5(b"\xff" * SECTOR_SIZE, usedforsecurity=False).hexdigest()
        digests = self.link.flash_md5([(offset, SECTOR_SIZE) for offset in offsets]) or []
        for offset, digest in zip(reversed(offsets), reversed(digests)):
            if digest == blank:
                return offset
        raise _unprovable(f"no sector of the last {_SECTORS_LOOKED_AT} of its flash is blank")

    def _as_the_chip_encrypts(self, probe: bytes, offset: int, folder: Path) -> bytes:
        """What is in flash after the chip was asked to encrypt the probe there."""
        plain, cipher = folder / "probe.bin", folder / "found.bin"
        plain.write_bytes(probe)
        self._esptool(["write-flash", "--encrypt", hex(offset), str(plain)])
        self._esptool(["read-flash", hex(offset), hex(_PROBE_SIZE), str(cipher)])
        return cipher.read_bytes()

    def _blank_again(self, offset: int, folder: Path) -> None:
        blank = folder / "blank.bin"
        blank.write_bytes(b"\xff" * SECTOR_SIZE)
        result = self.link.esptool(["write-flash", hex(offset), str(blank)])
        if result.exit_code:
            left = f"nothing was burned, but the sector at 0x{offset:x} was blank and may not be any more"
            raise _unprovable(f"esptool write-flash failed: {result.last_words()}", left)

    def _esptool(self, words: list[str]) -> None:
        result = self.link.esptool(words)
        if result.exit_code:
            raise _unprovable(f"esptool {words[0]} failed: {result.last_words()}")


def _unprovable(why: str, left: str = _LEFT_ALONE) -> Stop:
    return Stop(
        5,
        "SE867",
        f"this board cannot show whether its hidden keys are those of this bundle: {why}",
        f"continue on the station that burned them (--journal with its journal folder), or set the board aside; {left}",
    )
