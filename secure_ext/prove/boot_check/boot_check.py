# SPDX-License-Identifier: Apache-2.0
"""Would a chip in this state boot, and is it what the bundle promised?

The last word of a rehearsal. It follows the chip from reset to the app: eFuses, the ROM with the bootloader, the
bootloader with the partition table and the app, the app's own start; then it compares flash and eFuses with the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secure_ext.prove.boot_check import flash_cipher, partition_table
from secure_ext.prove.boot_check.app_choice import chosen_app
from secure_ext.prove.boot_check.app_image import Region, WholeImage, read_image
from secure_ext.prove.boot_check.app_start import Board, check_app_start
from secure_ext.prove.boot_check.bootloader_start import check_app_scheme, check_bootloader_start, check_reach
from secure_ext.prove.boot_check.bootloaders import (
    check_bootloader_version,
    check_recovery_wish,
    recovery_offset,
)
from secure_ext.prove.boot_check.bundle_documents import Promise, read_promise
from secure_ext.prove.boot_check.chip_facts import CHIPS
from secure_ext.prove.boot_check.contents import check_contents, check_kept
from secure_ext.prove.boot_check.efuses import Efuses, Place, read_efuses, read_new_chip
from secure_ext.prove.boot_check.findings import BootReport, Fault, Findings, Refused
from secure_ext.prove.boot_check.firmware import Firmware, app_firmware, bootloader_firmware
from secure_ext.prove.boot_check.flash_view import SECTOR, FlashView
from secure_ext.prove.boot_check.header_flash_size import BelievedSize, believed_size
from secure_ext.prove.boot_check.key_blocks import Digest, digests, flash_key, has_secure_boot, is_encrypting
from secure_ext.prove.boot_check.partition_table import Partition
from secure_ext.prove.boot_check.planned_efuses import as_placed, check_planned
from secure_ext.prove.boot_check.secure_boot import check_signatures, is_signed

__all__ = ["BootReport", "Fault", "boot_check"]


def boot_check(state: Path, bundle: Path) -> BootReport:
    """Looks at the state folder of a virtual chip. Bad content never raises: it becomes a fault.

    Args:
        state: folder of a virtual chip's eFuses and flash (as they are and as they were when it was new), and their
            layout; it is only read.
        bundle: folder of the bundle that provisioned the chip; only its manifest and its plan are read.
    """
    findings = Findings()
    try:
        promise = read_promise(bundle)
        if promise.chip not in CHIPS:
            raise Refused("BC01", f"the boot check does not know the chip {promise.chip!r}")
        efuses = read_efuses(promise.chip, state)
        _check_places(efuses)
        efuses = _with_late_fields(promise, efuses, findings)
        promise = as_placed(promise, efuses)
        for number in efuses.broken:
            findings.fault("BC02", f"block {number} has bits that do not fit its check bytes")
        _boot(promise, efuses, state, findings)
        check_planned(promise, efuses, read_new_chip(promise.chip, state), findings)
    except Refused as refused:
        findings.add(refused.fault)
    return findings.report()


def _check_places(efuses: Efuses) -> None:
    facts = CHIPS[efuses.chip]
    missing = {"WR_DIS", "RD_DIS", facts.crypt_count, facts.secure_boot} - set(efuses.places)
    missing |= {f"block {number}" for number in facts.fixed_blocks if number not in efuses.key_blocks}
    if missing:
        raise Refused("BC01", f"the chip's eFuse layout lacks {', '.join(sorted(missing))}")


def _with_late_fields(promise: Promise, efuses: Efuses, findings: Findings) -> Efuses:
    """The chip's layout may lack fields of late revisions, which the plan has; on the others both must agree."""
    planned = {
        row.field: Place(row.block, row.start, row.bits)
        for row in promise.layout
        if row.min_revision <= efuses.revision()
    }
    for name, place in planned.items():
        if efuses.places.get(name, place) != place:
            findings.fault("BC22", f"{name} is not where the plan thinks it is")
    return efuses.with_places(planned)


def _boot(promise: Promise, efuses: Efuses, state: Path, findings: Findings) -> None:
    """From reset to the app's own start, and all images; stops where the chip stops."""
    try:
        chip = _Chip(promise, efuses, _flash(efuses, state, findings), _trusted(efuses, findings), findings)
    except Refused as refused:
        findings.add(refused.fault)
        return
    tables = [image for image in promise.images if image.role == "partition_table"]
    if len(tables) != 1:
        findings.fault("BC01", f"the manifest has {len(tables)} partition tables")
        return
    bootloader = believed = None
    partitions: list[Partition] = []
    try:
        bootloader, believed = chip.rom(tables[0].offset)
    except Refused as refused:
        findings.add(refused.fault)
    try:
        chip.recovery(tables[0].offset)
    except Refused as refused:
        findings.add(refused.fault)
    try:
        partitions = chip.table(tables[0].offset, believed.least if believed else len(chip.view.raw))
        chip.app(partitions, bootloader, believed)
    except Refused as refused:
        findings.add(refused.fault)
    check_contents(promise, partitions, chip.view, findings)
    if promise.kept:
        check_kept(promise, partitions, chip.view, _content(state / "flash_before.bin"), findings)


