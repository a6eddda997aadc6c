# SPDX-License-Identifier: Apache-2.0
"""A virtual chip: espefuse's file of virtual eFuses, made new or found fit, for a rehearsal.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from secure_ext.station.board_link import BoardLink, virtual_source
from secure_ext.station.chip_state import read_state
from secure_ext.station.esp_tools import FAULTS_OF_COMPUTER, Stop
from secure_ext.station.plan_document import PlanDocument


def prepare_virtual_efuses(plan: PlanDocument, link: BoardLink, path: Path, say: Callable[[str], None]) -> None:
    """A new file of virtual eFuses gets the chip revision that the plan asks for. Raises Stop SE815."""
    if path.exists() and (not path.is_file() or path.stat().st_size):
        _check_virtual_efuses(plan, link, path)
        return
    if not path.parent.is_dir():
        raise Stop(4, "SE815", f"there is no folder {path.parent}", "give a file in a folder that exists")
    say(f"New virtual {plan.chip}: {path} (it will hold the keys, as a chip does: delete it afterwards)")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    for block, bits in plan.virtual_revision_bits:
        result = link.burn(["burn-bit", block, *(str(bit) for bit in bits)], "")
        if result.exit_code:
            raise Stop(4, "SE815", f"the virtual chip cannot be made: {result.last_words()}", "use a new file name")


def _check_virtual_efuses(plan: PlanDocument, link: BoardLink, path: Path) -> None:
    """Refuses a file that is something else, by trying on a copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        try:
            shutil.copyfile(path, copy)
            read_state(lambda words: link.espefuse(words, virtual_source(str(copy))))
            same = copy.stat().st_size == path.stat().st_size
        except OSError:
            same = False
        except Stop as stop:
            if stop.code in FAULTS_OF_COMPUTER:
                raise
            same = False
    if not same:
        raise Stop(4, "SE815", f"{path} exists and is no virtual {plan.chip}", "give the name of a new file")
