# SPDX-License-Identifier: Apache-2.0
"""What is said of a sealed board, from all that it still shows; its write protections are never called fine."""

from __future__ import annotations

import pytest
from support.typed_documents import changed, data_of, field_data, key_data, place_data, plan_with

from secure_ext.station.verdict import Condition, sealed_verdict

BURNED = {
    **{"SECURE_BOOT_EN": 1, "SPI_BOOT_CRYPT_CNT": 7, "ENABLE_SECURITY_DOWNLOAD": 1},
    **{"SECURE_BOOT_KEY_REVOKE2": 1, "DIS_PAD_JTAG": 1, "SOFT_DIS_JTAG": 7},
}
PLAN = plan_with(
    layout=[place_data(field) for field in ("SECURE_BOOT_KEY_REVOKE0", *BURNED)],
    steps=[key_data(), *(field_data(field, value) for field, value in BURNED.items())],
)
AS_PLANNED = 0b0011100101
"""Secure boot, secure download, the third slot revoked, JTAG softly and on the pins."""


def shown(flags: int = AS_PLANNED, count: int = 7, purpose: str = "XTS_AES_128_KEY", beside: str = "USER") -> str:
    return (
        f"Flags: {flags:#010x} (0b{flags:b})\n"
        f"Key Purposes: (4, 0)\n  BLOCK_KEY0 - {purpose}\n  BLOCK_KEY3 - {beside}\n"
        f"SPI Boot Crypt Count (SPI_BOOT_CRYPT_CNT): {count:#x}\n"
    )


def test_as_planned_is_sealed_and_not_finished() -> None:
    verdict = sealed_verdict(PLAN, shown(), ("0200000000aa",))
    assert verdict.condition is Condition.SEALED
    assert verdict.stop and verdict.stop.code == "SE811"
    for text in (str(verdict), verdict.stop.cause):
        assert "hether its write protections are complete cannot be seen" in text
        assert "0200000000aa" in text
    assert "functional test" in verdict.stop.cure


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (shown(AS_PLANNED & ~1), "SECURE_BOOT_EN to be 1"),
        (shown(AS_PLANNED | 2), "SECURE_BOOT_AGGRESSIVE_REVOKE to be 0"),
        (shown(AS_PLANNED & ~4), "ENABLE_SECURITY_DOWNLOAD to be 1"),
        (shown(AS_PLANNED | 8), "SECURE_BOOT_KEY_REVOKE0 to be 0"),
        (shown(AS_PLANNED | 16), "SECURE_BOOT_KEY_REVOKE1 to be 0"),
        (shown(AS_PLANNED & ~32), "SECURE_BOOT_KEY_REVOKE2 to be 1"),
        (shown(AS_PLANNED & ~64), "SOFT_DIS_JTAG to be 7"),
        (shown(AS_PLANNED & ~128), "DIS_PAD_JTAG to be 1"),
        (shown(count=1), "SPI_BOOT_CRYPT_CNT to be 7"),
        (shown(purpose="HMAC_UP"), "wants XTS_AES_128_KEY"),
        (shown(beside="XTS_AES_128_KEY"), "KEY_PURPOSE_3 is XTS_AES_128_KEY"),
    ],
)
def test_every_single_thing_that_it_shows_is_compared(text: str, other: str) -> None:
    verdict = sealed_verdict(PLAN, text)
    assert verdict.condition is Condition.FOREIGN
    assert verdict.stop and other in verdict.stop.cause and "not as this plan leaves" in verdict.stop.cure


def test_a_board_that_shows_nothing_is_not_called_sealed_as_planned() -> None:
    assert sealed_verdict(PLAN, "no such words").condition is Condition.FOREIGN


def test_an_efuse_for_newer_chips_alone_may_be_clear() -> None:
    """Nobody sees the revision of a sealed chip."""
    step, data = field_data("DIS_DOWNLOAD_ICACHE", min_revision=102), data_of(PLAN)
    plan = changed(PLAN, layout=[*data["layout"], place_data(step["field"])], steps=[*data["steps"], step])
    assert sealed_verdict(plan, shown()).condition is Condition.SEALED
