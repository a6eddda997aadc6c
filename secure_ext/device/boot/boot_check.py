"""Would a chip in this state boot, and is it what the bundle promised?

The last word of a rehearsal. It follows the chip from reset to the app: eFuses, the ROM with the bootloader, the
bootloader with the partition table and the app; then it compares flash and eFuses with the bundle.
"""

from __future__ import annotations

from pathlib import Path

from secure_ext.device.boot import app_image, flash_cipher, partition_table
from secure_ext.device.boot.app_choice import chosen_app
from secure_ext.device.boot.app_image import Region
from secure_ext.device.boot.bundle_documents import Promise, read_promise
from secure_ext.device.boot.chip_facts import CHIPS
from secure_ext.device.boot.contents import check_contents
from secure_ext.device.boot.efuses import Efuses, Place, read_efuses, read_new_chip
from secure_ext.device.boot.findings import BootReport, Fault, Findings, Refused
from secure_ext.device.boot.flash_view import FlashView
from secure_ext.device.boot.key_blocks import Digest, digests, flash_key, has_secure_boot, is_encrypting
from secure_ext.device.boot.partition_table import Partition
from secure_ext.device.boot.planned_efuses import check_planned
from secure_ext.device.boot.secure_boot import check_signatures

__all__ = ["BootReport", "Fault", "boot_check"]


def boot_check(state: Path, bundle: Path) -> BootReport:
    """Looks at the state folder of a virtual chip. Bad content never raises: it becomes a fault.

    Args:
        state: folder of a virtual chip's eFuses (as they are and as they were when it was new), their layout, and its
            flash; it is only read.
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
    """From reset to the app, and all images; stops where the chip stops."""
    try:
        view = _flash(efuses, state, findings)
        trusted = _trusted(efuses, findings)
    except Refused as refused:
        findings.add(refused.fault)
        return
    tables = [image for image in promise.images if image.role == "partition_table"]
    if len(tables) != 1:
        findings.fault("BC01", f"the manifest has {len(tables)} partition tables")
        return
    table_offset, start = tables[0].offset, CHIPS[efuses.chip].bootloader_offset
    partitions: list[Partition] = []
    try:
        region = Region("bootloader", start, table_offset - start, view.seen)
        _check_image(region, efuses, trusted, findings, spares=promise.spares(is_app=False))
    except Refused as refused:
        findings.add(refused.fault)
    try:
        table = view.seen(table_offset, partition_table.TABLE_SIZE)
        partitions = partition_table.parse(table, len(view.raw))
        findings.say(f"bootloader: partition table at {table_offset:#x}, {len(partitions)} entries, MD5 right")
        app = chosen_app(partitions, view.seen, findings)
        findings.say(f"bootloader: starts {app.label!r} at {app.offset:#x}")
        region = Region(f"app in {app.label!r}", app.offset, app.size, view.seen)
        _check_image(region, efuses, trusted, findings, spares=promise.spares(is_app=True), is_app=True)
    except Refused as refused:
        findings.add(refused.fault)
    check_contents(promise, partitions, view, findings)


def _flash(efuses: Efuses, state: Path, findings: Findings) -> FlashView:
    try:
        raw = (state / "flash.bin").read_bytes()
    except OSError as error:
        raise Refused("BC01", f"the chip's flash cannot be read ({type(error).__name__})") from None
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


def _trusted(efuses: Efuses, findings: Findings) -> list[Digest] | None:
    """The digests that the ROM trusts; None if it trusts everything."""
    if not has_secure_boot(efuses):
        findings.say("ROM: secure boot is off")
        return None
    trusted = digests(efuses, findings)
    findings.say(f"ROM: secure boot is on, {len(trusted)} digest{'' if len(trusted) == 1 else 's'} trusted")
    return trusted


def _check_image(
    region: Region,
    efuses: Efuses,
    trusted: list[Digest] | None,
    findings: Findings,
    *,
    spares: frozenset[str],
    is_app: bool = False,
) -> None:
    length = app_image.image_length(region, efuses, is_app=is_app)
    part = "" if trusted is None else " before its signatures"
    findings.say(f"{region.name} at {region.offset:#x}: {length / 1024:.1f} KiB{part}, checksum and SHA-256 right")
    if trusted is not None:
        check_signatures(region, length, efuses, trusted, findings, spares=spares)
