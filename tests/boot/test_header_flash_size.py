# SPDX-License-Identifier: Apache-2.0
"""The flash size is what the bootloader reads in its own header; the chip's flash must hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mutants import rebuilt
from silicon import Silicon, burn_by_hand
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Bundles, Cell

from secure_ext.build.flash_size import bootloader_flash_size
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.boot_check.chip_facts import CHIPS
from secure_ext.prove.boot_check.header_flash_size import BelievedSize, believed_size
from secure_ext.prove.boot_check.idf_version import read_version

MB = 0x100000
RELEASES = (
    *("v5.0", "v5.0.9", "v5.1.7", "v5.2.7", "v5.3", "v5.3.1", "v5.3.2", "v5.3.5", "v5.4", "v5.4.3", "v5.4.4-dirty"),
    *("v5.5", "v5.5.1", "v5.5.2", "v5.5.5", "v6.0-dev", "v6.0-beta1", "v6.0.2", "v6.1-beta1", "v6.2"),
)
CELLS = [Cell(chip, "both") for chip in ("esp32", "esp32c3", "esp32c5", "esp32s3")]


@pytest.mark.parametrize(
    ("chip", "size", "first"),
    [
        ("esp32", 32, ("v5.4.4", "v5.5.2", "v6.0-beta1")),
        ("esp32c2", 64, ("v5.4.4", "v5.5.2", "v6.0-beta1")),
        ("esp32c3", 128, ("v5.4.4", "v5.5.2", "v6.0-beta1")),
        ("esp32c6", 32, ("v5.4.4", "v5.5.2", "v6.0-beta1")),
        ("esp32h2", 128, ("v5.4.4", "v5.5.2", "v6.0-beta1")),
        ("esp32c5", 32, ("v5.4.4", "v5.5", "v6.0-dev")),
        ("esp32c5", 64, ("v5.4.4", "v5.5.2", "v6.0-beta1")),
        ("esp32p4", 32, ("v5.3.2", "v5.4")),
        ("esp32s2", 128, ("v5.0",)),
        ("esp32s3", 128, ("v5.0",)),
    ],
)
def test_a_size_is_known_from_a_release_of_each_branch_on(chip: str, size: int, first: tuple[str, ...]) -> None:
    """The switch in ``bootloader_flash_config_<chip>.c``, at the tags."""
    code = size.bit_length() - 1
    begins = {read_version(text).branch: read_version(text).patch for text in first}  # type: ignore[union-attr]
    for release in RELEASES:
        version = read_version(release)
        assert version is not None
        knows = version.patch >= begins[version.branch] if version.branch in begins else version.branch > max(begins)
        expected = size * MB if knows else 2 * MB
        assert believed_size(chip, code, version) == BelievedSize(expected, expected), release


@pytest.mark.parametrize("chip", CHIPS)
def test_what_is_not_known_is_both(chip: str) -> None:
    """A bare commit, or commits on the way to the release that knows the size; up to 16 MB every version agrees."""
    for code in range(5):
        assert believed_size(chip, code, None) == BelievedSize(MB << code, MB << code)
    for code in range(8, 16):
        assert believed_size(chip, code, read_version("v6.1")) == BelievedSize(2 * MB, 2 * MB)
    least = believed_size(chip, 7, None)
    assert least.most == 128 * MB and least.least in (2 * MB, 128 * MB)
    assert believed_size("esp32c3", 7, read_version("v5.5.1-300-g0123abc")) == BelievedSize(2 * MB, 128 * MB)


@pytest.mark.parametrize("chip", CHIPS)
def test_the_makers_know_the_same(chip: str) -> None:
    """Two tables, of which neither reads the other."""
    for code in range(16):
        for release in (*RELEASES[-2:], None) if chip == "esp32s31" else (*RELEASES, None):  # it is new in 6.1
            made = bootloader_flash_size(chip, code, release)
            assert believed_size(chip, code, read_version(release)) == BelievedSize(made.least, made.most), release


def with_header(silicon: Silicon, code: int) -> Silicon:
    """The bootloader of another flash size, as its build would have made it."""
    third = silicon.plain("bootloader")[3] & 0x0F | code << 4
    return rebuilt(silicon, "bootloader", 3, bytes([third]))


@pytest.fixture(name="finished", scope="module")
def finished_chips(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cell], Silicon]:
    folder = tmp_path_factory.mktemp("finished")
    return lambda cell: burn_by_hand(bundles(cell), folder / f"{cell}-{len(list(folder.iterdir()))}")


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_flash_must_hold_what_the_header_says(
    cell: Cell, finished: Callable[[Cell], Silicon], tmp_path: Path
) -> None:
    """The sample's table ends at 0x242000; its header says 4 MB, as the chip has."""
    silicon = finished(cell)

    def faults(state: Silicon) -> set[str]:
        return {fault.code for fault in boot_check(state.store(tmp_path / "state"), silicon.made.folder).faults}

    assert faults(silicon) == set()
    assert faults(replace(silicon, flash=silicon.flash[: 3 * MB])) == {"BC25"}, "init_flash asserts"
    assert faults(replace(silicon, flash=silicon.flash + b"\xff" * 4 * MB)) == set(), "more is never wrong"
    assert faults(with_header(silicon, 4)) == {"BC19", "BC25"}, "16 MB on a chip of 4"
    assert "BC15" in faults(with_header(silicon, 1)), "2 MB, and a partition ends beyond"
    assert "BC15" in faults(with_header(silicon, 9)), "a number for no size stands for 2 MB"
