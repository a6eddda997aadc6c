# SPDX-License-Identifier: Apache-2.0
"""Cuts of every kind: the chip is mended by the next run, or recognised as damaged; never anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from rehearsal_bundles import BundleOf, copied_bundles  # noqa: F401 (a fixture)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Cell

from secure_ext.documents.rehearsal import DAMAGED, FAILED, RECOVERED, CutOutcome
from secure_ext.errors import DeviceError
from secure_ext.prove.rehearsal.power_cuts import Trial, power_cuts

CELL = Cell("esp32c6", "boot")


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ("burn/burn:1", DAMAGED),
        pytest.param("flash/flash:1", RECOVERED, marks=pytest.mark.long),
        pytest.param("flash/connection:1", RECOVERED, marks=pytest.mark.long),
        pytest.param("burn/write:30", RECOVERED, marks=pytest.mark.long),
    ],
)
def test_one_cut_of_each_kind(event: str, outcome: CutOutcome, bundle_of: BundleOf, tmp_path: Path) -> None:
    """Half-way in a key block: refused. Right before it, while connecting, or in a flash write: mended."""
    trial = Trial(bundle_of(CELL), tmp_path)
    trial.burn()
    wanted = trial.events_while_flashing() + trial.events_while_burning(None)
    kinds = {"flash/connection", "flash/flash", "burn/burn", "burn/write"}
    assert {event.partition(":")[0] for event in wanted} == kinds
    *before, cut = trial.cut(event)
    assert cut.outcome == outcome, cut
    assert [one.outcome for one in before] == [RECOVERED] * ("burn:" in event)
    assert ("SE812" in cut.rerun) == (outcome == DAMAGED)


@pytest.mark.long
def test_every_cut_of_a_bundle(bundle_of: BundleOf) -> None:
    """All connections and burns of one bundle, and every ninth register write."""
    report = power_cuts(bundle_of(CELL), lambda _: None, every=9)
    assert report.passed, [cut for cut in report.cuts if cut.outcome == FAILED]
    assert report.counts[RECOVERED] > 20
    assert report.counts[DAMAGED] > 0


def test_a_script_that_never_ends_well_is_not_interrupted(bundle_of: BundleOf, tmp_path: Path) -> None:
    """There is nothing to compare interrupted runs with."""
    bundle = bundle_of(CELL)
    (bundle.folder / "digests" / "secure_boot_digest_0.bin").write_bytes(bytes(32))
    with pytest.raises(DeviceError) as raised:
        Trial(bundle, tmp_path)
    assert raised.value.code == "SE841"
    assert "SE820" in raised.value.cause
