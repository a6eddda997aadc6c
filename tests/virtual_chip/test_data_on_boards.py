# SPDX-License-Identifier: Apache-2.0
"""The block of user data on boards that hold something already, and on boards whose power goes while it is burned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from chip_tools import espefuse, succeed

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.documents.rehearsal import DAMAGED, FAILED
from secure_ext.policy.profile import Profile, Value
from secure_ext.prove.rehearsal.power_cuts import power_cuts
from secure_ext.prove.rehearsal.script_run import chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess

MAC = "02:11:22:33:44:55"
SAME, OTHER = f"burn-custom-mac {MAC}", "burn-custom-mac 02:11:22:33:44:56"
MakeBundle = Callable[..., FinishedBundle]


@pytest.fixture
def bundle_of(
    sample_project: Callable[[str], Path], signing_key_for: Callable[[str], Path], tmp_path: Path
) -> MakeBundle:
    """The bundle of a chip's sample with a custom MAC address and whatever else the profile says."""

    def make(chip: str, **values: Value) -> FinishedBundle:
        settings: dict[str, Value] = {"secure_boot.keys": (str(signing_key_for(chip)),), "custom_mac": MAC, **values}
        profile = Profile(tmp_path, settings)
        write_bundle(decide(sample_project(chip) / "build", profile), tmp_path / "bundle", lambda _: None)
        return read_bundle(tmp_path / "bundle")

    return make


@pytest.mark.parametrize(
    ("chip", "before", "code"),
    [
        pytest.param("esp32c3", SAME, "", id="the same"),
        pytest.param("esp32c3", OTHER, "SE819", id="another"),
        pytest.param("esp32c3", "burn-bit BLOCK3 0", "SE819", id="a bit elsewhere", marks=pytest.mark.long),
        pytest.param("esp32c3", "burn-bit BLOCK3 201", "SE812", id="one bit of it", marks=pytest.mark.long),
        pytest.param("esp32c3", "write-protect-efuse CUSTOM_MAC", "SE819", id="locked", marks=pytest.mark.long),
        pytest.param("esp32c2", SAME, "", id="esp32c2 the same", marks=pytest.mark.long),
        pytest.param("esp32", "burn-bit BLOCK3 9", "", id="esp32 one bit of it"),
        pytest.param("esp32", OTHER, "SE819", id="esp32 another", marks=pytest.mark.long),
        pytest.param("esp32", "burn-bit BLOCK3 250", "SE860", id="esp32 data beside", marks=pytest.mark.long),
        pytest.param("esp32", "read-protect-efuse MAC_VERSION", "SE819", id="esp32 hidden", marks=pytest.mark.long),
    ],
)
def test_a_board_whose_block_is_not_empty(
    chip: str, before: str, code: str, bundle_of: MakeBundle, tmp_path: Path
) -> None:
    """What is the plan's is taken, what is not stops before anything changes."""
    bundle = bundle_of(chip)
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        succeed(espefuse(board, *before.split()))
        found = board.efuses, board.flash
        done = run_script(bundle, board.url, tmp_path / "journal")
        assert (done.exit_code, done.stop_code or "") == (5 if code else 0, code), done.output
        assert not code or (board.efuses, board.flash) == found


def test_keep_does_not_leave_the_block_to_boards_that_bring_an_address(bundle_of: MakeBundle) -> None:
    plan = bundle_of("esp32c3", keep=(), reserved_key_blocks=("KEY4",)).plan
    assert [block.block for block in plan.carried or ()] == ["BLOCK_KEY4"]


@pytest.mark.long
@pytest.mark.parametrize("chip", ["esp32", "esp32c2", "esp32c3"])
def test_the_power_goes(chip: str, bundle_of: MakeBundle) -> None:
    """Half-way in a block with check bytes the board is lost, and one for each key block; an esp32 is finished."""
    bundle = bundle_of(chip, write_protect_user_block=True)
    keys = len({key.block for key in bundle.plan.keys})
    report = power_cuts(bundle, lambda _: None)
    assert report.passed, [cut for cut in report.cuts if cut.outcome == FAILED]
    assert report.counts[DAMAGED] == keys + (chip != "esp32")
