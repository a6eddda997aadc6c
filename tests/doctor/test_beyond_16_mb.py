# SPDX-License-Identifier: Apache-2.0
"""Flash behind 16 MB: what may lie there, for which firmware, and whether a board can ever run with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.doctor_case import BOTH, FAR_APPS, FAR_STORAGE, Case, examine_case, rows

LARGE = BOTH | {"flash_size": "32MB"}
OCTAL = {"ESPTOOLPY_OCT_FLASH": True, "BOOTLOADER_CACHE_32BIT_ADDR_OCTAL_FLASH": True}


@pytest.mark.parametrize(
    "case",
    [
        Case(LARGE | {"partitions": rows(replace(FAR_STORAGE, flags=0))}),
        Case(LARGE | {"partitions": rows(replace(FAR_STORAGE, offset=0xF00000))}),
        Case(
            LARGE | {"partitions": rows(*FAR_APPS), "config": {"BOOTLOADER_CACHE_32BIT_ADDR_QUAD_FLASH": True}},
            chip="esp32p4",
        ),
        Case(LARGE | {"partitions": rows(*FAR_APPS), "config": OCTAL}, chip="esp32s3"),
    ],
    ids=["plain data", "up to 16 MB", "32-bit addresses", "octal flash"],
)
def test_what_the_firmware_reaches_is_fine(case: Case, tmp_path: Path) -> None:
    assert "SP163" not in {finding.code for finding in examine_case(case, tmp_path).findings}


@pytest.mark.parametrize(
    ("partitions", "can_be_accepted"),
    [(rows(*FAR_APPS), False), (rows(FAR_APPS[1]), True), (rows(FAR_STORAGE), True)],
    ids=["the first app", "the second slot", "encrypted data"],
)
def test_only_where_the_first_app_starts_it_can_be_accepted(
    partitions: object, tmp_path: Path, *, can_be_accepted: bool
) -> None:
    case = Case(LARGE | {"partitions": partitions})
    found = [one for one in examine_case(case, tmp_path, accept=()).findings if one.code == "SP163"]
    assert found and all(one.stops and one.can_be_accepted is can_be_accepted for one in found)
