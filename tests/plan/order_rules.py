# SPDX-License-Identifier: Apache-2.0
"""The order that the silicon demands, written down a second time, over the whole list without a look at PlanBuilder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from secure_ext.chips.chip import Chip
from secure_ext.plan.steps import (
    BurnData,
    BurnField,
    BurnKey,
    EraseFlash,
    KeepFlash,
    KeyRole,
    Stage,
    Step,
    WriteImages,
    WriteProtect,
)

ENABLING = {"FLASH_CRYPT_CNT", "SPI_BOOT_CRYPT_CNT", "ABS_DONE_1", "SECURE_BOOT_EN"}
CRYPT_COUNTS = {"FLASH_CRYPT_CNT", "SPI_BOOT_CRYPT_CNT"}
SECURE_BOOTS = {"ABS_DONE_1", "SECURE_BOOT_EN"}
CLOSING = {"ENABLE_SECURITY_DOWNLOAD", "DIS_DOWNLOAD_MODE", "UART_DOWNLOAD_DIS"}
HALVES = {KeyRole.FLASH_ENCRYPTION_1, KeyRole.FLASH_ENCRYPTION_2}
DIGESTS = (KeyRole.DIGEST_0, KeyRole.DIGEST_1, KeyRole.DIGEST_2)


def positions(steps: Sequence[Step], wanted: Callable[[Step], bool]) -> list[int]:
    return [number for number, step in enumerate(steps) if wanted(step)]


def burns(names: set[str]) -> Callable[[Step], bool]:
    return lambda step: isinstance(step.action, BurnField) and step.action.field in names


def all_before(first: list[int], second: list[int]) -> bool:
    return not first or not second or max(first) < min(second)


def violations(chip: Chip, steps: Sequence[Step]) -> Iterator[str]:
    """What is wrong with the order or the completeness of a list of steps; nothing for a legal one."""
    yield from stage_violations(steps)
    yield from duplicates(steps)
    yield from key_violations(chip, steps)
    yield from field_violations(chip, steps)


def stage_violations(steps: Sequence[Step]) -> Iterator[str]:
    order = {Stage.FLASH: 0, Stage.BURN: 1, Stage.SEAL: 2}
    ranks = [order[step.stage] for step in steps]
    if ranks != sorted(ranks):
        yield "flash comes before burn, burn before seal"
    for step in steps:
        wanted = Stage.BURN
        if isinstance(step.action, (KeepFlash, EraseFlash, WriteImages)):
            wanted = Stage.FLASH
        elif burns(CLOSING)(step):
            wanted = Stage.SEAL
        if step.stage is not wanted:
            yield f"{step.id} belongs to {wanted}"
    erased = positions(steps, lambda step: isinstance(step.action, EraseFlash))
    written = positions(steps, lambda step: isinstance(step.action, WriteImages))
    if not all_before(erased, written):
        yield "the flash is erased before it is written"
    kept = positions(steps, lambda step: isinstance(step.action, KeepFlash))
    if not all_before(kept, [*erased, *written]):
        yield "what is kept is known before the flash changes"
    sectors = [set(sectors_of(step.action)) for step in steps]
    if any(sectors[one] & sectors[other] for one in kept for other in erased):
        yield "what is kept is not erased"
    enabled = positions(steps, burns(ENABLING))
    if enabled and (not written or min(written) > min(enabled)):
        yield "the images are in flash before anything is enabled"
    told = positions(steps, lambda step: isinstance(step.action, BurnField) and "BOOTLOADER" in step.action.field)
    if told and (not written or min(written) > min(told)):
        yield "the bootloaders are in flash before the ROM is told of them"


def sectors_of(action: object) -> range:
    """Of a flash of 16 MB."""
    if not isinstance(action, (KeepFlash, EraseFlash)):
        return range(0)
    end = 0x1000000 if action.size is None else action.offset + action.size
    return range(action.offset // 0x1000, end // 0x1000)


def duplicates(steps: Sequence[Step]) -> Iterator[str]:
    taken: list[object] = []
    for step in steps:
        action = step.action
        taken.append(("id", step.id))
        if isinstance(action, BurnKey):
            taken.append(("role", action.role))
            halves = ("low", "high") if action.part.value == "whole" else (action.part.value,)
            taken += [("block", action.block.name, half) for half in halves]
            taken += [("purpose", action.purpose)] if action.purpose.startswith(("XTS_", "SECURE_BOOT_")) else []
        elif isinstance(action, BurnData):
            taken.append(("data", action.block.number))
        elif isinstance(action, BurnField):
            taken.append(("field", action.field))
        elif isinstance(action, WriteProtect):
            taken.append(("write protection", action.wr_dis_bit))
    for item in taken:
        if taken.count(item) > 1:
            yield f"twice: {item}"


def key_violations(chip: Chip, steps: Sequence[Step]) -> Iterator[str]:
    keys = {step.action.role: number for number, step in enumerate(steps) if isinstance(step.action, BurnKey)}
    enabled = positions(steps, burns(ENABLING))
    if not all_before(list(keys.values()), enabled):
        yield "keys are burned before what uses them is enabled"
    rd_dis_bit = chip.efuses.fields["RD_DIS"].wr_dis_bit
    hiding = positions(
        steps, lambda step: isinstance(step.action, WriteProtect) and step.action.wr_dis_bit == rd_dis_bit
    )
    secret = [number for role, number in keys.items() if role.is_secret]
    if not all_before(secret, hiding):
        yield "read-protected keys are burned before RD_DIS is write-protected"
    flash_keys = set(keys) & {KeyRole.FLASH_ENCRYPTION, *HALVES}
    if flash_keys & HALVES and not flash_keys >= HALVES:
        yield "one half of the XTS-AES-256 key is missing"
    purposes = [step.action.purpose for step in steps if isinstance(step.action, BurnKey)]
    if purposes.count("ECDSA_KEY_P384_L") != purposes.count("ECDSA_KEY_P384_H"):
        yield "one half of an ECDSA-384 key is missing"
    if bool(flash_keys) != bool(positions(steps, burns(CRYPT_COUNTS))):
        yield "the flash encryption key and the crypt count go together"
    digests = set(keys) & set(DIGESTS)
    if bool(digests) != bool(positions(steps, burns(SECURE_BOOTS))):
        yield "a digest and secure boot go together"
    revoked = [f"SECURE_BOOT_KEY_REVOKE{slot}" for slot in range(3)]
    for role, field in zip(DIGESTS, revoked, strict=True):
        if role in keys and positions(steps, burns({field})):
            yield f"{field} would revoke a slot in use"
    revoking = positions(steps, burns(set(revoked)))
    if revoking and not digests:
        yield "slots are revoked although there is no digest"
    if not all_before([keys[role] for role in digests], revoking):
        yield "the digests are burned before any slot is revoked"


def field_violations(chip: Chip, steps: Sequence[Step]) -> Iterator[str]:
    locked: set[int | None] = set()
    for step in steps:
        action = step.action
        if isinstance(action, WriteProtect):
            if chip.efuses.fields[action.field].wr_dis_bit != action.wr_dis_bit:
                yield f"{step.id} has the wrong bit"
            locked.add(action.wr_dis_bit)
        elif isinstance(action, BurnField):
            field = chip.efuses.fields[action.field]
            if field.wr_dis_bit is not None and field.wr_dis_bit in locked:
                yield f"{action.field} is write-protected already"
            if not 1 <= action.value < 2**field.bits:
                yield f"{action.value} is not a value for {action.field}"
        elif isinstance(action, BurnData):
            if action.block.wr_dis_bit in locked:
                yield f"{action.block.name} is write-protected already"
        elif isinstance(action, BurnKey):
            if {action.block.wr_dis_bit, action.block.purpose_wr_dis_bit} & (locked - {None}):
                yield f"{action.block.name} is write-protected already"
    if chip.name == "esp32":
        counts = positions(steps, burns({"FLASH_CRYPT_CNT"}))
        configured = positions(steps, burns({"FLASH_CRYPT_CONFIG"}))
        if counts and (not configured or min(configured) > min(counts)):
            yield "FLASH_CRYPT_CONFIG comes before the crypt count"
