# SPDX-License-Identifier: Apache-2.0
"""``--policy release``: what ESP-IDF calls release mode and what it overlooks, beside an oracle from its C code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from audited_boards import (  # noqa: F401 (a fixture is among them)
    EACH_CHIP,
    Boards,
    Provisioned,
    as_efuses,
    burned,
    provisioned_boards,
    with_block,
    without_bit,
)
from click.testing import Result
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Bundles, Cell
from support.release_oracle import Wanted, not_release

from secure_ext.checks import Outcome
from secure_ext.prove.audit.report import audit_for_release
from secure_ext.prove.audit.unplanned_efuses import MEANING
from secure_ext.station.chip_state import ChipState

XTS_256 = Cell("esp32s3", "both", key_bits=256)
STRICTER = {"SECURE_BOOT_SHA384_EN": "with it set the oracle wants to know that ECDSA-384 is meant"}
"""Fields on which the oracle, which knows the plan, says more than can be said without one."""

BEYOND_ESP_IDF = {
    "esp32c5": ("SPI_DOWNLOAD_MSPI_DIS",),
    "esp32c61": ("SPI_DOWNLOAD_MSPI_DIS",),
}
"""What ESP-IDF's bootloader burns on a chip, its function does not look at, and the policy does."""


def failures(was: Provisioned, state: ChipState) -> set[tuple[str, str]]:
    checks = audit_for_release(was.board(state=state)).checks
    return {(check.name, check.place.split(",")[0]) for check in checks if check.outcome is Outcome.FAILED}


def single_changes(was: Provisioned) -> Iterator[tuple[str, ChipState]]:
    """Every lock-down field other than it is, every bit of WR_DIS and RD_DIS cleared, every purpose changed."""
    for field in sorted(set(MEANING) & set(was.state.places)):
        _, _, bits = was.state.places[field]
        for bit in range(bits):
            yield f"{field}, bit {bit}", burned(was, field, was.state.values[field] ^ 1 << bit)
    for field in ("WR_DIS", "RD_DIS"):
        for bit in range(was.state.places[field][2]):
            if was.state.values[field] >> bit & 1:
                yield f"{field}, bit {bit}", without_bit(was, field, bit)
    for block in was.chip.key_blocks:
        if block.purpose_field and was.state.texts[block.purpose_field] != "USER":
            yield block.purpose_field, burned(was, block.purpose_field, 0, word="USER")
        if any(was.state.blocks[block.number]):
            yield f"{block.name} is empty", with_block(was, block.number, bytes(32))


def wanted(bundles: Bundles, cell: Cell, was: Provisioned, state: ChipState) -> Wanted:
    """What can be asked of a board without its plan: any digest, and an HMAC key only if there is one."""
    asked = bundles(cell).wanted
    hmac = asked.hmac_block if state.texts.get(f"KEY_PURPOSE_{asked.hmac_block}") == "HMAC_UP" else None
    return replace(asked, min_revision=was.state.revision, hmac_block=hmac)


@EACH_CHIP
def test_a_release_board_passes(chip: str, boards: Boards, run_cli: Callable[..., Result]) -> None:
    was = boards(Cell(chip, "both"))
    done = run_cli("audit", "--policy", "release", "--chip", chip, "--virt", was.efuses)
    assert done.exit_code == 0, done.stdout
    assert "Nothing that can be seen deviates from release mode." in done.stdout


@EACH_CHIP
def test_it_agrees_with_the_oracle_on_every_single_change(chip: str, boards: Boards, bundles: Bundles) -> None:
    cell = Cell(chip, "both")
    was = boards(cell)
    refused = 0
    for what, state in single_changes(was):
        unmet = not_release(chip, as_efuses(was, state), wanted(bundles, cell, was, state))
        if what.split(",")[0] in STRICTER:
            assert unmet, what
        elif what.split(",")[0] in BEYOND_ESP_IDF.get(chip, ()):
            assert failures(was, state) and not unmet, what
        else:
            assert bool(failures(was, state)) == bool(unmet), (what, unmet)
        refused += bool(unmet)
    assert refused > 10


@pytest.mark.parametrize(
    ("field", "value", "failed"),
    [
        ("SPI_BOOT_CRYPT_CNT", 1, ("flash-encryption-permanent", "SPI_BOOT_CRYPT_CNT")),
        ("SECURE_BOOT_KEY_REVOKE2", 0, ("unused-slot-revoked", "SECURE_BOOT_KEY_REVOKE2")),
        ("DIS_PAD_JTAG", 0, ("jtag-closed", "DIS_PAD_JTAG")),
        ("DIS_USB_JTAG", 0, ("jtag-closed", "DIS_USB_JTAG")),
        ("ENABLE_SECURITY_DOWNLOAD", 0, ("download-mode-closed", "ENABLE_SECURITY_DOWNLOAD or DIS_DOWNLOAD_MODE")),
        ("DIS_DOWNLOAD_MANUAL_ENCRYPT", 0, ("uart-encryption-closed", "DIS_DOWNLOAD_MANUAL_ENCRYPT")),
        ("DIS_DOWNLOAD_ICACHE", 0, ("download-cache-closed", "DIS_DOWNLOAD_ICACHE")),
        ("SECURE_BOOT_EN", 0, ("secure-boot-enabled", "SECURE_BOOT_EN")),
    ],
)
def test_what_is_missing_is_named(field: str, value: int, failed: tuple[str, str], boards: Boards) -> None:
    was = boards(Cell("esp32c3", "both"))
    assert failures(was, burned(was, field, value)) == {failed}


