# SPDX-License-Identifier: Apache-2.0
"""The boot check goes on into the app's own start: what it compares with the chip, and stops at for ever."""

from __future__ import annotations

import functools
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from mutants import hashed_length, rebuilt
from silicon import Silicon, burn_by_hand
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Bundles, Cell

from secure_ext.chips.chip import load_chip
from secure_ext.prove.boot_check import flash_cipher
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.boot_check.chip_facts import CHIPS
from secure_ext.prove.boot_check.firmware import MESSAGES, TOO_FAST, TWO_CORES

ESP32, C3, C5, S3 = (Cell(chip, "both") for chip in ("esp32", "esp32c3", "esp32c5", "esp32s3"))
SECURE_VERSION_AT, IDF_VERSION_AT, BLOCK_REVISIONS_AT = 0x24, 0x20 + 112, 0x20 + 176
SOMEWHERE = 0x400
"""An offset in the sample's app that holds filler."""

Settings = Mapping[str, bool | int]
SECURE_DOWNLOAD: Settings = {"SECURE_ENABLE_SECURE_ROM_DL_MODE": True}
FAST: Settings = {"ESP_DEFAULT_CPU_FREQ_MHZ": 240}
TWO: Settings = {"FREERTOS_UNICORE": False}


@dataclass(frozen=True)
class State:
    """A board and an app that differ from what the bundle made.

    Attributes:
        born: fields that were burned before the script came.
        burned: fields that the script burned.
        settings: of the build.
        version: of ESP-IDF, in the app's description.
        app: bytes in the app's image, by their offset.
    """

    born: Mapping[str, int] = field(default_factory=dict)
    burned: Mapping[str, int] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    version: str = "v6.1"
    app: Mapping[int, bytes] = field(default_factory=dict)


def closed(version: str, **more: object) -> State:
    """A board without download mode under an app for the secure one."""
    return State(burned={"DIS_DOWNLOAD_MODE": 1}, settings=SECURE_DOWNLOAD, version=version, **more)  # type: ignore[arg-type]


def roll_back(app: int, **settings: bool | int) -> State:
    """A board whose eFuse has counted to 3, and an app of a secure version."""
    return State(born={"SECURE_VERSION": 7}, settings=settings, app={SECURE_VERSION_AT: struct.pack("<I", app)})


def blocks(version: int, least: int, most: int, **more: int) -> State:
    born = {"BLK_VERSION_MINOR": version, **more}
    return State(born=born, app={BLOCK_REVISIONS_AT: struct.pack("<HH", least, most)})


def shows(*settings: str) -> Mapping[int, bytes]:
    """An app that tells by its messages how it was built."""
    return {SOMEWHERE: b"\0".join(MESSAGES[name] for name in settings)}


