# SPDX-License-Identifier: Apache-2.0
"""What a power cut leaves behind: the virtual chip as it is after each single hardware write of a run.

espefuse burns one block at a time, and BLOCK0 twice, first the harmless fields and then those that protect and enable.
`after_each_write` lets the real script and the real espefuse run to the end, and keeps the file of virtual eFuses as it
was after every one of these writes: exactly what the next run would find if the power had gone there.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.matrix_tools import provision

FOLDER, CHIP_FILE = "HARDWARE_WRITES_FOLDER", "HARDWARE_WRITES_CHIP_FILE"


@dataclass(frozen=True)
class Write:
    """One hardware write: the number of the block, and the virtual chip after it."""

    block: int
    chip_file: Path


def after_each_write(bundle: Path, chip_file: Path, folder: Path) -> list[Write]:
    """Provisions a virtual chip and returns its states; the first is the one before any write (block -1).

    Beside each state lies the journal that the script had written by then.
    """
    # the dry run makes the virtual chip, with its revision
    made = provision(bundle, chip_file, "--dry-run")
    assert made.exit_code == 0, made.output
    writes = folder / "writes"
    writes.mkdir()
    shutil.copy(chip_file, writes / "000.-1")
    hook = folder / "hook"
    hook.mkdir()
    # Python runs a module of this name at every start, so in the one, too, that holds espefuse
    (hook / "sitecustomize.py").write_text("import hardware_writes\nhardware_writes.watch_espefuse()\n")
    search_path = os.pathsep.join([str(hook), *map(str, Path(__file__).parents[:2])])
    environment = {**os.environ, "PYTHONPATH": search_path, FOLDER: str(writes), CHIP_FILE: str(chip_file)}
    done = provision(bundle, chip_file, environment=environment)
    assert done.exit_code == 0, done.output
    journal = Path(f"{chip_file}.journal.json")
    states = []
    for number, path in enumerate(sorted(writes.iterdir())):
        state = folder / f"chip{number}.bin"
        shutil.move(path, state)
        shutil.copy(journal, f"{state}.journal.json")
        states.append(Write(int(path.name.partition(".")[2]), state))
    return states


def watch_espefuse() -> None:
    """In the process that burns: copies the virtual chip after each write into the folder in `FOLDER`."""
    import sys

    if "board_helper" not in " ".join(sys.orig_argv):
        return
    from espefuse.efuse.base_fields import EfuseBlockBase

    folder = Path(os.environ[FOLDER])
    original = EfuseBlockBase.burn_words

    def burn_words(block: Any, words: Any) -> Any:
        result = original(block, words)
        shutil.copy(os.environ[CHIP_FILE], folder / f"{len(list(folder.iterdir())):03}.{block.id}")
        return result

    EfuseBlockBase.burn_words = burn_words
