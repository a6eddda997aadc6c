# SPDX-License-Identifier: Apache-2.0
"""Whose an eFuse is, for every field of every chip: the maker's, the plan's, or somebody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.typed_documents import key_data, place_data, plan_with

from secure_ext.chips.chip import load_chip
from secure_ext.chips.facts import CHIP_NAMES
from secure_ext.station.chip_state import ChipState
from secure_ext.station.efuse_owner import Owner, makers_blocks, makers_efuses, other_efuses, owner_of
from secure_ext.station.plan_document import PlanDocument

EACH_CHIP = pytest.mark.parametrize("chip", sorted(CHIP_NAMES))
FACTORY_NEW = {
    "esp32": {
        **{"ADC_VREF": 3, "CHIP_CPU_FREQ_RATED": 1, "CLK8M_FREQ": 0x33, "CONSOLE_DEBUG_DISABLE": 1},
        **{"CHIP_PACKAGE": 1, "CHIP_VER_REV1": 1, "CHIP_VER_REV2": 1, "MAC_CRC": 0xE2},
    },
    "esp32c3": {"ERR_RST_ENABLE": 1, "WAFER_VERSION_MINOR_LO": 3, "OCODE": 88},
    "esp32s3": {"VDD_SPI_XPD": 1, "VDD_SPI_FORCE": 1, "FLASH_TYPE": 1, "TEMP_CALIB": 0x16D, "PSRAM_CAP": 2},
    "esp32c5": {"MAC_EXT": 0xFFFE, "FLASH_CAP": 1, "XTAL_48M_SEL": 1},
}
"""What new chips have, from the summaries in ESP-IDF's docs, and modules whose flash or crystal is wired otherwise."""
SOMEBODYS = (
    "UART_PRINT_CONTROL",
    "DIS_TWAI",
    "DIS_FORCE_DOWNLOAD",
    "HUK_GEN_STATE",
    "SECURE_BOOT_EN",
    "JTAG_SEL_ENABLE",
)


def new_chip(chip: str) -> ChipState:
    """A chip on which nothing is burned, with the fields of espefuse's table that it shows."""
    fields = load_chip(chip, 0).efuses.fields
    hidden = {name for name in fields if "RESERV" in name and name != "BLK3_PART_RESERVE"} | {"KEY_PURPOSE_6"}
    places = {name: (field.block, field.start, field.bits) for name, field in fields.items() if name not in hidden}
    zeros = dict.fromkeys(places, 0)
    texts = {name: "USER" if name.startswith("KEY_PURPOSE_") else "0" for name in places}
    blocks = {block: bytes(64 if block == 0 else 32) for block, _, _ in places.values()}
    return ChipState(zeros, texts, dict.fromkeys(places, True), places, blocks, 0, "0" * 12)


def burned(state: ChipState, field: str, value: int, word: str = "") -> ChipState:
    block, start, _ = state.places[field]
    number = int.from_bytes(state.blocks[block], "little") | value << start
    blocks = {**state.blocks, block: number.to_bytes(len(state.blocks[block]), "little")}
    texts = {**state.texts, field: word or str(value)}
    return replace(state, blocks=blocks, values={**state.values, field: value}, texts=texts)


def plan_for(chip: str, *fields: str) -> PlanDocument:
    return plan_with(chip, layout=[place_data(field) for field in fields])


@EACH_CHIP
def test_an_empty_chip_holds_nothing(chip: str) -> None:
    assert other_efuses(plan_for(chip), new_chip(chip)) == ()


@pytest.mark.parametrize("chip", sorted(FACTORY_NEW))
def test_what_the_factory_burned_is_the_makers(chip: str) -> None:
    state = new_chip(chip)
    for field, value in FACTORY_NEW[chip].items():
        state = burned(state, field, value)
    assert other_efuses(plan_for(chip), state) == ()
    shown = ", ".join(makers_efuses(plan_for(chip), state))
    for field, value in FACTORY_NEW[chip].items():
        is_shown = state.places[field][0] == 0 and not field.startswith("MAC")
        assert (f"{field} = {value}" in shown) == is_shown


