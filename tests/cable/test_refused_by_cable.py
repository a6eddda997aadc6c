# SPDX-License-Identifier: Apache-2.0

"""What a board must not get: refused before the first byte, by name, with nothing written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cable_world import (  # noqa: F401 (fixtures)
    BoardOf,
    CableBoard,
    burn,
    made_board,
    new_options,
    provisioned_boards,
)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import PARTITIONS, Bundles, Cell, make

from secure_ext.bundle.read import read_bundle
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.partition_table import Partition
from secure_ext.keys.files import write_secret_file
from secure_ext.prove.rehearsal.script_run import chip_for, run_script
from secure_ext.prove.virtual_chip.process import EFUSE_FILE, ChipProcess
from secure_ext.sample import make_sample_build
from secure_ext.sample.options import AppFacts

CELL = Cell("esp32c3", "both")
ROLLBACK = {"BOOTLOADER_APP_ANTI_ROLLBACK": True, "BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD": 16}


def refused(work: Callable[[], object]) -> SecureProvisionError:
    with pytest.raises(SecureProvisionError) as error:
        work()
    assert error.value.cure
    return error.value


def refused_on(board: CableBoard, **wish: Any) -> SecureProvisionError:
    """What is said, on a board whose flash is what it was."""
    before = board.flash
    error = refused(lambda: board.update(board.prepared(**wish)))
    assert board.flash == before
    return error


# ---- before any board is looked at


def other_build(folder: Path, **changes: Any) -> Path:
    return make_sample_build(folder, CELL.chip, options=new_options(CELL, **changes))


@pytest.fixture
def bench(bundles: Bundles, tmp_path: Path) -> CableBoard:
    """No board at all: what is refused on the host never asks for one."""
    return CableBoard(bundles(CELL), other_build(tmp_path / "new"), tmp_path / "none")


def test_an_app_that_a_foreign_key_has_signed(bench: CableBoard, signing_keys: dict[str, Path]) -> None:
    foreign = (signing_keys["rsa_3"],)
    assert refused(lambda: bench.prepared(signing_keys=foreign)).code == "SE757"
    assert refused(lambda: bench.prepared(signing_keys=())).code == "SE756"


def test_a_bootloader_that_a_foreign_key_has_signed(bench: CableBoard, signing_keys: dict[str, Path]) -> None:
    foreign = (signing_keys["rsa_3"],)
    assert refused(lambda: bench.prepared(only=("bootloader",), signing_keys=foreign)).code == "SE757"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"table_offset": 0xD000}, "partition table"),
        ({"config": {"BOOTLOADER_APP_ROLLBACK_ENABLE": True}}, "CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE"),
        ({"flash_size": "2MB"}, "smaller than the partition table"),
        ({"min_revision": 4}, "chip revision"),
    ],
)
def test_a_bootloader_of_another_kind(changes: dict[str, Any], why: str, bench: CableBoard, tmp_path: Path) -> None:
    build = other_build(tmp_path / "other", **changes)
    error = refused(lambda: bench.prepared(build, only=("bootloader",)))
    assert (error.code, why in error.cause) == ("SE980", True), error.cause


def test_an_app_for_another_chip_or_table(bench: CableBoard, tmp_path: Path) -> None:
    chip = make_sample_build(tmp_path / "c6", "esp32c6", options=new_options(CELL))
    assert refused(lambda: bench.prepared(chip)).code == "SE754"
    assert refused(lambda: bench.prepared(other_build(tmp_path / "other", app_size=0x100000))).code == "SE759"


def test_data_for_another_table(bench: CableBoard, tmp_path: Path) -> None:
    moved = tuple(replace(row, size=0x2000) if row.label == "custom" else row for row in PARTITIONS[:-1])
    build = other_build(tmp_path / "moved", partitions=moved, data_images={"custom": b"new"})
    assert refused(lambda: bench.prepared(build, only=("custom",))).code == "SE978"
    large = other_build(tmp_path / "large", data_images={"custom": b"x" * 0x1001})
    assert refused(lambda: bench.prepared(large, only=("custom",))).code in ("SE978", "SE105", "SE120")
    more = (*PARTITIONS, Partition("more", 0x40, 0x02, 0x250000, 0x1000))
    build = other_build(tmp_path / "more", partitions=more, data_images={"more": b"new"})
    assert refused(lambda: bench.prepared(build, only=("more",))).code == "SE978"


@pytest.mark.parametrize(("label", "code"), [("nothing", "SE970"), ("ota_0", "SE970"), ("nvs", "SE979")])
def test_what_no_update_writes(label: str, code: str, bench: CableBoard) -> None:
    assert refused(lambda: bench.prepared(only=(label,))).code == code


@pytest.mark.parametrize("slot", ["ota_2", "nvs", "factory", ""])
def test_a_slot_that_is_none(slot: str, bench: CableBoard) -> None:
    assert refused(lambda: bench.prepared(slot=slot)).code == "SE981"


def test_without_the_key_and_with_another_one(bench: CableBoard, tmp_path: Path) -> None:
    """The bundle's key was destroyed, and a file is given that is not it."""
    fleet = tmp_path / "fleet"
    shutil.copytree(bench.made.folder, fleet)
    shutil.rmtree(fleet / "keys")
    error = refused(lambda: bench.prepared(fleet=fleet))
    assert (error.code, "secure-provision ota" in error.cure) == ("SE971", True)
    write_secret_file(tmp_path / "other.bin", hashlib.sha256(b"another key").digest())
    assert refused(lambda: bench.prepared(fleet=fleet, key_file=tmp_path / "other.bin")).code == "SE753"
    key = bench.made.folder / "keys" / "flash_encryption_key.bin"
    assert bench.prepared(fleet=fleet, key_file=key).key is not None


