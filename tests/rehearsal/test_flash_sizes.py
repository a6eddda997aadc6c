# SPDX-License-Identifier: Apache-2.0
"""A rehearsal's chip is one that the firmware runs on: flash of the size in the bootloader's header, its revisions."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.matrix_bundles import signing_keys

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.chips.facts import CHIP_NAMES, chip_facts
from secure_ext.doctor.decide import decide
from secure_ext.formats.partition_table import TYPE_DATA, Partition
from secure_ext.policy.profile import Profile
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.rehearsal.script_run import NewChip, chip_for
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.sample.options import AppFacts, partitions_of

MEGABYTE = 0x100000
LONG = pytest.mark.long
QUICK = (("esp32c3", 2), ("esp32c5", 16))
NOT_ABOVE_16_MB = ("esp32c6", "esp32h2")
"""Their app refuses more, at every start: doctor rule SP111."""
SIZES = [
    pytest.param(chip, size, marks=() if (chip, size) in QUICK else LONG)
    for chip in CHIP_NAMES
    for size in (2, 4, 8, 16, 32)
    if size <= 16 or chip not in NOT_ABOVE_16_MB
]


def bundle_for(chip: str, megabytes: int, folder: Path, keys: Path, app: AppFacts | None = None) -> FinishedBundle:
    """Of a build whose partitions go to the end of a flash of that size, far behind its images."""
    schemes = chip_facts(chip).schemes
    options = SampleOptions(
        flash_encryption="release", secure_boot=bool(schemes), flash_size=f"{megabytes}MB", app=app or AppFacts()
    )
    rows = list(partitions_of(options))
    rows = [row for row in rows if row.label not in ("storage", *(("ota_1",) if megabytes == 2 else ()))]
    end = rows[-1].end
    rows.append(Partition("rest", TYPE_DATA, 0x82, end, megabytes * MEGABYTE - end))
    build = make_sample_build(
        folder / "project",
        chip,
        options=SampleOptions(**{**vars(options), "partitions": tuple(rows)}),
    )
    settings = {}
    if schemes:
        settings["secure_boot.keys"] = tuple(str(key) for key in signing_keys(schemes[0], keys)[:1])
    decision = decide(build, Profile(folder, settings))
    return read_bundle(write_bundle(decision, folder / "bundle", lambda _: None).folder)


@pytest.mark.parametrize(("chip", "megabytes"), SIZES)
def test_a_good_build_passes_its_rehearsal(
    chip: str, megabytes: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bundle = bundle_for(chip, megabytes, tmp_path, tmp_path_factory.getbasetemp())
    assert bundle.manifest.flash_size == megabytes * MEGABYTE
    assert chip_for(bundle).flash_size == megabytes * MEGABYTE
    rehearsal = rehearse_bundle(bundle, lambda _: None)
    assert rehearsal.passed, rehearsal.outcome


def test_the_chip_has_the_block_revision_that_the_app_wants(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With the least chip revision, and with another one that is asked for."""
    bundle = bundle_for("esp32c3", 4, tmp_path, tmp_path_factory.getbasetemp(), AppFacts(min_block_revision=103))
    place = load_chip("esp32c3", 3).efuses
    wanted = {
        (field.block, field.start + bit)
        for name, value in (("BLK_VERSION_MAJOR", 1), ("BLK_VERSION_MINOR", 3))
        for field in (place.require(name),)
        for bit in range(field.bits)
        if value >> bit & 1
    }
    for new in (NewChip(), NewChip(revision=4)):
        burned = {(block, bit) for block, bits in chip_for(bundle, new).bits for bit in bits}
        assert wanted <= burned
    assert rehearse_bundle(bundle, lambda _: None).passed
