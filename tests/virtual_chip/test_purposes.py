# SPDX-License-Identifier: Apache-2.0
"""A key of each purpose in each block, burned with espefuse: what the script makes of it, and that nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from chip_tools import TEN_CHIPS, new_chip
from hand_made import (
    OWN_KEY_BLOCKS,
    SOMEBODY_ELSES,
    Bundles,
    shared_bundles_of,  # noqa: F401 (a fixture)
)
from support.matrix_tools import espefuse, provision

from secure_ext.prove.boot_check.efuses import read_efuses
from secure_ext.station.chip_facts import FACTS


@pytest.mark.long
@pytest.mark.parametrize("chip", [chip for chip in TEN_CHIPS if chip not in OWN_KEY_BLOCKS])
@pytest.mark.parametrize("profile", ["plain", "keep"])
def test_each_purpose_in_each_block(
    chip: str, profile: str, bundles_of: Callable[[str], Bundles], tmp_path: Path
) -> None:
    """``keep`` takes one in the reserved block, unless the chip would use it for what the plan's keys are for."""
    bundle = bundles_of(chip)[profile]
    planned = {key.block for key in bundle.plan.keys}
    key, new, board = tmp_path / "key.bin", tmp_path / "new.bin", tmp_path / "board.bin"
    key.write_bytes(SOMEBODY_ELSES)
    assert provision(bundle.folder, new, "--dry-run").exit_code == 0
    wrong = []
    for purpose in _purposes(chip, tmp_path):
        for number in range(6) if profile == "plain" else (4,):
            block = f"BLOCK_KEY{number}"
            if number == 5 and purpose.startswith("XTS_AES_") and not FACTS[chip].xts_key_in_block_key5:
                continue
            shutil.copyfile(new, board)
            words = [] if purpose == "USER" else ["burn-efuse", f"KEY_PURPOSE_{number}", purpose]
            espefuse(chip, board, "burn-block-data", block, str(key), *words)
            before = board.read_bytes()
            done = provision(bundle.folder, board)
            wanted = _wanted(purpose, block, planned, is_reserved=profile == "keep" and number == 4)
            is_whole = SOMEBODY_ELSES in _dump(chip, board) if wanted == "DONE" else board.read_bytes() == before
            if f"{wanted}:" not in done.output or not is_whole:
                wrong.append((purpose, block, wanted, done.output))
            board.with_name(board.name + ".journal.json").unlink(missing_ok=True)
    assert wrong == []


def _wanted(purpose: str, block: str, planned: set[str], *, is_reserved: bool) -> str:
    """The plan revokes the digests of the slots 1 and 2."""
    if block in planned or purpose.startswith("XTS_AES_") or purpose == "SECURE_BOOT_DIGEST0":
        return "SE819"
    return "DONE" if is_reserved else "SE860"


def _purposes(chip: str, folder: Path) -> list[str]:
    """A word for each number that fits into the field; espefuse has also some for two keys at once."""
    with new_chip(chip, folder / "chip") as board:
        efuses = read_efuses(chip, board.state)
    names = {number: name for name, number in reversed(list(efuses.purposes.items()))}
    return [names[number] for number in range(1 << efuses.places["KEY_PURPOSE_0"].bits) if number in names]


def _dump(chip: str, board: Path) -> bytes:
    lines = espefuse(chip, board, "dump").split("dump: ")[1:]
    return b"".join(bytes.fromhex(word)[::-1] for line in lines for word in line.split("\n")[0].split())
