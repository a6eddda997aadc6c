# SPDX-License-Identifier: Apache-2.0
"""The bootloader of a build, for boards that have one already: would the ROM take it, and does it fit what is there?

Nothing on a board recovers from a bootloader that does not start. What the fleet's own bootloader was built with is in
its bundle; another setting is refused, since nobody has planned what it would burn or expect.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.build import Build, Role
from secure_ext.bundle.settings import SETTINGS
from secure_ext.errors import CheckError
from secure_ext.field.cable.pieces import Piece
from secure_ext.field.fleet_signatures import Wanted, require_accepted, scheme_of, signed, signers_to_be
from secure_ext.formats.bootloader_description import read_bootloader_description
from secure_ext.formats.image import ImageHeader, parse_image
from secure_ext.plan.fleet import Fleet
from secure_ext.plan.images import PlannedImage, plan_images
from secure_ext.station.flash_sectors import whole_sectors
from secure_ext.station.revision import revision_text

_OF_THE_APP = (
    *("NVS_", "SPIFFS_", "WL_", "FREERTOS_", "ESP_DEFAULT_CPU", "ESP_SYSTEM_", "SECURE_SIGNED_ON_UPDATE"),
    "BOOTLOADER_APP_SECURE_VERSION",
)
"""How settings begin that no bootloader is built with."""


def bootloader_piece(build: Build, fleet: Fleet, wanted: Wanted) -> Piece:
    """The bootloader, signed.

    Raises CheckError SE980 for one that the boards would not start, or whose settings are not those of the fleet's own;
    InputError SE756 and CheckError SE757 as for an app.
    """
    image = next(image for image in plan_images(build, fleet.policy) if image.role is Role.BOOTLOADER)
    header = parse_image(image.content, place=image.source)
    content = image.content
    if fleet.policy.secure_boot.enabled:
        signers = signers_to_be(content, wanted, fleet, image.source)
        require_accepted(signers, content, wanted, fleet, image.source)
    for fault in _faults(build, fleet, image, header, scheme_of(content, wanted, fleet, image.source)):
        raise CheckError(
            "SE980",
            f"this bootloader is not for the fleet's boards: {fault}",
            cure="leave the bootloader as it is, which an update rarely needs to change; or build it with the fleet's "
            "settings",
            place=image.source,
        )
    if fleet.policy.secure_boot.enabled:
        content = signed(content, wanted, image.source)
    return Piece("bootloader", Role.BOOTLOADER, image.offset, content, covered=True)


def secure_version(piece: Piece) -> int:
    """What the ROM compares where it looks for a bootloader that was rolled back."""
    description = read_bootloader_description(piece.plain)
    return 0 if description is None else description.secure_version


def _faults(build: Build, fleet: Fleet, image: PlannedImage, header: ImageHeader, scheme: str | None) -> Iterator[str]:
    """What speaks against it, the gravest first."""
    facts = fleet.chip.facts
    if header.chip != fleet.chip.name:
        yield f"it is for {header.chip}"
    if image.offset != facts.bootloader_offset:
        yield f"it goes to 0x{image.offset:x}, and the ROM looks for it at 0x{facts.bootloader_offset:x}"
    if header.min_revision > fleet.plan.min_revision:
        yield (
            f"it needs chip revision {revision_text(header.min_revision)}, and the fleet's boards begin at "
            f"{revision_text(fleet.plan.min_revision)}"
        )
    if fleet.plan.max_revision is not None and header.max_revision < fleet.plan.max_revision:
        yield (
            f"it starts up to chip revision {revision_text(header.max_revision)}, and the fleet's boards go up to "
            f"{revision_text(fleet.plan.max_revision)}"
        )
    room, size = fleet.table_offset - facts.bootloader_offset, whole_sectors(image.final_size)
    if size > room:
        yield f"it takes 0x{size:x} bytes, and the partition table is 0x{room:x} behind its beginning"
    if fleet.policy.secure_boot.enabled and size > facts.rom_bootloader_limit:
        yield f"it takes 0x{size:x} bytes, and the ROM verifies at most 0x{facts.rom_bootloader_limit:x}"
    if scheme is not None and scheme not in facts.schemes:
        yield f"the ROM of this chip verifies no {scheme} signature"
    if build.table_offset != fleet.table_offset:
        yield f"it looks for the partition table at 0x{build.table_offset:x}, which is at 0x{fleet.table_offset:x}"
    end = max((row.end for row in fleet.table.partitions), default=0) if fleet.table else 0
    if build.bootloader_flash is None or build.bootloader_flash.least < end:
        yield "it takes the flash for smaller than the partition table of the boards"
    yield from _other_settings(build, fleet)


def _other_settings(build: Build, fleet: Fleet) -> Iterator[str]:
    if fleet.settings is None:
        yield "the fleet's bundle, of an earlier version, does not record how its own was built"
        return
    for name in SETTINGS:
        if name.startswith(_OF_THE_APP):
            continue
        ours, theirs = build.config.values.get(name), fleet.settings.values.get(name)
        if (ours or None) != (theirs or None):
            yield f"it was built with CONFIG_{name}={ours!r}, and theirs with {theirs!r}"
