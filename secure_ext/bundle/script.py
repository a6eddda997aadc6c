# SPDX-License-Identifier: Apache-2.0
"""Renders ``provision.py``: the plan as a readable table, and below it the runner, embedded as it is."""

from __future__ import annotations

import functools
import importlib.util
import pprint
import re
from collections.abc import Sequence
from pathlib import Path

from secure_ext import __version__
from secure_ext.errors import InputError
from secure_ext.station import helper_program
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import document_data

RUNNER_MODULES = (
    "secure_ext.station.frozen",
    "secure_ext.station.typed_document",
    "secure_ext.station.revision",
    "secure_ext.station.flash_sectors",
    "secure_ext.station.chip_facts",
    "secure_ext.station.efuse_features",
    "secure_ext.station.block_data",
    "secure_ext.station.plan_words",
    "secure_ext.station.plan_document",
    "secure_ext.station.fingerprint",
    "secure_ext.station.file_lock",
    "secure_ext.station.no_core",
    "secure_ext.station.durable",
    "secure_ext.station.tool_surroundings",
    "secure_ext.station.tool_faults",
    "secure_ext.station.esp_tools",
    "secure_ext.station.helper_program",
    "secure_ext.station.board_link",
    "secure_ext.station.plan_check",
    "secure_ext.station.chip_state",
    "secure_ext.station.data_status",
    "secure_ext.station.step_status",
    "secure_ext.station.block_solver",
    "secure_ext.station.key_places",
    "secure_ext.station.efuse_owner",
    "secure_ext.station.security_info",
    "secure_ext.station.bundle_files",
    "secure_ext.station.burn_calls",
    "secure_ext.station.journal",
    "secure_ext.station.board_needs",
    "secure_ext.station.flash_status",
    "secure_ext.station.refusals",
    "secure_ext.station.verdict",
    "secure_ext.station.port_lock",
    "secure_ext.station.virtual_efuses",
    "secure_ext.station.kept_flash",
    "secure_ext.station.flash_images",
    "secure_ext.station.flash_stage",
    "secure_ext.station.run_log",
    "secure_ext.station.progress",
    "secure_ext.station.arguments",
    "secure_ext.station.sealed",
    "secure_ext.station.lock_check",
    "secure_ext.station.adoption",
    "secure_ext.station.runner",
)
"""The modules of the runner, each after those it needs; they import nothing but these and the standard library."""

_WIDTH = 116
_LEFT_OUT = re.compile(
    r"""
    \A\#\ SPDX-License-Identifier.*\n \"{3}(?:.|\n)*?\"{3}\n                                # licence and docstring
    | ^from\ (?:__future__|secure_ext\.station\.\w+)\ import\ (?:\([^)]*\)|.*)\n    # those of other runner modules
    """,
    re.VERBOSE | re.MULTILINE,
)

PER_DEVICE_SCRIPT = '''#!/usr/bin/env python3
"""Stands in for the script of a bundle whose boards get keys of their own: there is one script for each board."""

import sys

sys.stderr.write(
    "STOP: this bundle holds no keys. Each board gets its own, which `secure-provision flash` makes for it:\\n"
    "  secure-provision flash BUNDLE --port PORT\\n"
)
sys.exit(2)
'''
"""``provision.py`` of a bundle with keys per device; it touches nothing."""

PER_ADDRESS_SCRIPT = '''#!/usr/bin/env python3
"""Stands in for the script of a bundle whose boards get addresses of their own: there is one script for each board."""

import sys

sys.stderr.write(
    "STOP: each board gets a custom MAC address from the list in this bundle, and with it a script of its own:\\n"
    "  secure-provision flash BUNDLE --port PORT\\n"
)
sys.exit(2)
'''
"""The same where only the custom MAC address is a board's own."""