# ---- boards


@pytest.mark.long
def test_a_board_that_was_never_provisioned(bench: CableBoard) -> None:
    error = refused_on_new(bench)
    assert (error.code, "secure-provision flash" in error.cure) == ("SE973", True)


def refused_on_new(bench: CableBoard) -> SecureProvisionError:
    with bench.chip() as chip:
        flash = chip.flash
        error = refused(lambda: bench.update_on(chip.url, bench.prepared()))
        assert chip.flash == flash
    return error


@pytest.mark.long
def test_a_board_whose_flash_alone_was_written(bench: CableBoard) -> None:
    bundle = read_bundle(bench.made.folder)
    with ChipProcess(chip_for(bundle), bench.state) as chip:
        assert run_script(bundle, chip.url, bench.state / "journal", "--until", "flash").exit_code == 0
    assert refused_on(bench).code == "SE973"


@pytest.mark.long
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_board_that_was_not_provisioned_to_its_end(number: int, bench: CableBoard) -> None:
    bundle = read_bundle(bench.made.folder)
    with bench.chip(cut=f"burn:{number}") as chip:
        assert run_script(bundle, chip.url, bench.state / "journal").exit_code != 0
    assert refused_on(bench).code in ("SE972", "SE973", "SE974")


@pytest.mark.long
def test_a_board_of_another_fleet(
    board_of: BoardOf, bundles: Bundles, signing_keys: dict[str, Path], tmp_path: Path
) -> None:
    """One whose digest is another; and one of the same keys that burns more, for which the board is not finished."""
    board = board_of(CELL)
    (tmp_path / "other").mkdir()
    other = make(CELL, lambda _: (signing_keys["rsa_3"],), tmp_path / "other")
    error = refused_on(board, fleet=other.folder, signing_keys=other.signing_keys)
    assert (error.code, "holds another key" in error.cause) == ("SE972", True)
    more = bundles(Cell("esp32c3", "both", aggressive_revoke=True, keys=2))
    assert refused_on(board, fleet=more.folder).code == "SE974"


@pytest.mark.long
@pytest.mark.parametrize("cell", [Cell("esp32c3", "release"), CELL], ids=str)
def test_a_wrong_flash_key_shows_in_what_it_decrypts(cell: Cell, board_of: BoardOf, tmp_path: Path) -> None:
    """The flash was encrypted with another key than the one at hand; all that can be read of the eFuses fits."""
    board = board_of(cell)
    efuses = json.loads((board.state / EFUSE_FILE).read_text())
    block = "4"
    assert any(bytes.fromhex(efuses[block]))
    flash = bytearray(board.flash)
    table = slice(0xC000, 0xD000)
    flash[table] = bytes(byte ^ 0x5A for byte in flash[table])
    (board.state / "flash.bin").write_bytes(flash)
    error = refused_on(board)
    assert (error.code, "another key" in error.cause) == ("SE975", True)


