# SPDX-License-Identifier: Apache-2.0
"""The boot check starts the second bootloader, too, where the chip's eFuses have the ROM look for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from silicon import Silicon, burn_by_hand
from support.doctor_case import SECOND_BOOTLOADER
from support.matrix_cells import Cell, Made
from support.release_oracle import Wanted

from secure_ext.bundle.write import write_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.chips.cut_fields import cut
from secure_ext.doctor.decide import decide
from secure_ext.plan.bootloader_efuses import SECTOR, VERSION
from secure_ext.policy.profile import Profile
from secure_ext.prove.boot_check.boot_check import BootReport, boot_check
from secure_ext.prove.boot_check.bootloaders import recovery_offset
from secure_ext.prove.boot_check.efuses import Efuses, Place
from secure_ext.sample import make_sample_build
from secure_ext.sample.options import SampleOptions

AT = 0x3F0000


@pytest.fixture(name="finished", scope="module")
def finished_chip(tmp_path_factory: pytest.TempPathFactory, signing_keys: dict[str, Path]) -> Silicon:
    """An ESP32-C5 with two bootloaders of secure version 2, which its ROM compares."""
    folder = tmp_path_factory.mktemp("second")
    options = SampleOptions(
        flash_encryption="release",
        secure_boot=True,
        app_size=40_000,
        bootloader_version=("v6.1", 2),
        config=SECOND_BOOTLOADER | {"BOOTLOADER_ANTI_ROLLBACK_ENABLE": True},
    )
    build = make_sample_build(folder / "project", "esp32c5", options=options)
    key = signing_keys["rsa_0"]
    bundle = write_bundle(decide(build, Profile(folder, {"secure_boot.keys": (str(key),)})), folder / "bundle", print)
    made = Made(Cell("esp32c5", "both"), bundle.folder, build, (key,), cast("Wanted", None))
    return burn_by_hand(made, folder / "chip")


def report_on(silicon: Silicon, folder: Path) -> BootReport:
    return boot_check(silicon.store(folder / "state"), silicon.made.folder)


def test_both_bootloaders_start(finished: Silicon, tmp_path: Path) -> None:
    report = report_on(finished, tmp_path)
    assert report.boots, report.faults
    for name in ("bootloader at 0x2000", "recovery bootloader at 0x3f0000"):
        assert any(line.startswith(f"{name}: signed by key 1") for line in report.log)


def of_the_first(silicon: Silicon) -> Silicon:
    """What an update would do that copies ciphertext."""
    return silicon.with_bytes(AT, silicon.stored("bootloader"))


Change = Callable[[Silicon], Silicon]
WRONG: dict[str, tuple[Change, str]] = {
    "erased": (lambda chip: chip.with_bytes(AT, b"\xff" * 0x8000), "BC07"),
    "ciphertext of the first": (of_the_first, "BC07"),
    "one bit": (lambda chip: chip.with_flash_flip(AT + 0x200), "BC10"),
    "its signature": (
        lambda chip: chip.with_flash_flip(AT + chip.images["bootloader-recovery"]["size"] - 0xFF0),
        "BC12",
    ),
    "no sector": (lambda chip: chip.with_field(f"{SECTOR}_LO", 0).with_field(f"{SECTOR}_HI", 0), "BC42"),
    "half a sector": (lambda chip: chip.with_field(f"{SECTOR}_HI", 0), "BC42"),
    "off for ever": (lambda chip: chip.with_field(f"{SECTOR}_LO", 0x1FF).with_field(f"{SECTOR}_HI", 7), "BC42"),
    "another sector": (lambda chip: chip.with_field(f"{SECTOR}_LO", 0x1F1), "BC07"),
    "a later version": (lambda chip: chip.with_field(f"{VERSION}_LO", 7), "BC41"),
    "the highest version": (lambda chip: chip.with_field(f"{VERSION}_HI", 1), "BC41"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_the_rom_would_not_start(what: str, finished: Silicon, tmp_path: Path) -> None:
    change, code = WRONG[what]
    report = report_on(change(finished), tmp_path)
    assert code in {fault.code for fault in report.faults}, report.faults


@pytest.mark.parametrize(("chip", "revision"), [("esp32c5", 100), ("esp32c61", 0), ("esp32p4", 300), ("esp32s31", 0)])
@pytest.mark.parametrize(("sector", "wanted"), [(0x3F0, AT), (0xA5C, 0xA5C000), (1, 0x1000), (0, None), (0xFFF, None)])
def test_it_reads_the_sector_as_the_plan_cuts_it(chip: str, revision: int, sector: int, wanted: int | None) -> None:
    facts = load_chip(chip, revision)
    parts = cut(facts, SECTOR, sector)
    fields = [facts.efuses.require(name) for name in parts]
    content = sum(parts[field.name] << field.start for field in fields).to_bytes(36, "little")
    places = {field.name: Place(field.block, field.start, field.bits) for field in fields}
    nothing: dict[Any, Any] = {}
    assert recovery_offset(Efuses(chip, {0: content}, (), places, nothing, nothing)) == wanted
