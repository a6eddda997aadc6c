# SPDX-License-Identifier: Apache-2.0
"""Are the eFuses as planned: every one that is planned is burned, and no other?"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from secure_ext.prove.boot_check.bundle_documents import BurnData, BurnField, BurnKey, EfuseStep, Promise
from secure_ext.prove.boot_check.efuses import DATA_BYTES, Efuses
from secure_ext.prove.boot_check.findings import Findings, Refused

_HALF = DATA_BYTES // 2
_PARTS = {"whole": (0, DATA_BYTES), "low": (0, _HALF), "high": (_HALF, DATA_BYTES)}
_FINGERPRINT_PREFIX = b"idf-secure-provision key fingerprint v1\0"


def check_planned(promise: Promise, efuses: Efuses, new: Mapping[int, bytes], findings: Findings) -> None:
    """Compares with the plan. Steps for a later revision of the chip than this one are not for it.

    Args:
        promise: what is to be burned.
        efuses: what is burned.
        new: the blocks as they were before anything was done to the chip.
        findings: is told.
    """
    revision = efuses.revision()
    planned: defaultdict[int, int] = defaultdict(int)
    for number, content in new.items():
        planned[number] = int.from_bytes(content, "little")
        if planned[number] & ~int.from_bytes(efuses.block(number), "little"):
            findings.fault("BC22", f"block {number} lacks a bit that the new chip had")
    steps = [step for step in promise.steps if step.min_revision <= revision]
    for step in steps:
        try:
            for block, wanted in _bits(step, efuses, findings):
                planned[block] |= wanted
        except Refused as refused:
            findings.add(refused.fault)
    extra = list(_unplanned(efuses, planned))
    for what in extra:
        findings.fault("BC24", f"{what} is burned, and the plan does not say so")
    if not extra:
        findings.say(f"eFuses: {len(steps)} planned steps and nothing else")


def as_placed(promise: Promise, efuses: Efuses) -> Promise:
    """What was promised for this board, on which the station may have put keys into other blocks."""
    steps = tuple(_where_it_is(step, promise, efuses) for step in promise.steps)
    blocks = {
        before.block: after.block
        for before, after in zip(promise.steps, steps, strict=True)
        if isinstance(before, BurnKey) and isinstance(after, BurnKey)
    }
    return replace(
        promise, steps=steps, signs={blocks.get(block, block): what for block, what in promise.signs.items()}
    )


def _where_it_is(step: EfuseStep, promise: Promise, efuses: Efuses) -> EfuseStep:
    """A key that the station placed is in the only block that has its purpose."""
    if not isinstance(step, BurnKey) or not step.role.startswith(("flash_encryption", "secure_boot_digest")):
        return step
    number = efuses.purposes.get(step.purpose)
    found = [place for place in promise.places if efuses.value(place.purpose_field) == number]
    if len(found) != 1 or found[0].block == step.block:
        return step
    place = found[0]
    return replace(
        step,
        block=place.block,
        block_number=place.block_number,
        purpose_field=place.purpose_field,
        wr_dis_bits=place.wr_dis_bits,
        rd_dis_bits=place.rd_dis_bits if step.rd_dis_bits else (),
    )


def _bits(step: EfuseStep, efuses: Efuses, findings: Findings) -> Iterator[tuple[int, int]]:
    """The blocks and bits that a step burns; what is missing of them becomes a fault. Raises Refused."""
    if isinstance(step, BurnField):
        yield _wanted(step.field, step.value, efuses, findings)
        return
    if isinstance(step, BurnData):
        yield from _data(step, efuses, findings)
        return
    if not isinstance(step, BurnKey):
        yield _wanted("WR_DIS", 1 << step.wr_dis_bit, efuses, findings)
        return
    if step.part not in _PARTS:
        raise Refused("BC01", f"{step.role} goes into an unknown part of a block")
    start, end = _PARTS[step.part]
    key = efuses.block(step.block_number)[start:end]
    if step.length != end - start or fingerprint(key[::-1] if step.reversed else key) != step.fingerprint:
        findings.fault("BC23", f"{step.block} does not hold {step.role}")
    yield step.block_number, ((1 << 8 * (end - start)) - 1) << 8 * start
    if step.purpose_field is not None:
        if step.purpose not in efuses.purposes:
            raise Refused("BC22", f"the chip has no key purpose {step.purpose}")
        yield _wanted(step.purpose_field, efuses.purposes[step.purpose], efuses, findings)
    yield _wanted("WR_DIS", sum(1 << bit for bit in step.wr_dis_bits), efuses, findings)
    yield _wanted("RD_DIS", sum(1 << bit for bit in step.rd_dis_bits), efuses, findings)


def _data(step: BurnData, efuses: Efuses, findings: Findings) -> Iterator[tuple[int, int]]:
    """Data of the product; a custom MAC address is looked for as the firmware does."""
    try:
        wanted, own = (int.from_bytes(bytes.fromhex(text), "little") for text in (step.data, step.mask))
    except ValueError:
        raise Refused("BC01", f"the data for block {step.block_number} are no bytes") from None
    if int.from_bytes(efuses.block(step.block_number), "little") & own != wanted:
        findings.fault("BC22", f"block {step.block_number} does not hold the data of the plan")
    if "custom_mac" in step.holds:
        mac = custom_mac(efuses)
        if mac is None:
            findings.fault("BC22", "the firmware would find no custom MAC address")
        else:
            findings.say(f"custom MAC address: {mac.hex(':')}")
    yield step.block_number, wanted


def custom_mac(efuses: Efuses) -> bytes | None:
    """The custom MAC address as the firmware reads it (ESP-IDF ``mac_addr.c``, `get_efuse_mac_custom`); None for none.

    No interface takes a multicast address.
    """
    if efuses.chip == "esp32":
        crc, *address = efuses.block(3)[:7]
        mac = bytes(address)
        is_there = efuses.block(3)[23] == 1 and crc == _crc8(mac)
    else:
        place = efuses.places["CUSTOM_MAC"]
        mac = efuses.block(place.block)[place.start // 8 :][:6]
        is_there = len(set(mac)) > 1
    return mac if is_there and any(mac) and not mac[0] & 1 else None


def _crc8(data: bytes) -> int:
    """Polynomial x^8 + x^5 + x^4 + 1, the lowest bit first, from zero."""
    rest = 0
    for bit in (byte >> number & 1 for byte in data for number in range(8)):
        rest = rest >> 1 ^ (0x8C if (rest ^ bit) & 1 else 0)
    return rest


def _wanted(field: str, value: int, efuses: Efuses, findings: Findings) -> tuple[int, int]:
    place = efuses.places.get(field)
    if place is None or value < 0 or value >> place.bits:
        raise Refused("BC22", f"the chip has no {field} that could hold {value:#x}")
    missing = value & ~efuses.value(field)
    if missing:
        findings.fault("BC22", f"{field} is {efuses.value(field):#x}: {missing:#x} of it is planned and not burned")
    return place.block, value << place.start


def _unplanned(efuses: Efuses, planned: defaultdict[int, int]) -> Iterator[str]:
    """Names of what is burned beside the plan, by field."""
    for number, content in sorted(efuses.blocks.items()):
        extra = int.from_bytes(content, "little") & ~planned[number]
        while extra:
            bit = extra & -extra
            name, mask = next(
                (
                    (name, place.mask)
                    for name, place in efuses.places.items()
                    if place.block == number and place.mask & bit
                ),
                (f"bit {bit.bit_length() - 1} of block {number}", bit),
            )
            yield name
            extra &= ~mask


def fingerprint(key: bytes) -> str:
    """What stands for a key in a plan: ``docs/keys.md``."""
    return hashlib.sha256(_FINGERPRINT_PREFIX + key).hexdigest()[:32]