@EACH_CHIP
def test_each_field_is_somebodys_and_what_is_nobodys_else_is_named(chip: str) -> None:
    """Also every block: what is in the maker's is never named, what is in a key block or the user's always is."""
    new = new_chip(chip)
    for field, (block, _, _) in new.places.items():
        if field in ("WR_DIS", "RD_DIS"):
            continue
        state = burned(new, field, 1, word="HMAC_UP" if field.startswith("KEY_PURPOSE_") else "")
        named = other_efuses(plan_for(chip), state)
        if field.endswith("_H") and field.startswith("KEY_PURPOSE_"):
            continue  # the fifth bit of a purpose, which espefuse shows as a part of it
        assert bool(named) == (owner_of(plan_for(chip), field, state) is Owner.OTHER), field
        assert not named or block not in makers_blocks(chip), field
        if block == 0:
            assert other_efuses(plan_for(chip, field), state) == () or field.startswith("KEY_PURPOSE_"), field


@EACH_CHIP
def test_a_protection_outside_the_plan_is_named(chip: str) -> None:
    new = new_chip(chip)
    user = 3 if chip != "esp32c2" else 1
    locks = {f.block: f.wr_dis_bit for f in load_chip(chip, 0).efuses.fields.values() if f.wr_dis_bit is not None}
    assert other_efuses(plan_for(chip), burned(new, "WR_DIS", 1 << int(str(locks[user]))))
    for block in makers_blocks(chip):
        assert other_efuses(plan_for(chip), burned(new, "WR_DIS", 1 << int(str(locks[block])))) == ()
    for key in load_chip(chip, 0).key_blocks:
        for bit in key.rd_dis_bits:
            assert key.name in other_efuses(plan_for(chip), burned(new, "RD_DIS", 1 << bit))[0]


@EACH_CHIP
def test_flags_that_nobody_accounts_for(chip: str) -> None:
    new = new_chip(chip)
    for field in SOMEBODYS:
        if field in new.places:
            assert other_efuses(plan_for(chip), burned(new, field, 1)) == (f"{field} = 1",)


@pytest.mark.parametrize("chip", ["esp32", "esp32c2", "esp32c3", "esp32s3", "esp32c5"])
def test_user_data_is_named_and_not_shown(chip: str) -> None:
    new = new_chip(chip)
    user = 1 if chip == "esp32c2" else 3
    secret = replace(new, blocks={**new.blocks, user: bytes(8) + b"\xa5\x5a" + bytes(22)})
    assert other_efuses(plan_for(chip), secret) == (f"BLOCK{user} holds user data",)
    mac = burned(new, "CUSTOM_MAC", 0x112233445566, word="66:55:44:33:22:11 (OK)")
    assert other_efuses(plan_for(chip), mac) == ("CUSTOM_MAC = 66:55:44:33:22:11",)


def test_the_adc_values_of_an_esp32_are_user_data_without_their_flag() -> None:
    state = burned(new_chip("esp32"), "ADC1_TP_LOW", 5)
    assert other_efuses(plan_for("esp32"), state) == ("BLOCK3 holds user data",)
    assert other_efuses(plan_for("esp32"), burned(state, "BLK3_PART_RESERVE", 1)) == ()


def test_the_other_half_of_the_one_key_block_is_somebodys() -> None:
    """A plan with a digest alone, on an ESP32-C2 whose block holds somebody's flash encryption key as well."""
    step = key_data(block_number=3, part="high", length=16, rd_dis_bits=[], wr_dis_bits=[7], readable_bits=[1])
    plan = plan_with("esp32c2", steps=[step])
    state = new_chip("esp32c2")
    digest = replace(state, blocks={**state.blocks, 3: bytes(16) + bytes(range(16))})
    both = replace(state, blocks={**state.blocks, 3: bytes(range(32))})
    assert other_efuses(plan, digest) == ()
    assert other_efuses(plan, both) == ("BLOCK_KEY0 holds a key or data",)
    assert other_efuses(plan, burned(digest, "RD_DIS", 1)) == ("BLOCK_KEY0 holds something hidden",)


@EACH_CHIP
def test_user_data_is_named_and_never_shown(chip: str) -> None:
    """Not even where it lies in the place of a custom MAC address, which alone is shown."""
    new, user = new_chip(chip), 3 if chip != "esp32c2" else 1
    secret = "de:ad:be:ef:12:34"
    address = burned(new, "CUSTOM_MAC", 0x3412EFBEADDE, word=secret)
    assert f"CUSTOM_MAC = {secret}" in other_efuses(plan_for(chip), address)
    size = len(new.blocks[user])
    filled = replace(address, blocks={**address.blocks, user: bytes(range(1, size + 1))})
    named = other_efuses(plan_for(chip), filled)
    assert f"BLOCK{user} holds user data" in named
    assert secret not in " ".join(named)