STOPS: list[tuple[Cell, str, State]] = [
    (ESP32, "BC27", roll_back(1, BOOTLOADER_APP_ANTI_ROLLBACK=True)),
    (C3, "BC27", roll_back(1)),
    (C3, "BC27", replace(roll_back(0), app=shows("BOOTLOADER_APP_ANTI_ROLLBACK"))),
    (C5, "BC27", roll_back(2, BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD=9)),
    (ESP32, "BC28", State(born={"DISABLE_APP_CPU": 1}, settings=TWO)),
    (ESP32, "BC28", State(born={"DISABLE_APP_CPU": 1}, app={SOMEWHERE: TWO_CORES})),
    (
        ESP32,
        "BC28",
        State(born={"DISABLE_APP_CPU": 1}, settings={"FREERTOS_UNICORE": True}, app={SOMEWHERE: TWO_CORES}),
    ),
    (S3, "BC28", State(born={"DIS_APP_CPU": 1}, settings=TWO)),
    (C3, "BC09", blocks(2, 3, 0xFFFF)),
    (S3, "BC09", blocks(3, 0, 2)),
    *((C3, "BC29", closed(v)) for v in ("v5.0.9", "v5.1.7", "v5.2.6", "v5.3", "v5.3.4", "v5.4.3-dirty", "v5.5.1")),
    (C5, "BC29", closed("v5.5")),
    (S3, "BC29", closed("v5.5.1-400-g0123abc")),
    (S3, "BC29", closed("v6.0-dev-12-g0123abc")),
    (S3, "BC29", closed("0123abc")),
    (S3, "BC29", replace(closed("v5.4.1"), settings={}, app=shows("SECURE_ENABLE_SECURE_ROM_DL_MODE"))),
    *(
        (C5, "BC30", State(settings=FAST, version=v))
        for v in ("v5.5.2", "v5.5.1-9-g0", "v6.0", "v6.1-beta1", "0123abc")
    ),
    (C5, "BC30", State(app={SOMEWHERE: TOO_FAST})),
    (ESP32, "BC31", State(born={"CHIP_CPU_FREQ_RATED": 1, "CHIP_CPU_FREQ_LOW": 1}, settings=FAST)),
    (C5, "BC32", State(burned={"ECC_FORCE_CONST_TIME": 0}, app=shows("ESP_CRYPTO_FORCE_ECC_CONSTANT_TIME_POINT_MUL"))),
    (C3, "BC32", State(born={"UART_PRINT_CONTROL": 1}, settings={"BOOT_ROM_LOG_ALWAYS_OFF": True}, version="v5.3")),
    (C3, "BC35", State(settings={"EFUSE_VIRTUAL": True})),
    (C3, "BC35", State(app=shows("EFUSE_VIRTUAL"))),
    (S3, "BC37", State(settings={"ESPTOOLPY_OCT_FLASH": True})),
    (S3, "BC37", State(app={SOMEWHERE: b"Octal Flash option selected, but EFUSE not configured!"})),
    (C5, "BC36", State(settings={"SECURE_SIGNED_APPS_ECDSA_V2_SCHEME": True, "SECURE_SIGNED_APPS_RSA_SCHEME": False})),
]

GOES_ON: list[tuple[Cell, State]] = [
    (ESP32, roll_back(3, BOOTLOADER_APP_ANTI_ROLLBACK=True)),
    (C3, roll_back(0)),
    (C3, roll_back(1, BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD=1)),
    (ESP32, State(born={"DISABLE_APP_CPU": 1}, settings={"FREERTOS_UNICORE": True})),
    (ESP32, State(settings=TWO)),
    (S3, State(born={"DIS_APP_CPU": 1}, settings={"ESP_SYSTEM_SINGLE_CORE_MODE": True})),
    (C3, blocks(3, 3, 0xFFFF)),
    (S3, blocks(3, 0, 2, DISABLE_BLK_VERSION_MAJOR=1)),
    *((C3, closed(version)) for version in ("v5.2.7", "v5.3.5", "v5.4.4", "v5.5.2", "v6.0-beta1", "v6.1-dev-7-g0")),
    (C3, replace(closed("v5.5.1"), settings={"SECURE_DISABLE_ROM_DL_MODE": True})),
    (C5, State(settings=FAST, version="v5.4.4")),
    (C5, State(settings=FAST, version="v5.5.1")),
    (C5, State(settings={"ESP_DEFAULT_CPU_FREQ_MHZ": 160})),
    (S3, State(settings=FAST)),
    (S3, State(settings={"ESPTOOLPY_OCT_FLASH": True, "ESPTOOLPY_FLASH_MODE_AUTO_DETECT": True})),
    (S3, State(born={"FLASH_TYPE": 1}, settings={"ESPTOOLPY_OCT_FLASH": True})),
    (ESP32, State(born={"CHIP_CPU_FREQ_RATED": 1}, settings=FAST)),
    (C3, State(born={"UART_PRINT_CONTROL": 3}, settings={"BOOT_ROM_LOG_ALWAYS_OFF": True})),
    (C3, State(born={"UART_PRINT_CONTROL": 1}, settings={"BOOT_ROM_LOG_ALWAYS_OFF": True}, version="v5.2.7")),
]


