# SPDX-License-Identifier: Apache-2.0
"""What the script leaves in flash, on virtual chips with more of it than the build uses, by any esptool."""

from __future__ import annotations

from pathlib import Path

import pytest
from chip_tools import esptool, fab_bits, new_chip
from sabotage import (
    ESP32C3,
    Cell,
    Station,
    check_stop,
    check_whole,
    holds_images,
    new_station,  # noqa: F401 (a fixture)
    shared_bundles,  # noqa: F401 (a fixture)
)
from support.matrix_bundles import signing_keys
from support.matrix_cells import PARTITIONS

from secure_ext.bundle.read import read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.policy.profile import Profile
from secure_ext.prove.virtual_chip.process import events
from secure_ext.sample import SampleOptions, make_sample_build

MB = 0x100000
OLD = b"an earlier firmware's secret"
KEY_MANAGER_DATA = 0x2000


@pytest.mark.parametrize(
    ("chip", "size"),
    [("esp32c5", 8), pytest.param("esp32c3", 16, marks=pytest.mark.long)],
)
def test_nothing_of_an_earlier_firmware_is_left(chip: str, size: int, station: Station) -> None:
    """To the end of the flash that is found, in pieces; but for what the Key Manager keeps in the first sectors."""
    cell = Cell(chip, "both")
    state = station.folder / "chip"
    state.mkdir()
    (state / "flash.bin").write_bytes((OLD * MB)[: size * MB])
    with station.board(cell, flash_size=size * MB) as board:
        done = station.provision(station.bundle(cell), board, "--until", "flash")
        assert done.exit_code == 0, done.output
        assert holds_images(board, station.bundle(cell))
        flash = board.flash
    start = KEY_MANAGER_DATA if chip == "esp32c5" else 0
    assert OLD not in flash[start:]
    assert flash[:start] == (OLD * MB)[:start]
    assert flash[-4 * MB :] == b"\xff" * (4 * MB)


FOREIGN_IMAGE = bytes([0xE9, 0, 2, 0x20]) + bytes(8) + bytes([0x0D, 0]) + bytes(9) + b"\x01" + bytes(100)
"""What esptool takes for a firmware of another chip: ciphertext may begin so, and a coprocessor's firmware does."""


def test_a_file_that_esptool_takes_for_another_chips_firmware(station: Station, tmp_path: Path) -> None:
    """esptool refuses it by itself; with the sector before it the script writes it, and never forces."""
    options = SampleOptions(
        secure_boot=True, partitions=PARTITIONS, data_images={"open": FOREIGN_IMAGE}, app_size=40_000
    )
    build = make_sample_build(tmp_path / "project", "esp32c3", options=options)
    keys = tuple(str(key) for key in signing_keys("rsa3072", tmp_path)[:1])
    bundle = write_bundle(
        decide(build, Profile(tmp_path, {"secure_boot.keys": keys})), tmp_path / "bundle", lambda _: None
    )
    file = next((bundle.folder / "images").glob("open*"))
    with new_chip("esp32c3", station.folder / "chip", bits=fab_bits("esp32c3", 3)) as board:
        # 5.6 looks at what goes where the bootloader is, those before at every file
        refused = esptool(board, "write-flash", "0x0", str(file))
        assert refused.exit_code and "force" in refused.output
        done = station.provision(bundle.folder, board, "--until", "flash")
        assert done.exit_code == 0, done.output
        assert board.flash[0x241000:].startswith(FOREIGN_IMAGE)


@pytest.fixture
def written(station: Station) -> Path:
    """The images of the bundle at their places, as a flash house writes them."""
    bundle = read_bundle(station.bundle(ESP32C3))
    flash = bytearray(b"\xff" * 4 * MB)
    for image in bundle.plan.images:
        content = (bundle.folder / image.file).read_bytes()
        flash[image.offset : image.end] = content
    (station.folder / "chip").mkdir()
    path = station.folder / "chip" / "flash.bin"
    path.write_bytes(flash)
    return path


def test_a_flash_that_was_written_before_is_compared_and_left_alone(station: Station, written: Path) -> None:
    log = station.folder / "events"
    with station.board(ESP32C3, log=log) as board:
        done = station.provision(station.bundle(ESP32C3), board, "--flash-is-written")
        assert done.exit_code == 0, done.output
        assert "The images are in flash, verified by MD5." in done.output
        check_whole(board, station.bundle(ESP32C3))
    assert all(event["flash"] == 0 for event in events(log)), "nothing was written"


@pytest.mark.parametrize(
    ("at", "said"),
    [(0x20010, "does not hold the images"), (0x3FFFFF, "it is not blank"), (0x300000, "it is not blank")],
    ids=["an image", "the last byte", "behind the images"],
)
def test_a_flash_that_was_written_otherwise(at: int, said: str, station: Station, written: Path) -> None:
    flash = bytearray(written.read_bytes())
    flash[at] ^= 1
    written.write_bytes(flash)
    with station.board(ESP32C3) as board:
        before = board.efuses, board.flash
        done = station.provision(station.bundle(ESP32C3), board, "--flash-is-written")
        check_stop(done, "SE863")
        assert said in done.output
        assert (board.efuses, board.flash) == before
