# SPDX-License-Identifier: Apache-2.0
"""Boards with other partition tables, other states of flash encryption, and keys of their own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cable_world import (
    BoardOf,
    CableBoard,
    burn,
    made_board,
    new_options,
    provisioned_boards,  # noqa: F401 (a fixture)
)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import DATA_IMAGES, PARTITIONS, Cell, Made
from support.release_oracle import Wanted as WantedEfuses

from secure_ext.bundle.read import read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.flash_encryption import decrypt
from secure_ext.formats.partition_table import Partition
from secure_ext.per_device.throw_away import bundle_of_a_board
from secure_ext.policy.profile import Profile
from secure_ext.prove.rehearsal.script_run import run_script
from secure_ext.sample import SampleOptions, make_sample_build

pytestmark = pytest.mark.long
CELL = Cell("esp32c3", "both")
FACTORY = Partition("factory", 0, 0x00, 0x20000, 0x80000)
SLOTS = (Partition("ota_0", 0, 0x10, 0xA0000, 0x80000), Partition("ota_1", 0, 0x11, 0x120000, 0x100000))
OTHERS = tuple(row for row in PARTITIONS if row.type != 0)
WITHOUT_OTA_DATA = tuple(row for row in OTHERS if row.label != "otadata")


def grown(board: CableBoard, options: SampleOptions, folder: Path, size: int) -> None:
    board.build = make_sample_build(folder / f"grown-{size}", "esp32c3", options=replace(options, app_size=size))


@pytest.mark.parametrize(
    ("rows", "goes"),
    [
        ((*WITHOUT_OTA_DATA, FACTORY), (("factory",), ("factory",))),
        ((*OTHERS, FACTORY), (("factory",), ("factory",))),
        ((*OTHERS, FACTORY, *SLOTS), (("ota_0", "otadata"), ("ota_1", "otadata"), ("ota_0", "otadata"))),
        ((*OTHERS, FACTORY, SLOTS[0]), (("ota_0", "otadata"), ("ota_0",))),
        ((*OTHERS, replace(SLOTS[0], offset=0x20000)), (("ota_0",), ("ota_0",))),
    ],
    ids=["factory alone", "factory and unused OTA data", "factory and two", "factory and one", "one"],
)
def test_other_partition_tables(
    rows: tuple[Partition, ...], goes: tuple[tuple[str, ...], ...], signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    options = new_options(CELL, partitions=tuple(sorted(rows, key=lambda row: row.offset)))
    board = made_board(options, (signing_keys["rsa_0"],), tmp_path)
    for number, written in enumerate(goes):
        grown(board, options, tmp_path, 50_000 + number * 5000)
        prepared = board.prepared()
        done = board.update(prepared)
        assert done.written == written
        assert board.update(board.prepared()).written == ()
        if not number:
            report = board.boot(prepared, done, tmp_path)
            assert report.boots, report.faults


def test_back_to_the_factory_app(signing_keys: dict[str, Path], tmp_path: Path) -> None:
    """The OTA data are erased for it, as the chip reads them."""
    options = new_options(CELL, partitions=tuple(sorted((*OTHERS, FACTORY, *SLOTS), key=lambda row: row.offset)))
    board = made_board(options, (signing_keys["rsa_0"],), tmp_path)
    grown(board, options, tmp_path, 50_000)
    assert board.update(board.prepared()).written == ("ota_0", "otadata")
    grown(board, options, tmp_path, 55_000)
    prepared = board.prepared(slot="factory")
    done = board.update(prepared)
    assert done.written == ("factory", "otadata")
    report = board.boot(prepared, done, tmp_path)
    assert any("starts 'factory'" in line for line in report.log), report.log


def test_on_trial_where_the_bootloader_rolls_back(signing_keys: dict[str, Path], tmp_path: Path) -> None:
    options = new_options(CELL, config={"BOOTLOADER_APP_ROLLBACK_ENABLE": True})
    board = made_board(options, (signing_keys["rsa_0"],), tmp_path)
    grown(board, options, tmp_path, 50_000)
    prepared = board.prepared()
    done = board.update(prepared)
    assert done.choice is not None and done.choice.is_on_trial
    report = board.boot(prepared, done, tmp_path)
    assert report.boots, report.faults
    assert any("on trial" in line for line in report.log)
    assert any("goes back to the old app" in line for line in board.said)


def test_flash_encryption_that_was_turned_off_again(board_of: BoardOf, tmp_path: Path) -> None:
    """Development mode allows it: the flash holds plaintext, and gets plaintext, whatever the plan says."""
    board = board_of(Cell("esp32c3", "development"))
    prepared = board.prepared(everything=True)
    bundle = read_bundle(board.made.folder)
    flash = bytearray(board.flash)
    assert prepared.key is not None
    for image in bundle.manifest.images:
        if image.encrypted:
            plain = decrypt(bytes(flash[image.offset : image.end]), key=prepared.key, flash_offset=image.offset)
            flash[image.offset : image.end] = plain
    (board.state / "flash.bin").write_bytes(flash)
    burn(board, "SPI_BOOT_CRYPT_CNT", 3)
    done = board.update(prepared)
    assert done.written[-2:] == ("ota_1", "otadata") and not done.board.encrypts
    app = next(piece for piece in done.pieces if piece.piece.name == "ota_1")
    assert board.flash[app.piece.offset :].startswith(app.piece.plain)


def test_an_efuse_that_the_firmware_has_burned_since(signing_keys: dict[str, Path], tmp_path: Path) -> None:
    """It is still a board of the fleet; that it is not as planned is said."""
    board = made_board(new_options(CELL), (signing_keys["rsa_0"],), tmp_path, efuses={"UART_PRINT_CONTROL": 1})
    burn(board, "UART_PRINT_CONTROL", 3)
    grown(board, new_options(CELL), tmp_path, 50_000)
    done = board.update(board.prepared())
    assert done.written == ("ota_1", "otadata")
    said = next(check for check in done.checks if check.name == "board-efuses")
    assert "UART_PRINT_CONTROL is 3" in said.evidence


def test_what_boards_keep_no_update_writes(signing_keys: dict[str, Path], tmp_path: Path) -> None:
    """They came with it; the new build has an image for it all the same."""
    data = {label: content for label, content in DATA_IMAGES.items() if label != "spiffs"}
    options = new_options(CELL, data_images=data)
    build = make_sample_build(tmp_path / "fleet-project", "esp32c3", options=options)
    values: dict[str, str | tuple[str, ...]] = {"secure_boot.keys": (str(signing_keys["rsa_0"]),), "keep": ("spiffs",)}
    fleet = write_bundle(decide(build, Profile(tmp_path, values)), tmp_path / "fleet", lambda _: None)
    wanted = WantedEfuses(0, flash_encryption=True, digests=())
    made = Made(CELL, fleet.folder, build, (signing_keys["rsa_0"],), wanted)
    new = make_sample_build(tmp_path / "new", "esp32c3", options=new_options(CELL))
    board = CableBoard(made, new, tmp_path / "none")
    assert "spiffs" not in [piece.name for piece in board.prepared(everything=True).data]
    with pytest.raises(SecureProvisionError, match="SE979"):
        board.prepared(only=("spiffs",))


def test_a_flash_without_power(board_of: BoardOf) -> None:
    """Of these chips nothing can be written in secure download mode, and the cure says why."""
    board = board_of(Cell("esp32p4", "both"), "seal")
    before = board.flash
    with pytest.raises(SecureProvisionError, match="SE983") as error:
        board.update(board.prepared())
    assert "SP047" in error.value.cure and board.flash == before


def test_a_board_with_a_key_of_its_own(signing_keys: dict[str, Path], tmp_path: Path) -> None:
    """The unsealed copy of its key is enough; the key of another board is found out before the first byte."""
    key = signing_keys["rsa_0"]
    first = made_board(new_options(CELL), (key,), tmp_path)
    values: dict[str, str | tuple[str, ...]] = {"secure_boot.keys": (str(key),), "flash_encryption.key": "per-device"}
    own = write_bundle(decide(first.build, Profile(tmp_path, values)), tmp_path / "own", lambda _: None)
    template = read_bundle(own.folder)
    board = CableBoard(replace(first.made, folder=own.folder), first.build, tmp_path / "own-chip")
    other = tmp_path / "other.bin"
    with bundle_of_a_board(template) as another:
        shutil.copyfile(another.folder / "keys" / "flash_encryption_key.bin", other)
    with bundle_of_a_board(template) as ready, board.chip() as chip:
        file = ready.folder / "keys" / "flash_encryption_key.bin"
        run = run_script(ready, chip.url, tmp_path / "own-journal", "--until", "burn")
        assert run.exit_code == 0, run.output
        grown(board, new_options(CELL), tmp_path, 50_000)
        before = board.flash
        with pytest.raises(SecureProvisionError, match="SE975"):
            board.update_on(chip.url, board.prepared(key_file=other))
        assert board.flash == before
        done = board.update_on(chip.url, board.prepared(key_file=file))
    assert done.written == ("ota_1", "otadata")
    assert json.loads((own.folder / "manifest.json").read_text())["per_device"]
