# SPDX-License-Identifier: Apache-2.0
"""Boards that were made by hand with espefuse and esptool: the right verdict, nothing lost, the right end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from chip_tools import TEN_CHIPS
from hand_made import (
    OWN_KEY_BLOCKS,
    SOMEBODY_ELSES,
    Bench,
    Bundles,
    shared_bundles_of,  # noqa: F401 (a fixture)
)

from secure_ext.bundle.read import FinishedBundle
from secure_ext.prove.boot_check.boot_check import boot_check

SIX_BLOCKS = tuple(chip for chip in TEN_CHIPS if chip not in OWN_KEY_BLOCKS)
WITH_HMAC = tuple(chip for chip in SIX_BLOCKS if chip != "esp32c61")
SECURE_DOWNLOAD = tuple(chip for chip in TEN_CHIPS if chip != "esp32")
WITH_LAST_BLOCK = tuple(chip for chip in SIX_BLOCKS if chip != "esp32p4")
NOT_C2 = tuple(chip for chip in TEN_CHIPS if chip != "esp32c2")
NOT_C5 = tuple(chip for chip in TEN_CHIPS if chip != "esp32c5")
"""Its development mode locks a field that production needs."""
QUICK = (
    *("esp32c3 custom MAC", "esp32c3 development count 3", "esp32c3 certificate changed"),
    *("esp32c2 custom MAC, kept", "esp32 no locks"),
)


@dataclass(frozen=True)
class State:
    """What was done to a board, and what the script makes of it.

    Attributes:
        name: of the state.
        work: command lines; ``script`` is provision.py of a bundle.
        says: what the script says the board is.
        code: of its STOP; empty where it goes on to the end.
        profile: of the bundle that the board is then provisioned with.
        chips: on which the state exists.
    """

    name: str
    work: tuple[str, ...]
    says: str
    code: str = ""
    profile: str = "plain"
    chips: tuple[str, ...] = TEN_CHIPS


NEW, BEGUN, DONE = "This board is untouched", "This board is begun with this bundle", "This board is finished"
CARRIES, FOREIGN, SEALED = "This board carries something", "This board is not for this bundle", "This board is sealed"
OTHER = "This board is provisioned by another release of yours"

IDENTITY = "espefuse burn-key BLOCK_KEY4 {key} HMAC_DOWN_DIGITAL_SIGNATURE"
MAC = "espefuse burn-custom-mac AA:CD:EF:01:02:03"
USER_DATA = "espefuse burn-block-data {user} {user_data}"
FIRMWARES_KEY = "espefuse burn-key {foreign_flash_encryption}"
OURS_OPEN = "espefuse burn-key {flash_encryption} {open}"
COUNT_1, COUNT_3 = "espefuse burn-efuse {count} 1", "espefuse burn-efuse {count} 3"
WHOLE, UNTIL_BURN, UNTIL_FLASH = "script plain", "script plain --until burn", "script plain --until flash"

STATES = (
    State("new", (), NEW),
    State("earlier firmware", ("esptool write-flash 0x10000 {data}",), NEW),
    State("voltage", ("espefuse set-flash-voltage 3.3V",), NEW, chips=("esp32", "esp32s2", "esp32s3")),
    State("certificate, kept", (), NEW, profile="keep"),
    State("custom MAC", (MAC,), CARRIES, "SE860"),
    State("custom MAC, kept", (MAC,), NEW, profile="keep"),
    State("user data", (USER_DATA,), CARRIES, "SE860"),
    State("user data, kept", (USER_DATA, "espefuse write-protect-efuse {user_field}"), NEW, profile="keep"),
    State("identity", (IDENTITY,), CARRIES, "SE860", chips=WITH_HMAC),
    State("identity, kept", (IDENTITY, MAC), NEW, profile="keep", chips=WITH_HMAC),
    State("identity elsewhere", (IDENTITY.replace("KEY4", "KEY3"),), CARRIES, "SE860", "keep", WITH_HMAC),
    State("open key, kept", ("espefuse burn-key BLOCK_KEY4 {key} USER",), NEW, profile="keep", chips=SIX_BLOCKS),
    State("purpose", ("espefuse burn-efuse KEY_PURPOSE_4 HMAC_UP",), CARRIES, "SE860", chips=WITH_HMAC),
    State("locked empty block", ("espefuse write-protect-efuse BLOCK_KEY4",), CARRIES, "SE860", chips=SIX_BLOCKS),
    State("last block", ("espefuse burn-block-data BLOCK_SYS_DATA2 {key}",), CARRIES, "SE860", chips=WITH_LAST_BLOCK),
    State("flag", ("espefuse burn-efuse UART_PRINT_CONTROL 3",), CARRIES, "SE860", chips=SECURE_DOWNLOAD),
    State("planned flag", ("espefuse burn-efuse {jtag} 1",), BEGUN),
    State("foreign flash key", (FIRMWARES_KEY,), FOREIGN, "SE822", chips=NOT_C2),
    State("foreign digest", ("espefuse burn-key {foreign_secure_boot_digest}",), FOREIGN, "SE819", chips=NOT_C2),
    State(
        "foreign key beside",
        ("espefuse burn-key BLOCK_KEY4 {key} XTS_AES_128_KEY",),
        FOREIGN,
        "SE819",
        "keep",
        SIX_BLOCKS,
    ),
    State("our flash key, open", (OURS_OPEN,), BEGUN, chips=NOT_C2),
    State("our flash key, hidden", ("espefuse burn-key {flash_encryption}",), FOREIGN, "SE822", chips=NOT_C2),
    State("our digest", ("espefuse burn-key {secure_boot_digest}",), BEGUN, chips=NOT_C2),
    State("our keys, open", ("espefuse burn-key {flash_encryption} {secure_boot_digest} {open}",), BEGUN),
    State("half a block", (FIRMWARES_KEY,), FOREIGN, "SE819", chips=("esp32c2",)),
    State("development count 1", (COUNT_1,), BEGUN),
    State("development count 3", (COUNT_3,), BEGUN),
    State("count 1, board's own key", (FIRMWARES_KEY, COUNT_1), FOREIGN, "SE822", chips=NOT_C2),
    State("count 3, board's own key", (FIRMWARES_KEY, COUNT_3), FOREIGN, "SE822", chips=NOT_C2),
    State("count 1, our key", (OURS_OPEN, COUNT_1), BEGUN, chips=NOT_C2),
    State("count 1, no copy", (COUNT_1,), BEGUN, "SE861", "keep"),
    State("development, ours", ("script development",), BEGUN, chips=NOT_C5),
    State("development for ever", ("script development",), OTHER, "SE819", chips=("esp32c5",)),
    State("development, count 3", ("script development", COUNT_3), BEGUN, chips=NOT_C5),
    State("development, again", ("script development",), DONE, profile="development"),
    State("development, kept too late", ("script development",), BEGUN, "SE861", "keep", NOT_C5),
    State("secure boot alone", ("espefuse burn-efuse {boot} 1",), BEGUN),
    State("until flash", (UNTIL_FLASH,), NEW),
    State("until flash, lost", (UNTIL_FLASH, "lose the journal"), NEW),
    State("until flash, kept", ("script keep --until flash",), NEW, profile="keep"),
    State("until burn", (UNTIL_BURN,), BEGUN),
    State("until burn, lost", (UNTIL_BURN, "lose the journal"), OTHER, "SE822"),
    State("until burn, kept", ("script keep --until burn",), BEGUN, profile="keep"),
    State(
        "certificate changed", ("script keep --until flash", "esptool write-flash 0x1e000 {data}"), NEW, "SE862", "keep"
    ),
    State(
        "calibration changed", ("script keep --until flash", "esptool write-flash 0x1f000 {data}"), NEW, "SE862", "keep"
    ),
    State("identity after flash", (UNTIL_FLASH, IDENTITY), NEW, chips=WITH_HMAC),
    State(
        "identity and data",
        (UNTIL_FLASH, IDENTITY, "esptool write-flash 0x20000 {data}"),
        CARRIES,
        "SE860",
        chips=WITH_HMAC,
    ),
    State("count 1, user data", (COUNT_1, USER_DATA), CARRIES, "SE860"),
    State("kept by another bundle", ("script keep --until flash",), NEW, "SE862"),
    State("sealed", (WHOLE,), SEALED, "SE811", chips=SECURE_DOWNLOAD),
    State("closed", (WHOLE,), "", "SE810", chips=("esp32",)),
    State("foreign seal", ("espefuse burn-efuse ENABLE_SECURITY_DOWNLOAD 1",), FOREIGN, "SE811", chips=SECURE_DOWNLOAD),
    State("foreign project", ("script foreign --until burn",), FOREIGN, "SE819"),
    State("foreign project, sealed", ("script foreign",), SEALED, "SE811", chips=SECURE_DOWNLOAD),
    State("revoked", ("espefuse burn-efuse SECURE_BOOT_KEY_REVOKE0 1",), FOREIGN, "SE818", chips=SIX_BLOCKS),
    State("secure boot v1", ("espefuse burn-efuse ABS_DONE_0 1",), FOREIGN, "SE818", chips=("esp32",)),
    State("whole key", ("espefuse burn-key BLOCK_KEY0 {key} XTS_AES_128_KEY",), FOREIGN, "SE818", chips=("esp32c2",)),
    State("secure boot v1 key", ("espefuse burn-key secure_boot_v1 {key}",), FOREIGN, "SE819", chips=("esp32",)),
    State("coding scheme", ("espefuse burn-efuse CODING_SCHEME 1",), FOREIGN, "SE818", chips=("esp32",)),
    State(
        "hidden user block, kept", (MAC, "espefuse read-protect-efuse BLOCK3"), NEW, profile="keep", chips=("esp32",)
    ),
    State(
        "hidden config",
        (UNTIL_FLASH, "espefuse read-protect-efuse FLASH_CRYPT_CONFIG"),
        FOREIGN,
        "SE819",
        chips=("esp32",),
    ),
    State("no locks", (UNTIL_FLASH, "espefuse write-protect-efuse WR_DIS"), FOREIGN, "SE819", chips=("esp32",)),
    State(
        "key manager",
        ("espefuse burn-efuse FORCE_USE_KEY_MANAGER_KEY 1",),
        FOREIGN,
        "SE818",
        chips=("esp32c5", "esp32p4"),
    ),
    State(
        "hidden digest",
        ("espefuse burn-key {secure_boot_digest}", "espefuse burn-efuse RD_DIS 2"),
        FOREIGN,
        "SE819",
        chips=SIX_BLOCKS,
    ),
    State("purpose locked", ("espefuse write-protect-efuse KEY_PURPOSE_1",), FOREIGN, "SE819", chips=SIX_BLOCKS),
    State("count locked at 1", (COUNT_1, "espefuse write-protect-efuse {count}"), FOREIGN, "SE819"),
    State("no key can be hidden", ("espefuse write-protect-efuse RD_DIS",), FOREIGN, "SE819"),
    State("no encryption any more", ("espefuse write-protect-efuse {count}",), FOREIGN, "SE819"),
)


@pytest.fixture
def bench(chip: str, bundles_of: Callable[[str], Bundles], tmp_path: Path) -> Bench:
    return Bench(bundles_of(chip), tmp_path)


def _table() -> list[object]:
    return [
        pytest.param(
            chip,
            state,
            id=f"{chip} {state.name}",
            marks=() if f"{chip} {state.name}" in QUICK else pytest.mark.long,
        )
        for state in STATES
        for chip in state.chips
    ]


@pytest.mark.parametrize(("chip", "state"), _table())
def test_a_board_in_this_state(state: State, bench: Bench) -> None:
    with bench.board as board:
        bench.work(state.work)
        before = board.efuses, board.flash
        done = bench.script(state.profile)
        after = board.efuses, board.flash
    assert state.says in done.output, done.output
    assert "Traceback" not in done.output
    assert done.stop_code == (state.code or None), done.output
    assert SOMEBODY_ELSES.hex() not in done.output
    if state.code:
        assert "What to do: " in done.output
        assert after == before
        return
    bundle = bench.bundles[state.profile]
    assert done.exit_code == 0, done.output
    report = boot_check(board.state, bundle.folder)
    assert report.boots, report.faults
    assert _beside_the_plan(bundle, after[0]) == _beside_the_plan(bundle, before[0])


def _beside_the_plan(bundle: FinishedBundle, efuses: dict[str, str]) -> dict[str, str]:
    """The blocks that the plan leaves alone."""
    planned = {"0", *(str(key.block_number) for key in bundle.plan.keys)}
    return {number: content for number, content in efuses.items() if number not in planned}


@pytest.mark.parametrize("chip", [pytest.param("esp32c2", marks=pytest.mark.long)])
def test_a_finished_board_of_another_product(bench: Bench) -> None:
    """With the same signing key, and keys that nobody can compare: it is left alone, and that is said."""
    with bench.board as board:
        bench.work(("script sibling", "lose the journal"))
        before = board.efuses, board.flash
        done = bench.script("development")
        assert (board.efuses, board.flash) == before
    assert DONE in done.output
    assert "its hidden keys cannot be compared" in done.output