@pytest.mark.long
def test_another_partition_table(board_of: BoardOf, tmp_path: Path) -> None:
    """A board that was made with another release of the same fleet, keys and all."""
    from secure_ext.formats.flash_encryption import encrypt, pad_to_unit
    from secure_ext.formats.partition_table import build_partition_table

    board = board_of(CELL)
    prepared = board.prepared()
    assert prepared.key is not None
    other = pad_to_unit(build_partition_table(PARTITIONS[:-1]), prepared.key.scheme)
    flash = bytearray(board.flash)
    flash[0xC000 : 0xC000 + len(other)] = encrypt(other, key=prepared.key, flash_offset=0xC000)
    (board.state / "flash.bin").write_bytes(flash)
    error = refused_on(board)
    assert (error.code, "another partition table" in error.cause) == ("SE975", True)


@pytest.mark.long
def test_a_key_that_was_revoked_in_the_field(board_of: BoardOf) -> None:
    """The bundle does not know it; the board does. With the other key it is taken."""
    cell = Cell("esp32c6", "both", keys=3)
    board = board_of(cell)
    burn(board, "SECURE_BOOT_KEY_REVOKE0", 1)
    first, second, _ = board.made.signing_keys
    error = refused_on(board, signing_keys=(first,))
    assert (error.code, "0 is revoked" in error.cause) == ("SE976", True)
    assert board.update(board.prepared(signing_keys=(second,))).written == ("ota_1", "otadata")


@pytest.mark.long
def test_anti_rollback(signing_keys: dict[str, Path], tmp_path: Path) -> None:
    """The board's eFuses have gone further than the fleet's app and the new one."""
    options = new_options(CELL, config=ROLLBACK)
    board = made_board(options, (signing_keys["rsa_0"],), tmp_path)
    burn(board, "SECURE_VERSION", 0b11)
    old = other_build(tmp_path / "old", config=ROLLBACK, app=AppFacts(secure_version=1))
    error = refused_on(board, build=old)
    assert (error.code, "has reached 2" in error.cause) == ("SE977", True)
    new = other_build(tmp_path / "new_app", config=ROLLBACK, app=AppFacts(secure_version=2))
    assert board.update(board.prepared(new)).written == ("ota_1", "otadata")


@pytest.mark.long
def test_another_board_than_the_one_that_is_meant(board_of: BoardOf) -> None:
    board = board_of(CELL)
    error = refused(lambda: board.update(board.prepared(), mac="02:00:00:00:00:99"))
    assert error.code == "SE986"
    assert board.update(board.prepared(), mac="02:00:00:00:00:01", dry_run=True).is_dry_run
    sealed = board_of(CELL, "seal")
    assert refused(lambda: sealed.update(sealed.prepared(), mac="02:00:00:00:00:01")).code == "SE986"


@pytest.mark.long
def test_a_board_whose_download_mode_is_disabled(board_of: BoardOf) -> None:
    board = board_of(Cell("esp32", "both"), "seal")
    error = refused_on(board)
    assert (error.code, "secure-provision ota" in error.cure) == ("SE988", True)


@pytest.mark.long
@pytest.mark.parametrize("until", ["burn", "seal"])
def test_a_board_of_another_chip(until: str, board_of: BoardOf, bundles: Bundles, tmp_path: Path) -> None:
    board = board_of(Cell("esp32c6", "boot"), until)
    error = refused_on(board, fleet=bundles(CELL).folder, build=other_build(tmp_path / "c3"))
    assert error.code == "SE814", error.cause


@pytest.mark.long
def test_a_sealed_board_of_another_kind(board_of: BoardOf, bundles: Bundles, tmp_path: Path) -> None:
    """What it shows is not what the plan says: purposes of its keys, and whether flash encryption is on."""
    board = board_of(Cell("esp32c3", "boot"), "seal")
    build = other_build(tmp_path / "both")
    assert refused_on(board, fleet=bundles(CELL).folder, build=build).code in ("SE972", "SE974")


@pytest.mark.long
def test_a_dry_run_changes_nothing(board_of: BoardOf) -> None:
    board = board_of(CELL)
    before = board.flash
    done = board.update(board.prepared(everything=True), dry_run=True)
    assert (board.flash, done.is_dry_run) == (before, True)
    assert done.written[-2:] == ("ota_1", "otadata")