@pytest.fixture(name="finished", scope="module")
def finished_chips(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cell], Silicon]:
    """The finished chip of a cell."""
    folder = tmp_path_factory.mktemp("finished")
    return functools.cache(lambda cell: burn_by_hand(bundles(cell), folder / str(cell)))


@pytest.fixture(autouse=True)
def quick_decryption(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sector once in a test."""
    for name in ("xts", "esp32"):
        make = getattr(flash_cipher, name)
        monkeypatch.setattr(flash_cipher, name, lambda *key, make=make: functools.cache(make(*key)))


def born_with(silicon: Silicon, fields: Mapping[str, int]) -> Silicon:
    """The chip had these fields before anything was done to it."""
    new = {int(number): bytes.fromhex(bits) for number, bits in json.loads(silicon.new).items()}
    before = replace(silicon, blocks=new)
    for name, value in fields.items():
        before, silicon = before.with_field(name, value), silicon.with_field(name, value)
    return replace(silicon, new=json.dumps({number: block.hex() for number, block in before.blocks.items()}))


def with_app(silicon: Silicon, changes: Mapping[int, bytes]) -> Silicon:
    """Other bytes in the app, with its checksum, its SHA-256 and its signatures made anew."""
    plain = silicon.plain("sample")
    changed = bytearray(plain[: hashed_length(plain)])
    for at, content in changes.items():
        for place, byte in enumerate(content, at):
            changed[-1] ^= changed[place] ^ byte
            changed[place] = byte
    return rebuilt(silicon, "sample", 0, bytes(changed))


def found(silicon: Silicon, state: State, folder: Path) -> tuple[set[str], tuple[str, ...]]:
    """The codes of the boot check's faults, and its log."""
    silicon = born_with(silicon, state.born)
    for name, value in state.burned.items():
        silicon = silicon.with_field(name, value)
    silicon = with_app(silicon, {IDF_VERSION_AT: state.version.encode().ljust(32, b"\0"), **state.app})
    bundle = folder / "bundle"
    bundle.mkdir(exist_ok=True)
    shutil.copy(silicon.made.folder / "plan.json", bundle)
    manifest = json.loads((silicon.made.folder / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {"settings": dict(state.settings), "idf_version": None}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    report = boot_check(silicon.store(folder / "state"), bundle)
    return {fault.code for fault in report.faults}, report.log


@pytest.mark.parametrize("case", STOPS, ids=lambda case: f"{case[1]}-{case[0].chip}")
def test_what_stops_the_firmware_is_a_fault(
    case: tuple[Cell, str, State], finished: Callable[[Cell], Silicon], tmp_path: Path
) -> None:
    cell, code, state = case
    faults, _ = found(finished(cell), state, tmp_path)
    assert code in faults


@pytest.mark.parametrize("case", GOES_ON, ids=lambda case: case[0].chip)
def test_what_does_not_stop_it_is_none(
    case: tuple[Cell, State], finished: Callable[[Cell], Silicon], tmp_path: Path
) -> None:
    """BC19 and BC22: the app and the eFuses are not those of the bundle; that is all there is to say."""
    cell, state = case
    faults, log = found(finished(cell), state, tmp_path)
    assert faults <= {"BC19", "BC24"}
    assert any("nothing that its start compares" in line for line in log)


@pytest.mark.parametrize("cell", [ESP32, C3, C5, S3], ids=str)
def test_what_cannot_be_seen_is_said(cell: Cell, finished: Callable[[Cell], Silicon], tmp_path: Path) -> None:
    """A bundle of an earlier version has no settings."""
    _, log = found(finished(cell), State(), tmp_path)
    assert any("was not judged" in line for line in log)


@pytest.mark.parametrize("name", CHIPS)
def test_the_locks_are_those_of_espefuse(name: str) -> None:
    """The boot check's own table of the bits in WR_DIS."""
    chip = load_chip(name, 399)
    for efuse, bit in CHIPS[name].locks.items():
        assert chip.efuses.require(efuse).wr_dis_bit == bit
    if CHIPS[name].one_core:
        assert chip.efuses.require(CHIPS[name].one_core).bits == 1
