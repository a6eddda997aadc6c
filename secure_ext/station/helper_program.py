# SPDX-License-Identifier: Apache-2.0
"""The text of the program that holds the connection to a board: two modules, one behind the other.

In ``provision.py`` the text itself stands in place of this module.
"""

from __future__ import annotations

import re
from pathlib import Path

_OWN_IMPORT = re.compile(r"^from (?:__future__|secure_ext\.station\.burn_guard) import .*\n", re.MULTILINE)


def _text_of(module: str) -> str:
    return Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")


BOARD_HELPER = _text_of("burn_guard") + _OWN_IMPORT.sub("", _text_of("board_helper"))
