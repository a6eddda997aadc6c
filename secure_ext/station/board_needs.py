# SPDX-License-Identifier: Apache-2.0
"""What the firmware of a plan asks of a board, each with what the board has: read by script, audit and report.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from secure_ext.station.chip_facts import FACTS
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import BoardRequirements, PlanDocument
from secure_ext.station.revision import revision_range, revision_text

MEGABYTE = 0x100000
_BOOTLOADER_VERSION = "BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION"
_ROLLBACK_ENABLE = "BOOTLOADER_ANTI_ROLLBACK_EN"
_SET_ASIDE = "set this board aside, "
_NOTHING_ASKED = BoardRequirements(None, 0, 0, None, 1, False, None, 0, 0, ())
"""Plans of 0.1.0 ask for nothing."""


@frozen
class Need:
    """One thing that is asked.

    Attributes:
        code: of the STOP when the board does not have it.
        name: stable name, for people who script against it.
        title: the same in words.
        place: the eFuse that tells, or where else it is seen.
        fits: whether the board has it; None if that cannot be seen.
        wanted: what is asked, in words.
        found: what the board has, in words; empty if that cannot be seen.
        why: what happens otherwise.
        cure: what to do about it.
    """

    code: str
    name: str
    title: str
    place: str
    fits: Optional[bool]
    wanted: str
    found: str
    why: str
    cure: str


def board_needs(
    plan: PlanDocument,
    value_of: Callable[[str], Optional[int]],
    revision: Optional[int] = None,
    flash_size: Optional[int] = None,
) -> list[Need]:
    """All that a plan asks of a board.

    Args:
        plan: the plan document; those of earlier versions have no requirements.
        value_of: the value of an eFuse field, None if it cannot be seen.
        revision: chip revision, major * 100 + minor; None if it cannot be seen.
        flash_size: bytes of flash, None if it cannot be seen.
    """
    asked = plan.requirements or _NOTHING_ASKED
    needs = [_flash(plan, asked, flash_size), _chip_revision(plan, value_of, revision)]
    if asked.min_block_revision or asked.max_block_revision is not None:
        needs.append(_block_revision(asked, value_of))
    one_core_field = FACTS[plan.chip].one_core_field
    if asked.cores > 1 and one_core_field:
        needs.append(_cores(one_core_field, value_of))
    if asked.octal_flash:
        needs.append(_octal_flash(value_of))
    if asked.secure_version is not None:
        needs.append(_secure_version(asked.secure_version, asked.secure_version_bits, value_of))
    is_planned = any(step.field == _ROLLBACK_ENABLE for step in plan.fields)
    if is_planned or _burned(value_of(_ROLLBACK_ENABLE)):
        needs.append(_bootloader_version(asked, value_of))
    return needs


def needed_flash(plan: PlanDocument) -> int:
    """Bytes of flash that a board must have: what the bootloader takes it for, and all partitions and images."""
    asked = plan.requirements or _NOTHING_ASKED
    return max([asked.flash_size or 0, asked.flash_end, *(image.end for image in plan.images)])


def size_text(size: int) -> str:
    """Bytes as MB; with one decimal where that is not whole, and KB below one."""
    if size < MEGABYTE:
        return f"{size // 1024} KB"
    return f"{size / MEGABYTE:.1f}".rstrip("0").rstrip(".") + " MB"


def _burned(value: Optional[int]) -> bool:
    return bool(value)


def _flash(plan: PlanDocument, asked: BoardRequirements, size: Optional[int]) -> Need:
    needed = needed_flash(plan)
    header = asked.flash_size
    by_header = header is not None and header == needed
    return Need(
        "SE816",
        "flash-size",
        "flash of",
        "flash chip",
        None if size is None else size >= needed,
        f"{size_text(needed)} or more",
        "" if size is None else size_text(size),
        "the app stops at every start on a flash smaller than the size in its bootloader's header"
        if by_header
        else "its images and partitions reach so far",
        "take boards with enough flash; if all boards are like this one, set CONFIG_ESPTOOLPY_FLASHSIZE to the size of "
        "their flash, make the partition table fit, build again and make a new bundle",
    )


def _chip_revision(plan: PlanDocument, value_of: Callable[[str], Optional[int]], revision: Optional[int]) -> Need:
    """``bootloader_common_check_chip_revision_validity``: a burned bit switches the check of the maximum off."""
    low, high = plan.min_revision, plan.max_revision
    unlimited = _burned(value_of("DISABLE_WAFER_VERSION_MAJOR"))
    fits = None
    if revision is not None:
        fits = low <= revision and (high is None or revision <= high or unlimited)
    return Need(
        "SE817",
        "chip-revision",
        "chip revision",
        "WAFER_VERSION",
        fits,
        revision_range(low, high),
        "" if revision is None else revision_text(revision),
        "the firmware does not start on another one, or the plan would burn wrong bits",
        "use boards with the right chip revision, or build the firmware for this one",
    )


def _block_revision(asked: BoardRequirements, value_of: Callable[[str], Optional[int]]) -> Need:
    """``bootloader_common_check_efuse_blk_validity``."""
    low, high = asked.min_block_revision, asked.max_block_revision
    major, minor = value_of("BLK_VERSION_MAJOR"), value_of("BLK_VERSION_MINOR")
    found = None if major is None or minor is None else major * 100 + minor
    unlimited = _burned(value_of("DISABLE_BLK_VERSION_MAJOR"))
    return Need(
        "SE853",
        "block-revision",
        "eFuse block revision",
        "BLK_VERSION",
        None if found is None else low <= found and (high is None or found <= high or unlimited),
        revision_range(low, high),
        "" if found is None else revision_text(found),
        "the bootloader refuses the app on a chip with another revision of the eFuse blocks",
        _SET_ASIDE + "or set CONFIG_ESP_EFUSE_BLOCK_REV_MIN_FULL to what your boards have and build again",
    )


def _cores(field: str, value_of: Callable[[str], Optional[int]]) -> Need:
    value = value_of(field)
    return Need(
        "SE854",
        "cores",
        "CPU cores:",
        field,
        None if value is None else not value,
        "2",
        "" if value is None else "1" if value else "2",
        "the app starts both cores, and stops at every start where there is one",
        "use boards with a dual-core chip, or set CONFIG_FREERTOS_UNICORE=y, build again and make a new bundle",
    )


def _octal_flash(value_of: Callable[[str], Optional[int]]) -> Need:
    value = value_of("FLASH_TYPE")
    return Need(
        "SE855",
        "octal-flash",
        "a flash with",
        "FLASH_TYPE",
        None if value is None else bool(value),
        "8 data lines",
        "" if value is None else "8 data lines" if value else "4 data lines",
        "the app is built for octal flash, and stops at every start where this eFuse does not say so",
        "use boards with octal flash, or set CONFIG_ESPTOOLPY_FLASH_MODE_AUTO_DETECT=y or CONFIG_ESPTOOLPY_OCT_FLASH=n,"
        " build again and make a new bundle",
    )


def _secure_version(most: int, bits: int, value_of: Callable[[str], Optional[int]]) -> Need:
    """``esp_efuse_check_secure_version``: the burned bits are counted."""
    value = value_of("SECURE_VERSION")
    found = None if value is None else bin(value & ((1 << bits) - 1)).count("1")
    return Need(
        "SE856",
        "secure-version",
        "a secure version of",
        "SECURE_VERSION",
        None if found is None else found <= most,
        f"{most} or less",
        "" if found is None else str(found),
        "anti-rollback: the bootloader starts no app with a lower secure version than the board's",
        _SET_ASIDE + "or provision it with an app whose CONFIG_BOOTLOADER_APP_SECURE_VERSION is at least the board's",
    )


def _bootloader_version(asked: BoardRequirements, value_of: Callable[[str], Optional[int]]) -> Need:
    """The same for the bootloader, which the ROM checks where BOOTLOADER_ANTI_ROLLBACK_EN is burned."""
    parts = [value_of(_BOOTLOADER_VERSION + part) for part in ("", "_LO", "_HI")]
    seen = [part for part in parts if part is not None]
    found = sum(bin(part).count("1") for part in seen)
    wanted = asked.bootloader_secure_version
    return Need(
        "SE857",
        "bootloader-secure-version",
        "a bootloader secure version of",
        _BOOTLOADER_VERSION,
        found <= wanted if seen else None,
        f"{wanted} or less",
        str(found) if seen else "",
        f"with {_ROLLBACK_ENABLE} burned the ROM starts no bootloader with a lower version than the board's",
        _SET_ASIDE + "or use a bootloader whose CONFIG_BOOTLOADER_SECURE_VERSION is at least the board's",
    )