def test_flash_encryption_that_is_off_is_named(boards: Boards) -> None:
    was = boards(Cell("esp32c3", "both"))
    names = {name for name, _ in failures(was, burned(was, "SPI_BOOT_CRYPT_CNT", 0))}
    assert names == {"flash-encryption-enabled", "flash-encryption-permanent"}


def test_what_esp_idf_overlooks(boards: Boards) -> None:
    """A key that can still be changed, a digest slot that somebody else can fill, a missing key."""
    was = boards(Cell("esp32c3", "both"))
    hmac_readable = failures(was, without_bit(was, "RD_DIS", 5))
    assert ("nvs-key-hidden", "BLOCK_KEY5") in hmac_readable
    no_key = failures(was, burned(was, "KEY_PURPOSE_0", 0, word="USER"))
    assert ("flash-encryption-key", "KEY_PURPOSE_n") in no_key
    no_digest = failures(was, burned(was, "KEY_PURPOSE_1", 0, word="USER"))
    assert {("signing-key-digest", "KEY_PURPOSE_n"), ("unused-slot-revoked", "SECURE_BOOT_KEY_REVOKE0")} <= no_digest


def test_two_digests_for_a_slot_are_one_too_many(boards: Boards) -> None:
    was = boards(Cell("esp32c3", "both"))
    twice = burned(was, "KEY_PURPOSE_3", 9, word="SECURE_BOOT_DIGEST0")
    assert ("one-digest-a-slot", "all key blocks") in failures(was, twice)


def test_two_flash_encryption_keys_are_one_too_many(boards: Boards) -> None:
    """A second one is a failure, and has to be protected besides; a key for PSRAM is none of them."""
    was = boards(Cell("esp32c3", "both"))
    second = failures(was, burned(was, "KEY_PURPOSE_2", 4, word="XTS_AES_128_KEY"))
    assert {("flash-encryption-key", "KEY_PURPOSE_n"), ("flash-encryption-key-hidden", "BLOCK_KEY2")} <= second
    assert not failures(was, burned(was, "KEY_PURPOSE_2", 15, word="XTS_AES_128_PSRAM_KEY"))


def test_jtag_that_only_the_firmware_can_open_is_closed(boards: Boards) -> None:
    """ESP-IDF takes SOFT_DIS_JTAG with an HMAC key in place of the pins' eFuses, and without the key does not.

    That key has to be hidden, too, which on these boards it is not.
    """
    was = boards(Cell("esp32c3", "both"))
    open_pins = replace(was, state=burned(was, "DIS_PAD_JTAG", 0))
    assert failures(was, open_pins.state)
    with_key = burned(open_pins, "KEY_PURPOSE_3", 6, word="HMAC_DOWN_JTAG")
    unprotected = {name for name, _ in failures(was, with_key)}
    assert unprotected == {"own-key-hidden", "own-key-write-protected"}
    soft_open = burned(replace(open_pins, state=with_key), "SOFT_DIS_JTAG", 1)
    assert failures(was, soft_open) - failures(was, with_key) == {("jtag-closed", "DIS_PAD_JTAG")}


@pytest.mark.long
def test_one_half_of_a_256_bit_key_is_not_enough(boards: Boards) -> None:
    was = boards(XTS_256)
    assert not failures(was, was.state)
    for number in range(6):
        if was.state.texts[f"KEY_PURPOSE_{number}"].startswith("XTS_AES_256_KEY"):
            state = burned(was, f"KEY_PURPOSE_{number}", 0, word="USER")
            assert ("flash-encryption-key", "KEY_PURPOSE_n") in failures(was, state)


def test_half_a_key_is_not_enough_on_any_chip(boards: Boards) -> None:
    """The same as above, on a chip at hand."""
    was = boards(Cell("esp32c3", "both"))
    for word in ("XTS_AES_256_KEY_1", "XTS_AES_256_KEY_2"):
        state = burned(was, "KEY_PURPOSE_0", 2, word=word)
        assert failures(was, state) == {("flash-encryption-key", "KEY_PURPOSE_n")}


def test_a_block_with_coding_errors_fails(boards: Boards) -> None:
    """What is burned is then not what the chip uses."""
    was = boards(Cell("esp32c3", "both"))
    damaged = replace(was.state, coding_errors=("BLOCK9 has coding errors",))
    assert failures(was, damaged) - failures(was, was.state) == {("coding-errors", "all blocks")}


@EACH_CHIP
def test_no_cure_tells_to_burn_a_single_efuse(chip: str, boards: Boards, bundles: Bundles) -> None:
    """Of an empty board, of every single deviation, and of a sealed one: alone, one of these eFuses ends the chip."""
    was = boards(Cell(chip, "both"))
    empty = was.state
    for number in was.state.blocks:
        empty = with_block(replace(was, state=empty), number, bytes(len(was.state.blocks[number])))
    empty = replace(empty, texts={n: "USER" if n.startswith("KEY_PURPOSE") else t for n, t in empty.texts.items()})
    tried = 0
    for _, state in (("empty", empty), *single_changes(was)):
        for check in audit_for_release(was.board(state=state)).checks:
            if check.outcome is Outcome.FAILED:
                assert "burn it" not in check.cure
                assert "provision.py" in check.cure or "set this board aside" in check.cure, check.name
                tried += 1
    assert tried > 20
