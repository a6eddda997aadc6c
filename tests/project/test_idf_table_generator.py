# SPDX-License-Identifier: Apache-2.0
"""ESP-IDF's own table generator as the judge, for each ESP-IDF in SECURE_EXT_IDF_PATHS (separated as in PATH)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from secure_ext.formats.partition_table import Partition, build_partition_table, parse_partition_table
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.sample.options import partitions_of

IDF_PATHS = [path for path in os.environ.get("SECURE_EXT_IDF_PATHS", "").split(os.pathsep) if path]
pytestmark = pytest.mark.skipif(not IDF_PATHS, reason="SECURE_EXT_IDF_PATHS does not name an ESP-IDF")

SAMPLE = partitions_of(SampleOptions())
ODD = (
    Partition("nvs", 1, 2, 0x9000, 0x3000, flags=2),
    Partition("own", 0x40, 0x06, 0xD000, 0x1234, flags=1),
    Partition("factory", 0, 0, 0x10000, 0x100000),
    Partition("test", 0, 0x20, 0x110000, 0x10000),
    Partition("a_label_of_16_by", 1, 0x83, 0x120000, 0x1000, flags=3),
)


def generate(idf: str, source: Path, target: Path, offset: int) -> None:
    generator = Path(idf, "components", "partition_table", "gen_esp32part.py")
    command = [sys.executable, str(generator), "-q", "--offset", hex(offset), str(source), str(target)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("idf", IDF_PATHS)
def test_same_bytes_from_the_same_csv(idf: str, tmp_path: Path) -> None:
    build_dir = make_sample_build(tmp_path, "esp32c6")
    generate(idf, tmp_path / "partitions.csv", tmp_path / "table.bin", 0xC000)
    assert (tmp_path / "table.bin").read_bytes() == build_partition_table(SAMPLE)
    assert (build_dir / "partition_table" / "partition-table.bin").read_bytes() == build_partition_table(SAMPLE)


@pytest.mark.parametrize("idf", IDF_PATHS)
@pytest.mark.parametrize("partitions", [SAMPLE, ODD], ids=["sample", "odd"])
def test_same_rows_back_from_its_csv(idf: str, partitions: tuple[Partition, ...], tmp_path: Path) -> None:
    (tmp_path / "ours.bin").write_bytes(build_partition_table(partitions))
    generate(idf, tmp_path / "ours.bin", tmp_path / "its.csv", 0x8000)
    generate(idf, tmp_path / "its.csv", tmp_path / "its.bin", 0x8000)
    table = parse_partition_table((tmp_path / "its.bin").read_bytes(), place="its.bin")
    assert table.partitions == partitions
