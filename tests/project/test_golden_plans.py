# SPDX-License-Identifier: Apache-2.0
"""What was right stays right: the eFuse steps of every cell of the matrix, and of real builds, are those on record.

The records in ``golden/`` are read by people in a review: `python tests/project/test_golden_plans.py` writes them anew.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":  # the paths that pytest adds
    sys.path.append(str(Path(__file__).parents[1]))

import pytest
from support.matrix_cells import Cell, all_cells, options_of, profile_of
from test_build_corpus import CORPUS, EXPECTED
from test_corpus_bundles import ACCEPTED, with_whole_images

from secure_ext.doctor.decide import decide
from secure_ext.errors import SecureProvisionError
from secure_ext.plan.steps import BurnField, BurnKey, EraseFlash, Step, WriteProtect
from secure_ext.policy.profile import Profile
from secure_ext.sample import make_sample_build
from secure_ext.station.revision import revision_text

GOLDEN = Path(__file__).parent / "golden"
CHIPS = sorted({cell.chip for cell in all_cells()})
FEATURES: dict[str, dict[str, object]] = {
    "flash encryption": {"flash_encryption.mode": "release", "secure_boot.enabled": False},
    "secure boot": {"flash_encryption.mode": "off", "secure_boot.enabled": True, "secure_boot.keys": ("key.pem",)},
    "both": {"flash_encryption.mode": "release", "secure_boot.enabled": True, "secure_boot.keys": ("key.pem",)},
}


def line_of(step: Step) -> str:
    action = step.action
    if isinstance(action, BurnKey):
        what = f"{action.role.value} in {action.block.name} {action.part.value} as {action.purpose}"
    elif isinstance(action, BurnField):
        what = f"{action.field} = {action.value}"
    elif isinstance(action, WriteProtect):
        what = f"write-protect {action.field} (WR_DIS bit {action.wr_dis_bit})"
    else:
        what = "erase" if isinstance(action, EraseFlash) else "write images"
    since = f" from {revision_text(step.min_revision)}" if step.min_revision else ""
    return f"  {step.stage.value:5} {what}{since}\n"


def steps_of_cell(cell: Cell, folder: Path) -> Iterator[str]:
    keys = tuple(folder / f"key{number}.pem" for number in range(cell.keys)) if cell.has_secure_boot else ()
    build = make_sample_build(folder / str(cell), cell.chip, options=options_of(cell))
    yield f"{cell}\n"
    yield from map(line_of, decide(build, Profile(folder, profile_of(cell, keys))).plan.steps)


def record_of_chip(chip: str, folder: Path) -> str:
    return "".join(line for cell in all_cells() if cell.chip == chip for line in steps_of_cell(cell, folder))


def record_of_build(name: str, folder: Path) -> str:
    build = with_whole_images(name, folder / name)
    lines = []
    for features, settings in FEATURES.items():
        lines.append(f"{features}\n")
        profile = Profile(folder, {"doctor.accept": ACCEPTED, **settings})  # type: ignore[dict-item]
        try:
            lines += map(line_of, decide(build, profile).plan.steps)
        except SecureProvisionError as error:
            lines.append(f"  {error.code}\n")
    return "".join(lines)


@pytest.mark.parametrize("chip", CHIPS)
def test_the_steps_of_every_cell_are_on_record(chip: str, tmp_path: Path) -> None:
    assert record_of_chip(chip, tmp_path) == (GOLDEN / f"{chip}.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(not CORPUS, reason="SECURE_EXT_CORPUS does not name a folder with builds")
@pytest.mark.parametrize("name", EXPECTED)
def test_the_steps_of_a_real_build_are_on_record(name: str, tmp_path: Path) -> None:
    assert record_of_build(name, tmp_path) == (GOLDEN / f"build-{name}.txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for one in CHIPS:
            (GOLDEN / f"{one}.txt").write_text(record_of_chip(one, Path(scratch)), encoding="utf-8")
        for one in EXPECTED:
            (GOLDEN / f"build-{one}.txt").write_text(record_of_build(one, Path(scratch)), encoding="utf-8")