_BEGINNING = """\
from __future__ import annotations

import sys

if sys.version_info < (3, 9):
    sys.exit("STOP: this script needs Python 3.9 or later, and this is Python " + sys.version.split()[0])

if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]  # the folder of this file: nothing that lies beside it is imported"""


def render_script(document: PlanDocument, project: str, bundle: Path | None = None) -> str:
    """The text of ``provision.py`` for a plan (see `secure_ext.plan.document.plan_document`).

    It reads the files of `bundle`, or without one those beside itself.
    """
    parts = [script_head(document, project, __version__), _BEGINNING, script_table(document)]
    for module in RUNNER_MODULES:
        title = f"# ---- {module} "
        parts.append(title + "-" * (_WIDTH - len(title)) + "\n" + embedded_source(module))
    folder = "Path(__file__).resolve().parent" if bundle is None else f"Path({str(bundle)!r})"
    parts.append(f'if __name__ == "__main__":\n    sys.exit(main(PLAN, {folder}))\n')
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


@functools.cache
def embedded_source(module: str) -> str:
    """A module's own text, without its docstring, its ``__future__`` import and its imports of other runner modules.

    The program of the board's process, which the script only hands on, is a text in it.
    """
    if module == helper_program.__name__:
        return f"BOARD_HELPER = r'''{helper_program.BOARD_HELPER}'''\n"
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise InputError("SE720", f"the module {module} is missing", cure="install idf-secure-provision again")
    return _LEFT_OUT.sub("", Path(spec.origin).read_text(encoding="utf-8"))


def script_head(document: PlanDocument, project: str, version: str) -> str:
    """How the script of a `version` begins: what it is, and how it is used."""
    name = re.sub(r"[^\w .-]", "_", project) or "this project"
    chip = re.sub(r"\W", "_", document.chip)
    return f'''#!/usr/bin/env python3
"""Provisions one {chip} board with {name}.

    python provision.py --port PORT        all of it; asks before anything that cannot be undone
    python provision.py --port PORT --dry-run
    python provision.py --virt FILE --yes  a rehearsal on virtual eFuses, no board needed

Needs Python 3.9 or later and esptool 4.8 or later (pip install esptool). Keep this file in its folder: it reads the
images, the digests and the keys beside it. Delete the folder "keys" when the last board is done.

Made by idf-secure-provision {version}. First the plan, step by step; then the program that runs it.
"""'''


def script_table(document: PlanDocument) -> str:
    """The plan document as a readable Python dictionary."""
    table = document_data(document)
    lines = ["PLAN = {"]
    for key, value in table.items():
        if key in ("steps", "images", "must_be_clear", "layout"):
            continue
        if key == "requirements":
            lines.append("    # What this firmware asks of a board; nothing is burned on one that does not have it:")
            lines.append(f"    {key!r}:")
            lines.append(_literal(value, 8) + ",")
            continue
        lines.append(f"    {key!r}: {value!r},")
    lines.append("    # Where this plan's eFuses are; an espefuse that sees them elsewhere is not used:")
    lines += _rows("layout", table["layout"])
    lines.append("    # What must not be burned on the board before:")
    lines += _rows("must_be_clear", table["must_be_clear"])
    lines.append("    # What is written to flash:")
    lines += _rows("images", table["images"])
    lines += [
        "    # The steps, in order. Stage 'flash' can be undone; 'burn' and 'seal' are for ever.",
        "    'steps': [",
    ]
    for number, step in enumerate(table["steps"], 1):
        lines += [f"        # {number}", _literal(step, 8) + ","]
    return "\n".join([*lines, "    ],", "}"])


def _rows(name: str, rows: Sequence[object]) -> list[str]:
    return [f"    {name!r}: [", *(_literal(row, 8) + "," for row in rows), "    ],"]


def _literal(value: object, indent: int) -> str:
    text = pprint.pformat(value, width=_WIDTH - indent, compact=True, sort_dicts=False)
    return "\n".join(" " * indent + line for line in text.splitlines())