@dataclass(frozen=True)
class _Chip:
    """The steps of a boot, each as far as the chip comes. They raise Refused."""

    promise: Promise
    efuses: Efuses
    view: FlashView
    trusted: list[Digest] | None
    findings: Findings

    def rom(self, table_offset: int) -> tuple[Firmware, BelievedSize]:
        """The ROM starts the bootloader: what it is, and the flash that it believes in."""
        start = CHIPS[self.efuses.chip].bootloader_offset
        image, bootloader = self._bootloader("bootloader", start, table_offset - start)
        believed = believed_size(self.efuses.chip, image.flash_size_code, bootloader.version)
        self.findings.say(f"bootloader: takes the flash for {believed.least >> 20} MB, from its header")
        return bootloader, believed

    def recovery(self, table_offset: int) -> None:
        """What the ROM starts where the bootloader fails: as good a bootloader, where the chip is told to look."""
        settings, offset = self.promise.settings, recovery_offset(self.efuses)
        asked, place = settings.get("BOOTLOADER_RECOVERY_ENABLE"), settings.get("BOOTLOADER_RECOVERY_OFFSET")
        check_recovery_wish(asked, place, self.efuses, self.findings)
        if offset is not None:
            self._bootloader("recovery bootloader", offset, table_offset - CHIPS[self.efuses.chip].bootloader_offset)

    def _bootloader(self, name: str, start: int, room: int) -> tuple[WholeImage, Firmware]:
        """A bootloader that the ROM starts."""
        image, _ = self._image(Region(name, start, room, self.view.seen))
        sectors, most = -(-len(image.content) // SECTOR), CHIPS[self.efuses.chip].verifies
        if self.trusted is not None and sectors * SECTOR > most:
            raise Refused("BC38", f"the {name} has {sectors * SECTOR:#x} bytes; the ROM verifies at most {most:#x}")
        bootloader = bootloader_firmware(image, self.promise.settings, self.promise.idf_version)
        check_bootloader_version(name, bootloader, self.efuses)
        check_bootloader_start(bootloader, self.efuses, self.findings)
        return image, bootloader

    def table(self, offset: int, flash_size: int) -> list[Partition]:
        """The bootloader reads the partition table."""
        partitions = partition_table.parse(self.view.seen(offset, partition_table.TABLE_SIZE), flash_size)
        self.findings.say(f"bootloader: partition table at {offset:#x}, {len(partitions)} entries, MD5 right")
        return partitions

    def app(self, partitions: list[Partition], bootloader: Firmware | None, believed: BelievedSize | None) -> None:
        """The bootloader starts the app, and the app itself."""
        chosen = self._choice(partitions)
        region = Region(f"app in {chosen.label!r}", chosen.offset, chosen.size, self.view.seen)
        image, schemes = self._image(region, is_app=True)
        if bootloader is None or believed is None:
            return
        check_reach(bootloader, self.efuses.chip, region.offset + len(image.content), self.findings)
        if self.trusted is not None:
            check_app_scheme(bootloader, schemes, self.findings)
        app = app_firmware(image, self.promise.settings, self.promise.idf_version)
        board = Board(self.efuses, len(self.view.raw), believed)
        check_app_start(app, board, is_signed(region, len(image.content)), self.findings)

    def _choice(self, partitions: list[Partition]) -> Partition:
        """The app that the bootloader starts, against what the bundle says of a new board."""
        rolls_back = self.promise.settings.get("BOOTLOADER_APP_ROLLBACK_ENABLE") is True
        choice = chosen_app(partitions, self.view.seen, self.findings, rolls_back=rolls_back)
        label, wanted = choice.partition.label, self.promise.boot
        on_trial = ", on trial: unless the app confirms itself it is left again" if choice.is_on_trial else ""
        self.findings.say(f"bootloader: starts {label!r} at {choice.partition.offset:#x}{on_trial}")
        if wanted is not None and (choice.is_on_trial or wanted != label):
            self.findings.fault("BC40", f"a new board is to start {wanted!r} for good, and starts {label!r}{on_trial}")
        return choice.partition

    def _image(self, region: Region, is_app: bool = False) -> tuple[WholeImage, set[str]]:
        """An image, and the schemes of its signatures that the chip accepts."""
        has_secure_boot = self.trusted is not None
        image = read_image(region, self.efuses, self.findings, is_app=is_app, is_signed=has_secure_boot)
        length = len(image.content)
        part = " before its signatures" if has_secure_boot else ""
        self.findings.say(f"{region.name} at {region.offset:#x}: {length / 1024:.1f} KiB{part}, checksum right")
        if self.trusted is None:
            return image, set()
        spares = self.promise.spares(is_app=is_app)
        return image, check_signatures(region, length, self.efuses, self.trusted, self.findings, spares=spares)


def _flash(efuses: Efuses, state: Path, findings: Findings) -> FlashView:
    raw = _content(state / "flash.bin")
    if not is_encrypting(efuses):
        findings.say("flash encryption is off")
        return FlashView(raw, None)
    flash = flash_key(efuses, findings)
    findings.say(f"flash encryption is on, {len(flash.key) * 8} bits of key in {flash.blocks}")
    if efuses.chip == "esp32":
        return FlashView(raw, flash_cipher.esp32(flash.key, efuses.value("FLASH_CRYPT_CONFIG")))
    try:
        return FlashView(raw, flash_cipher.xts(flash.key))
    except ValueError:
        raise Refused("BC03", f"{flash.blocks} hold a key that AES-XTS does not take") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused("BC01", f"the chip's flash cannot be read ({type(error).__name__})") from None


def _trusted(efuses: Efuses, findings: Findings) -> list[Digest] | None:
    """The digests that the ROM trusts; None if it trusts everything."""
    if not has_secure_boot(efuses):
        findings.say("ROM: secure boot is off")
        return None
    trusted = digests(efuses, findings)
    findings.say(f"ROM: secure boot is on, {len(trusted)} digest{'' if len(trusted) == 1 else 's'} trusted")
    return trusted
