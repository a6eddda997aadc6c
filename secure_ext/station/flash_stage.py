# SPDX-License-Identifier: Apache-2.0
"""What is to be done with the flash of a board: write it, leave it, or stop, before anything is asked or changed.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from typing import Optional

from secure_ext.station.board_link import BoardLink
from secure_ext.station.chip_state import ChipState
from secure_ext.station.efuse_features import CRYPT_COUNTS, SECURE_BOOT_SWITCHES
from secure_ext.station.esp_tools import Stop
from secure_ext.station.flash_images import FlashImages
from secure_ext.station.flash_status import FlashStatus, flash_status, is_security_on
from secure_ext.station.frozen import frozen
from secure_ext.station.journal import Journal
from secure_ext.station.step_status import StepStatus
from secure_ext.station.verdict import Verdict, carrying, other_release, trusts_our_signing_key

_REFUSES_A_BOOTLOADER_UNTIL = (5, 2)


@frozen
class FlashStage:
    """Where the flash stands, whether security is on already when it is written, and why it must not be written.

    `verdict` is what the board is if the flash tells more than the eFuses did.
    """

    status: FlashStatus
    over_security: bool = False
    stop: Optional[Stop] = None
    verdict: Optional[Verdict] = None


@frozen
class FlashLook:
    """Decides on the flash stage of a board; changes nothing."""

    images: FlashImages
    link: BoardLink
    journal: Journal

    def stage(self, state: ChipState, statuses: list[StepStatus], verdict: Verdict) -> FlashStage:
        """Asks the chip for MD5s where eFuses and journal do not tell, or where an erase might lose something.

        A feature that is on may have been turned on before the flash was written, by hand or by a firmware's first boot
        that was cut: while the burn stage is not complete and esptool writes the images, they are written then.
        """
        status = flash_status(self.images.plan, state, statuses, self.journal)
        is_finished = all(item.is_done for item in statuses)
        if verdict.stop or is_finished or self.link.connection.virtual_file or status is FlashStatus.DONE:
            return FlashStage(status)
        may_lose = bool(verdict.carried) and not self.journal.begun_here
        if status is FlashStatus.TO_DO and not may_lose:
            return FlashStage(status)
        if self.images.are_there(self.link):
            return FlashStage(FlashStatus.DONE if status is FlashStatus.UNKNOWN else status)
        if all(item.is_done for item in statuses if item.step.stage == "burn"):
            missing = _images_missing("the firmware may have run, and have its data there")
            is_ours = trusts_our_signing_key(self.images.plan, state) and not self.journal.burning_begun
            other = other_release(missing, verdict.carried) if is_ours else None
            return FlashStage(status, stop=other.stop if other else missing, verdict=other)
        over_security = is_security_on(self.images.plan, state)
        stop = why_not_writable(state, self.link.version) if over_security else None
        if may_lose and stop is None:
            carries = carrying(verdict.carried)
            return FlashStage(status, over_security, carries.stop, carries)
        return FlashStage(status if stop else FlashStatus.TO_DO, over_security, stop)


def why_not_writable(state: ChipState, esptool: tuple[int, int]) -> Optional[Stop]:
    """Stop SE831 if esptool writes no images to a chip with security on unless it is forced, which is never done.

    From esptool's ``cmds.py`` (write_flash): ciphertext is refused when flash encryption is on and manual encryption
    off; a bootloader, when secure boot is on, before 5.2.
    """
    count = max(state.values.get(name, 0) for name in CRYPT_COUNTS)
    closed = [name for name in ("DIS_DOWNLOAD_MANUAL_ENCRYPT", "DISABLE_DL_ENCRYPT") if state.values.get(name)]
    if bin(count).count("1") % 2 and closed:
        return _images_missing(f"with flash encryption on and {closed[0]} burned, esptool does not write ciphertext")
    is_verifying = any(state.values.get(name) for name in SECURE_BOOT_SWITCHES)
    if is_verifying and esptool < _REFUSES_A_BOOTLOADER_UNTIL:
        return _images_missing(
            f"esptool {esptool[0]}.{esptool[1]} writes no bootloader when secure boot is on",
            "install esptool 5.2 or later (pip install --upgrade esptool), and run again",
        )
    return None


def _images_missing(why: str, cure: str = "use the bundle that began this board, or set the board aside") -> Stop:
    cause = f"security is enabled on this board, but its flash does not hold the images of this bundle, and {why}"
    return Stop(5, "SE831", cause, cure)
