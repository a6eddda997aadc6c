# SPDX-License-Identifier: Apache-2.0
"""Whose is what is burned on a chip: its maker's, the plan's, or somebody else's.

What the maker burns is what its factory measures, and how the package, the module and their flash are wired. ESP-IDF's
``components/efuse/<chip>/esp_efuse_table.csv`` and espefuse's ``efuse_defs`` name the fields. The summaries of new
chips in ESP-IDF's ``docs/en/api-reference/system/inc`` show which are burned; none has a bit of WR_DIS or RD_DIS.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import enum
import re

from secure_ext.station.chip_facts import FACTS
from secure_ext.station.chip_state import ChipState
from secure_ext.station.plan_document import CarriedBlock, PlanDocument

_MAKERS_FIELDS = re.compile(
    r"""
    MAC | MAC_CRC | CHIP_.* | PKG_VERSION | (WAFER|BLK|BLOCK0)_VERSION.* | DISABLE_(WAFER|BLK)_VERSION_MAJOR
    | CODING_SCHEME | BLK3_PART_RESERVE | ADC_VREF | ADC\d_TP_.* | C(L)?K8M_FREQ | VOL_LEVEL_HP_INV
    | CONSOLE_DEBUG_DISABLE | ERR_RST_ENABLE                                      # 1 on new chips: esp32, esp32c3
    | DISABLE_APP_CPU | DIS_APP_CPU | DIS_CORE1 | DISABLE_BT | DIS_WIFI6          # chips that are sold with less
    | XPD_SDIO_.* | VDD_SPI_(?!AS_GPIO).* | PIN_POWER_SELECTION | SPI_PAD_CONF.*  # flash: voltage, pins, kind
    | FLASH_(TYPE|PAGE_SIZE|ECC_MODE|ECC_EN|TPUW|LDO_.*) | FORCE_SEND_RESUME
    | IO_LDO_.* | DCDC_.* | HP_PWR_SRC_SEL | PMU_FLASH_POWER_SEL.* | PXA0_TIEH_SEL_.* | XTAL_48M_SEL.*
    | POWER_?GLITCH_.* | PVT_.* | USB_.*DREF[HL] | BTLC_GPIO_ENABLE
    """,
    re.VERBOSE,
)
"""Fields of BLOCK0 (on esp32 also of BLOCK3)."""
_NAMED_USER_FIELDS = ("CUSTOM_MAC", "CUSTOM_MAC_CRC", "MAC_VERSION", "SECURE_VERSION")
_USER_FLAG = "CUSTOM_MAC_USED"
"""The flag in BLOCK0 of an esp32c2 that says what its user block holds; espefuse burns it with that."""
_ESP32_RD_DIS = {2: "BLOCK3", 3: "FLASH_CRYPT_CONFIG"}


class Owner(enum.Enum):
    """Who burns an eFuse."""

    MAKER = "the chip's maker"
    PLAN = "the plan"
    OTHER = "somebody else"


def makers_blocks(chip: str) -> tuple[int, ...]:
    """The numbers of the blocks that the chip's maker burns."""
    return FACTS[chip].makers_blocks


def planned_fields(plan: PlanDocument) -> set[str]:
    """Every field that the plan burns, write-protects, or wants to be clear, in any of its stages."""
    return {row.field for row in plan.layout}


def owner_of(plan: PlanDocument, field: str, state: ChipState) -> Owner:
    """Whose a field is. A field of a key block is the plan's if the plan burns that block."""
    block, start, bits = state.places[field]
    is_data = not ~(_planned_data(plan, block) >> start) & ((1 << bits) - 1)
    if field in planned_fields(plan) or block in _planned_blocks(plan) or is_data:
        return Owner.PLAN
    if block in makers_blocks(plan.chip):
        return Owner.MAKER
    is_makers = _MAKERS_FIELDS.fullmatch(field) and (block == 0 or bool(FACTS[plan.chip].fixed_key_blocks))
    if block == 3 and field.startswith("ADC") and not state.values.get("BLK3_PART_RESERVE"):
        return Owner.OTHER  # without that flag its bits are user data
    return Owner.MAKER if is_makers else Owner.OTHER


def other_efuses(plan: PlanDocument, state: ChipState) -> tuple[str, ...]:
    """What is burned and neither the plan's nor the maker's, in words, without values that might be secret."""
    return (*_key_blocks(plan, state), *_user_blocks(plan, state), *_flags(plan, state), *_protections(plan, state))


def makers_efuses(plan: PlanDocument, state: ChipState) -> tuple[str, ...]:
    """What the chip's maker has burned in BLOCK0, as ``NAME = value``."""
    return tuple(
        f"{field} = {state.values[field]}"
        for field in _burned_flags(state)
        if owner_of(plan, field, state) is Owner.MAKER and not field.startswith("MAC")
    )


def _carried(plan: PlanDocument) -> tuple[CarriedBlock, ...]:
    """The blocks in which a board may carry something."""
    return plan.carried or ()


def _planned_blocks(plan: PlanDocument) -> set[int]:
    return {step.block_number for step in plan.keys}


def _planned_data(plan: PlanDocument, block: int) -> int:
    """The bits of a block that are those of the plan's data."""
    return sum(step.own_bits for step in plan.data if step.block_number == block)


