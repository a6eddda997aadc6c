# SPDX-License-Identifier: Apache-2.0
"""Boards that were provisioned on virtual chips, once a run, and the build that they are updated to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support.matrix_cells import DATA_IMAGES, Bundles, Cell, Made, options_of
from support.once_a_run import once_a_run
from support.release_oracle import Wanted as WantedEfuses

from secure_ext.build.build import read_build
from secure_ext.bundle.read import read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.field.cable.prepare import Prepared, prepare
from secure_ext.field.cable.promise import write_promise
from secure_ext.field.cable.update import Port, Updated, update_board
from secure_ext.field.cable.wish import CableWish
from secure_ext.field.fleet_signatures import Wanted
from secure_ext.field.ota.fleet import read_fleet
from secure_ext.keys.secret_source import NO_SECRETS
from secure_ext.policy.profile import Profile
from secure_ext.prove.boot_check.boot_check import BootReport, boot_check
from secure_ext.prove.rehearsal.script_run import chip_for, run_script
from secure_ext.prove.virtual_chip.process import EFUSE_FILE, ChipProcess
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.sign.signers import open_signer

NEW_DATA = {label: content + b" of the update" for label, content in DATA_IMAGES.items()}
EVERYTHING = ("phy_init", "fat", "spiffs", "custom", "open", "ota_1", "bootloader", "otadata")


def new_options(cell: Cell, **changes: Any) -> SampleOptions:
    """The build of a cell, grown since."""
    new: dict[str, Any] = {"app_size": 45_000, "data_images": NEW_DATA, "bootloader_version": ("v6.1.1", 0)}
    return replace(options_of(cell), **{**new, **changes})


@dataclass
class CableBoard:
    """A board of a cell, its virtual chip in `state`."""

    made: Made
    build: Path
    state: Path
    said: list[str] = field(default_factory=list)

    def chip(self, cut: str | None = None, log: Path | None = None) -> ChipProcess:
        """The board on the bench; `cut` as for `ChipOptions`."""
        bundle = read_bundle(self.made.folder)
        return ChipProcess(replace(chip_for(bundle, cut=cut), log=log), self.state)

    def prepared(self, build: Path | None = None, fleet: Path | None = None, **wish: Any) -> Prepared:
        """An update to `build`, checked against a fleet."""
        keys = wish.pop("signing_keys", self.made.signing_keys)
        key_file = wish.pop("key_file", None)
        signers = tuple(open_signer(str(key), NO_SECRETS, n, place="") for n, key in enumerate(keys, 1))
        place = fleet or self.made.folder
        wanted = Wanted(signers, wish.pop("accepted", frozenset()))
        boards = read_fleet(place, key_file)
        return prepare(read_build(build or self.build), boards, place, CableWish(wanted, **wish), key_file)

    def update(self, prepared: Prepared, *, mac: str | None = None, dry_run: bool = False) -> Updated:
        """The update on the chip as it lies."""
        with self.chip() as chip:
            return self.update_on(chip.url, prepared, mac=mac, dry_run=dry_run)

    def update_on(self, url: str, prepared: Prepared, *, mac: str | None = None, dry_run: bool = False) -> Updated:
        """The update of the chip behind `url`."""
        port = Port(url, mac=mac)
        return update_board(prepared, port, self.said.append, lambda _: True, dry_run=dry_run)

    def boot(self, prepared: Prepared, done: Updated, folder: Path) -> BootReport:
        """What the boot check says of the board, held against the fleet's plan and what was written."""
        bundle = read_bundle(self.made.folder)
        write_promise(bundle, prepared, done, folder / "promise", is_sealed=done.board.is_sealed)
        return boot_check(self.state, folder / "promise")

    @property
    def flash(self) -> bytes:
        """What lies in its flash."""
        return (self.state / "flash.bin").read_bytes()


BoardOf = Callable[..., CableBoard]


@pytest.fixture(name="board_of")
def provisioned_boards(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> BoardOf:
    """A new board of a cell that its own script has provisioned up to a stage; ``burn`` leaves it open."""

    def provision(folder: Path, made: Made, until: str) -> None:
        bundle = read_bundle(made.folder)
        with ChipProcess(chip_for(bundle), folder / "chip") as chip:
            run = run_script(bundle, chip.url, folder / "journal", "--until", until)
        assert run.exit_code == 0, run.output

    def board(cell: Cell, until: str = "burn") -> CableBoard:
        made = bundles(cell)

        def make(place: Path) -> str:
            provision(place, made, until)
            return str(place)

        source = Path(once_a_run(tmp_path_factory, f"board-{cell}-{until}", make))
        build = Path(
            once_a_run(
                tmp_path_factory,
                f"new-build-{cell}",
                lambda place: str(make_sample_build(place, cell.chip, options=new_options(cell))),
            )
        )
        state = tmp_path / f"chip-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(source / "chip", state)
        return CableBoard(made, build, state)

    return board


def burn(board: CableBoard, field: str, value: int) -> None:
    """Burns a field that a firmware, or somebody, has burned since."""
    layout = json.loads((board.state / "efuse_layout.json").read_text())
    place = layout["fields"][field]
    efuses = json.loads((board.state / EFUSE_FILE).read_text())
    content = bytearray(bytes.fromhex(efuses[str(place["block"])]))
    number = int.from_bytes(content, "little") | value << place["start"]
    efuses[str(place["block"])] = number.to_bytes(len(content), "little").hex()
    (board.state / EFUSE_FILE).write_text(json.dumps(efuses))


def made_board(options: SampleOptions, keys: tuple[Path, ...], folder: Path, **wishes: Any) -> CableBoard:
    """A board whose fleet is made of a build of its own, its download mode left open; it is updated to the same."""
    chip = "esp32c3"
    build = make_sample_build(folder / "fleet-project", chip, options=options)
    values = {"secure_boot.keys": tuple(map(str, keys)), **wishes}
    bundle = write_bundle(decide(build, Profile(folder, values)), folder / "fleet", lambda _: None)
    made = Made(Cell(chip, "both"), bundle.folder, build, keys, WantedEfuses(0, flash_encryption=True, digests=()))
    board = CableBoard(made, build, folder / "chip")
    with board.chip() as process:
        run = run_script(read_bundle(made.folder), process.url, folder / "journal", "--until", "burn")
    assert run.exit_code == 0, run.output
    return board
