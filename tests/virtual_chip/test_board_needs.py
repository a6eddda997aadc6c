# SPDX-License-Identifier: Apache-2.0
"""A board that lacks what the firmware asks for is left alone before the erase; its good twin runs to the end."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chip_tools import new_chip
from sabotage import check_stop
from support.matrix_bundles import signing_keys
from support.matrix_tools import Done, run

from secure_ext.bundle.write import write_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.doctor.decide import decide
from secure_ext.policy.profile import Profile
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.sample.options import AppFacts

MEGABYTE = 0x100000
ANTI_ROLLBACK = {
    "BOOTLOADER_APP_ROLLBACK_ENABLE": True,
    "BOOTLOADER_APP_ANTI_ROLLBACK": True,
    "BOOTLOADER_APP_SECURE_VERSION": 1,
    "BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD": 16,
}
COMPARED = {
    "BOOTLOADER_RECOVERY_ENABLE": True,
    "BOOTLOADER_RECOVERY_OFFSET": 0x3F0000,
    "BOOTLOADER_ANTI_ROLLBACK_ENABLE": True,
}
OCTAL = {"ESPTOOLPY_OCT_FLASH": True, "ESPTOOLPY_FLASH_MODE_AUTO_DETECT": False}
LONG = pytest.mark.long


@dataclass(frozen=True)
class Firmware:
    """A build that asks for something; Kconfig symbols as pairs, so that its bundle is made once."""

    chip: str
    app: AppFacts = field(default_factory=AppFacts)
    flash_size: str = "4MB"
    config: tuple[tuple[str, object], ...] = ()
    bootloader: tuple[str, int] | None = None


@dataclass(frozen=True)
class Board:
    """A board: eFuse fields that are burned before, over those of its chip revision, and its flash in MB."""

    fields: dict[str, int] = field(default_factory=dict)
    megabytes: int = 4


NEW = {
    "esp32": {"CHIP_VER_REV1": 1, "CHIP_VER_REV2": 1},
    "esp32c3": {"WAFER_VERSION_MINOR_LO": 3},
    "esp32c5": {"WAFER_VERSION_MAJOR": 1},
    "esp32s3": {},
}
"""What makes a chip be of a revision that a build takes."""


@functools.cache
def bundle_of(firmware: Firmware, folder: Path) -> Path:
    place = folder / f"needs-{abs(hash(firmware)):x}"
    options = SampleOptions(
        flash_encryption="release",
        secure_boot=True,
        flash_size=firmware.flash_size,
        app=firmware.app,
        bootloader_version=firmware.bootloader,
        config=dict(firmware.config),
    )
    build = make_sample_build(place / "project", firmware.chip, options=options)
    keys = tuple(str(key) for key in signing_keys("rsa3072", folder)[:1])
    decision = decide(build, Profile(place, {"secure_boot.keys": keys}))
    return write_bundle(decision, place / "bundle", lambda _: None).folder


def chip_with(firmware: Firmware, board: Board, folder: Path) -> ChipProcess:
    """A chip whose flash holds something, so that an erase shows."""
    chip = load_chip(firmware.chip, 100)
    bits: dict[int, list[int]] = {}
    for name, value in {**NEW[firmware.chip], **board.fields}.items():
        place = chip.efuses.require(name)
        bits.setdefault(place.block, []).extend(place.start + bit for bit in range(place.bits) if value >> bit & 1)
    folder.mkdir()
    (folder / "flash.bin").write_bytes(b"somebody's firmware." * 4096 + b"\xff" * (board.megabytes * MEGABYTE - 81920))
    fab = tuple((block, tuple(numbers)) for block, numbers in bits.items() if numbers)
    return new_chip(firmware.chip, folder, bits=fab, flash_size=board.megabytes * MEGABYTE)


def provision(bundle: Path, chip: ChipProcess, folder: Path, *options: str) -> Done:
    line = [sys.executable, str(bundle / "provision.py"), "--port", chip.url, "--yes"]
    return run([*line, "--journal", str(folder / "journal"), *options])


OLD_APP = AppFacts(secure_version=1)
BLOCK_V03 = AppFacts(min_block_revision=3)
V03 = {"BLK_VERSION_MINOR": 3}


def case(code: str, firmware: Firmware, bad: Board, good: Board, *, quick: bool = False) -> Any:
    """The code of the refusal, the firmware, the board that is refused, and its good twin."""
    lacking = " ".join(bad.fields) or f"{bad.megabytes} MB"
    name = f"{code} {firmware.chip} {lacking}"
    return pytest.param(code, firmware, (bad, good), id=name, marks=() if quick else LONG)


def pairs(values: Mapping[str, object]) -> tuple[tuple[str, object], ...]:
    return tuple(values.items())


REFUSED = [
    *(
        case(
            "SE856",
            Firmware(chip, OLD_APP, config=pairs(ANTI_ROLLBACK)),
            Board({"SECURE_VERSION": 0x7F}),
            Board({"SECURE_VERSION": 1}),
            quick=chip == "esp32c3",
        )
        for chip in NEW
    ),
    case("SE854", Firmware("esp32"), Board({"DISABLE_APP_CPU": 1}), Board(), quick=True),
    case("SE854", Firmware("esp32s3"), Board({"DIS_APP_CPU": 1}), Board()),
    *(
        case("SE853", Firmware(chip, BLOCK_V03), Board(), Board(V03), quick=chip == "esp32c3")
        for chip in ("esp32c3", "esp32c5", "esp32s3")
    ),
    *(
        case(
            "SE853",
            Firmware(chip, AppFacts(max_block_revision=99)),
            Board({"BLK_VERSION_MAJOR": 1}),
            Board({"BLK_VERSION_MAJOR": 1, "DISABLE_BLK_VERSION_MAJOR": 1}),
        )
        for chip in ("esp32c3", "esp32c5", "esp32s3")
    ),
    *(
        case(
            "SE816", Firmware(chip, flash_size="16MB"), Board(megabytes=4), Board(megabytes=16), quick=chip == "esp32c3"
        )
        for chip in NEW
    ),
    *(
        case(
            "SE817",
            Firmware(chip),
            Board({"WAFER_VERSION_MAJOR": major}),
            Board({"WAFER_VERSION_MAJOR": major, "DISABLE_WAFER_VERSION_MAJOR": 1}),
            quick=chip == "esp32s3",
        )
        for chip, major in (("esp32c3", 2), ("esp32c5", 2), ("esp32s3", 1))
    ),
    case(
        "SE817",
        Firmware("esp32c5"),
        Board({"WAFER_VERSION_MAJOR": 0, "WAFER_VERSION_MINOR": 1}),
        Board({"WAFER_VERSION_MINOR": 1}),
        quick=True,
    ),
    case("SE855", Firmware("esp32s3", config=pairs(OCTAL)), Board(), Board({"FLASH_TYPE": 1})),
    case(
        "SE857",
        Firmware("esp32c5", bootloader=("v6.1", 1)),
        Board({"BOOTLOADER_ANTI_ROLLBACK_EN": 1, "BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION_LO": 3}),
        Board(),  # with these burned a board carries something that is not the plan's, whatever the version
    ),
    case(
        "SE857",
        Firmware("esp32c5", config=pairs(COMPARED), bootloader=("v6.1", 1)),
        Board({"BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION_LO": 1, "BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION_HI": 1}),
        Board({"BOOTLOADER_ANTI_ROLLBACK_SECURE_VERSION_LO": 1}),
        quick=True,
    ),
]


@pytest.mark.parametrize(("code", "firmware", "boards"), REFUSED)
def test_the_board_is_refused_untouched_and_its_good_twin_is_not(
    code: str,
    firmware: Firmware,
    boards: tuple[Board, Board],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bad, good = boards
    bundle = bundle_of(firmware, tmp_path_factory.getbasetemp())
    with chip_with(firmware, bad, tmp_path / "bad") as chip:
        before = chip.efuses, chip.flash
        check_stop(provision(bundle, chip, tmp_path), code)
        assert (chip.efuses, chip.flash) == before
    with chip_with(firmware, good, tmp_path / "good") as chip:
        done = provision(bundle, chip, tmp_path, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "eFuse steps would be burned and the flash erased and written" in done.output


@pytest.mark.long
@pytest.mark.parametrize(("code", "firmware", "boards"), REFUSED)
def test_the_good_twin_is_provisioned(
    code: str,
    firmware: Firmware,
    boards: tuple[Board, Board],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bundle = bundle_of(firmware, tmp_path_factory.getbasetemp())
    with chip_with(firmware, boards[1], tmp_path / "good") as chip:
        done = provision(bundle, chip, tmp_path)
    assert done.exit_code == 0, done.output
    assert "DONE. Label this board" in done.output
