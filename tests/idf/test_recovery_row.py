# SPDX-License-Identifier: Apache-2.0
"""A row for the recovery bootloader, as ESP-IDF's own partition tool makes it: our place, and our idea of its room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from idf_trees import Tree, each_tree
from support.doctor_case import SECOND_BOOTLOADER

from secure_ext.doctor.decide import decide
from secure_ext.formats.partition_table import parse_partition_table
from secure_ext.plan.recovery import bootloader_room
from secure_ext.policy.profile import Profile
from secure_ext.sample import make_sample_build
from secure_ext.sample.options import SampleOptions

AT = 0x3F0000
CSV = """\
nvs, data, nvs, , 0x6000,
otadata, data, ota, , 0x2000,
ota_0, app, ota_0, , 0x100000,
ota_1, app, ota_1, , 0x100000,
backup, bootloader, recovery, N/A, N/A,
"""


@each_tree
def test_the_copy_lies_in_its_row(tree: Tree, tmp_path: Path) -> None:
    if tree.version < (5, 5):
        pytest.skip("no recovery bootloaders yet")
    rows, table = tmp_path / "partitions.csv", tmp_path / "table.bin"
    rows.write_text(CSV, encoding="utf-8")
    tool = tree.root / "components" / "partition_table" / "gen_esp32part.py"
    offsets = ("--offset", "0xC000", "--primary-bootloader-offset", "0x2000", "--recovery-bootloader-offset", hex(AT))
    subprocess.run([sys.executable, str(tool), "-q", *offsets, str(rows), str(table)], check=True)
    parsed = parse_partition_table(table.read_bytes(), place="table")
    options = SampleOptions(
        flash_encryption="release", app_size=40_000, partitions=parsed.partitions, config=SECOND_BOOTLOADER
    )
    made = decide(make_sample_build(tmp_path / "project", "esp32c5", options=options), Profile(tmp_path))
    row = parsed.labelled("backup")
    assert row is not None and (row.offset, row.size) == (AT, bootloader_room(made.build))
    (second,) = (image for image in made.images if image.offset == AT)
    assert (second.name, second.partition, second.encrypt) == ("bootloader-recovery", "backup", True)
    assert not {finding.code for finding in made.findings} & {"SP062", "SP155", "SP158", "SP170"}
