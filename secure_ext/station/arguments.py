# SPDX-License-Identifier: Apache-2.0
"""The command line of ``provision.py``.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import argparse
from typing import Optional

from secure_ext.station.plan_document import PlanDocument

STAGES = ("flash", "burn", "seal")
CONFIRMATION = "BURN"


def parse_arguments(plan: PlanDocument, arguments: Optional[list[str]]) -> argparse.Namespace:
    """The command line of ``provision.py``."""
    parser = argparse.ArgumentParser(
        description=f"Provisions one {plan.chip} board: writes the images, burns the eFuses, closes the chip. "
        "Running it again continues where it stopped.",
        epilog="example: python provision.py --port COM5",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--port", "-p", help="serial port of the board")
    target.add_argument("--virt", metavar="EFUSE_FILE", help="rehearse on virtual eFuses kept in this file; no board")
    parser.add_argument(
        "--baud", "-b", type=int, help="baud rate at which the flash is written (default: 921600, or what holds)"
    )
    parser.add_argument("--before", default="default-reset", help="reset before connecting (default: default-reset)")
    parser.add_argument("--after", default="no-reset", help="reset at the end, such as hard-reset (default: no-reset)")
    parser.add_argument("--yes", action="store_true", help=f"do not ask for the word {CONFIRMATION}")
    parser.add_argument("--until", choices=STAGES, default="seal", help="stop after this stage (default: seal)")
    parser.add_argument("--log", metavar="FILE", help="log file (default: in the journal folder, one a board)")
    parser.add_argument("--journal", metavar="DIR", help="folder of the records that let a board be continued")
    parser.add_argument("--mac", help="stop if the board has another MAC address than this one")
    parser.add_argument("--keys", metavar="DIR", help="folder of the secret keys (default: keys, beside this file)")
    parser.add_argument(
        "--without-keys", action="store_true", help="secret keys whose files are gone are on this board already"
    )
    parser.add_argument(
        "--flash-is-written", action="store_true", help="the flash was written before: compare it, and write nothing"
    )
    parser.add_argument(
        "--adopt",
        action="store_true",
        help="take over a board whose flash encryption key is hidden, if the chip shows that it is this bundle's",
    )
    parser.add_argument("--dry-run", action="store_true", help="read and show; change nothing")
    return parser.parse_args(arguments)
