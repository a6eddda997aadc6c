# SPDX-License-Identifier: Apache-2.0
"""Builds of real projects, if their text is at hand: a folder for each, named by the variable SECURE_EXT_CORPUS.

A folder has ``build/`` with the JSON files of the build, ``partition-table.csv`` decoded from the built table, and
``image-sizes.json`` with the size of each binary; the binaries are made up here.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from secure_ext.build.build import Role, read_build
from secure_ext.build.sdkconfig import ConfigDifference
from secure_ext.errors import InputError
from secure_ext.formats.partition_table import FLAG_ENCRYPTED, FLAG_READONLY, Partition, build_partition_table

CORPUS = os.environ.get("SECURE_EXT_CORPUS", "")
pytestmark = pytest.mark.skipif(not CORPUS, reason="SECURE_EXT_CORPUS does not name a folder with builds")

EXPECTED = {
    "esp32-v5.1-secureboot-v1": ("esp32", 0x1000, 0x10000, 3, 0),
    "esp32-v5.3": ("esp32", 0x1000, 0x8000, 3, 0),
    "esp32c3-v5.4-rainmaker": ("esp32c3", 0, 0xC000, 4, 3),
    "esp32c5-v6.1": ("esp32c5", 0x2000, 0x8000, 4, 100),
    "esp32c6-v5.3-spaces": ("esp32c6", 0, 0x8000, 4, 0),
    "esp32c6-v6.1-tee": ("esp32c6", 0, 0x8000, 4, 0),
    "esp32p4-v5.5": ("esp32p4", 0x2000, 0x8000, 4, 1),
    "esp32s2-v6.0": ("esp32s2", 0x1000, 0x8000, 5, 0),
    "esp32s3-v5.0-flashenc-dev": ("esp32s3", 0, 0x8000, 4, 0),
    "esp32s3-v5.1": ("esp32s3", 0, 0x8000, 3, 0),
}
TOO_OLD = ("esp32-v4.4-flashenc-dev", "esp32c3-v4.4")
CHANGED_AFTER_THE_BUILD = ("esp32-v5.1-secureboot-v1",)
TYPES = {"app": 0, "data": 1}
SUBTYPES = {
    "app": {"factory": 0, "ota_0": 0x10, "ota_1": 0x11, "tee_0": 0x30},
    "data": {"ota": 0, "phy": 1, "nvs": 2, "nvs_keys": 4, "spiffs": 0x82},
}
FLAGS = {"encrypted": FLAG_ENCRYPTED, "readonly": FLAG_READONLY}


def number(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text, 0)


def read_csv(path: Path) -> list[Partition]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    rows = []
    for label, type_, subtype, offset, size, flags in csv.reader(lines):
        rows.append(
            Partition(
                label,
                TYPES[type_] if type_ in TYPES else number(type_),
                SUBTYPES[type_][subtype] if type_ in SUBTYPES else number(subtype),
                number(offset),
                number(size),
                sum(FLAGS[flag] for flag in flags.split(":") if flag),
            )
        )
    return rows


def rebuild(name: str, destination: Path) -> Path:
    """The build with made-up binaries of the right sizes; large ones are holes, so they take no space."""
    source = Path(CORPUS, name)
    shutil.copytree(source, destination)
    table = build_partition_table(read_csv(source / "partition-table.csv"))
    for file, size in json.loads((source / "image-sizes.json").read_text()).items():
        path = destination / "build" / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(table if file.startswith("partition_table/") else b"\xe9")
        os.truncate(path, size)
    return destination / "build"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_build_is_read(name: str, tmp_path: Path) -> None:
    build_dir = rebuild(name, tmp_path / "a b" / name)
    build = read_build(build_dir)
    assert (
        build.chip,
        build.bootloader.offset,
        build.partition_table_file.offset,
        len(build.files),
        build.min_revision,
    ) == EXPECTED[name]
    assert build.partitions.partitions == tuple(read_csv(Path(CORPUS, name, "partition-table.csv")))
    assert build.project_dir == build_dir.parent.resolve()
    assert build.flash_size is not None
    assert build.apps and all(file.partition for file in build.files if file.role in (Role.APP, Role.DATA))
    assert bool(build.config_differences) is (name in CHANGED_AFTER_THE_BUILD)


def test_a_changed_sdkconfig_is_noticed(tmp_path: Path) -> None:
    build = read_build(rebuild(CHANGED_AFTER_THE_BUILD[0], tmp_path / "project"))
    assert ConfigDifference("SECURE_FLASH_ENC_ENABLED", built=True, sdkconfig=False) in build.config_differences


@pytest.mark.parametrize("name", TOO_OLD)
def test_a_build_that_is_too_old_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_build(rebuild(name, tmp_path / name))
    assert caught.value.code == "SE104"


def test_all_of_the_corpus_is_known() -> None:
    assert {path.name for path in Path(CORPUS).iterdir() if path.is_dir()} == {*EXPECTED, *TOO_OLD}