def _planned_bits(plan: PlanDocument, *names: str) -> set[int]:
    return {bit for step in plan.keys for name in names for bit in getattr(step, name)}


def _key_blocks(plan: PlanDocument, state: ChipState) -> list[str]:
    """Key blocks outside the plan with a key, a purpose or a read protection; and the plan's with a half too many."""
    chip, found = plan.chip, []
    blocks = dict(FACTS[chip].own_key_blocks) or {
        f"BLOCK_KEY{number}": 4 + number for number in range(6) if f"BLOCK_KEY{number}" in state.places
    }
    known = _planned_bits(plan, "rd_dis_bits", "readable_bits")
    carried = {block.number for block in _carried(plan)}
    for index, (name, number) in enumerate(blocks.items()):
        content = state.blocks.get(number, b"")
        for step in plan.keys:
            if step.block_number == number:
                start = 16 if step.part == "high" else 0
                content = content[:start] + bytes(step.length) + content[start + step.length :]
        bits = (0, 1) if len(blocks) == 1 else (index,)
        is_hidden = any(state.has_bit("RD_DIS", bit) for bit in bits if bit not in known)
        purpose = state.texts.get(f"KEY_PURPOSE_{index}", "USER") if number not in _planned_blocks(plan) else "USER"
        if number not in carried and (is_hidden or any(content) or purpose != "USER"):
            what = "holds something hidden" if is_hidden else "holds a key or data" if any(content) else "is empty"
            found.append(f"{name} {what}" + (f" (KEY_PURPOSE_{index} = {purpose})" if purpose != "USER" else ""))
    return found


def _user_blocks(plan: PlanDocument, state: ChipState) -> list[str]:
    """The block for user data and a custom MAC address, and the last one. User data is not shown.

    Where the block holds more than its named fields, what stands in those may be part of it.
    """
    chip, found = plan.chip, []
    user = FACTS[chip].user_block
    rest = int.from_bytes(state.blocks.get(user, b""), "little")
    named: list[str] = []
    is_carried = any(block.number == user for block in _carried(plan))
    for field, (block, start, bits) in state.places.items():
        owner = owner_of(plan, field, state)
        if block != user or (owner is Owner.OTHER and field not in _NAMED_USER_FIELDS):
            continue
        if owner is Owner.OTHER and state.values.get(field):
            named.append(field)
        rest &= ~(((1 << bits) - 1) << start)
    rest &= ~_planned_data(plan, user)
    if is_carried:
        rest, named = 0, []
    if rest:
        found.append(f"BLOCK{user} holds user data")
    found += [field if rest else f"{field} = {state.texts[field].split(' ')[0]}" for field in named]
    if FACTS[chip].fixed_key_blocks:
        known = {bit for block in _carried(plan) for bit in block.rd_dis_bits}
        hidden = [bit for bit in _ESP32_RD_DIS if state.has_bit("RD_DIS", bit) and bit not in known]
        found += [f"{_ESP32_RD_DIS[bit]} is read-protected" for bit in hidden]
    if "BLOCK_SYS_DATA2" in state.places and 10 not in makers_blocks(chip):
        is_hidden = state.has_bit("RD_DIS", 6)
        if is_hidden or any(state.blocks.get(10, b"")):
            found.append(f"BLOCK_SYS_DATA2 {'is read-protected' if is_hidden else 'holds data'}")
    return found


def _flags(plan: PlanDocument, state: ChipState) -> list[str]:
    is_carried = any(block.number == FACTS[plan.chip].user_block for block in _carried(plan))
    return [
        f"{field} = {state.values[field]}"
        for field in _burned_flags(state)
        if owner_of(plan, field, state) is Owner.OTHER
        and not field.startswith("KEY_PURPOSE_")
        and not (is_carried and field == _USER_FLAG)
    ]


def _burned_flags(state: ChipState) -> list[str]:
    """The fields of BLOCK0 that are burned, but for the protections."""
    return [
        field
        for field, (block, _, _) in state.places.items()
        if block == 0 and state.values.get(field) and field not in ("WR_DIS", "RD_DIS")
    ]


def _protections(plan: PlanDocument, state: ChipState) -> list[str]:
    """Write protections that are neither the plan's nor those of the maker's blocks."""
    chip = plan.chip
    makers = FACTS[chip].makers_wr_dis or tuple(number + 19 for number in makers_blocks(chip))
    known = {step.wr_dis_bit for step in plan.protections}
    known |= {*_planned_bits(plan, "wr_dis_bits"), *makers, *(bit for one in _carried(plan) for bit in one.wr_dis_bits)}
    bits = [bit for bit in range(state.places["WR_DIS"][2]) if state.has_bit("WR_DIS", bit) and bit not in known]
    if not bits:
        return []
    locked = [
        name
        for name in state.places
        if not state.writable[name]
        and name not in ("WR_DIS", "RD_DIS")
        and owner_of(plan, name, state) is not Owner.MAKER
    ]
    names = f" ({', '.join(locked[:6])}{', ...' if len(locked) > 6 else ''})" if locked else ""
    return [f"WR_DIS has the bits {', '.join(map(str, bits))}: write protections{names}"]
