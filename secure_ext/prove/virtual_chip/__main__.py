# SPDX-License-Identifier: Apache-2.0
"""``python -m secure_ext.prove.virtual_chip``: starts a virtual chip and says on which port; ends with its stdin."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from secure_ext.prove.virtual_chip.efuse_controller import EfuseController
from secure_ext.prove.virtual_chip.flash import Flash
from secure_ext.prove.virtual_chip.fuses import Fuses
from secure_ext.prove.virtual_chip.power import Event, Power
from secure_ext.prove.virtual_chip.process import EFUSE_FILE
from secure_ext.prove.virtual_chip.rom_loader import RomLoader
from secure_ext.prove.virtual_chip.server import Server
from secure_ext.prove.virtual_chip.wire_clock import Assumptions, WireClock

NEW_EFUSE_FILE = "efuses_of_the_new_chip.json"
LAYOUT_FILE, FLASH_FILE = "efuse_layout.json", "flash.bin"


def main() -> None:
    """The process."""
    parser = argparse.ArgumentParser(prog="virtual_chip", description="A virtual ESP chip behind a loopback socket.")
    parser.add_argument("--chip", required=True, help="target, such as esp32c3")
    parser.add_argument("--state", type=Path, required=True, help="folder of its eFuses and flash; they are kept")
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: a free one)")
    parser.add_argument("--flash-size", type=lambda text: int(text, 0), default=0x400000, help="bytes, for a new chip")
    parser.add_argument("--bits", action="append", default=[], metavar="BLOCK:BIT,BIT", help="burned in a new chip")
    parser.add_argument("--mac", default="020000000001", help="MAC address of a new chip, 12 hexadecimal digits")
    parser.add_argument("--cut", metavar="EVENT:NUMBER", help="when the power goes, such as burn:2")
    parser.add_argument("--log", type=Path, help="JSON lines of what happened")
    parser.add_argument("--assume", action="append", default=[], metavar="NAME=VALUE", help="of how long a board takes")
    options = parser.parse_args()
    is_new = not (options.state / EFUSE_FILE).exists()
    cut = None
    if options.cut:
        event, _, number = options.cut.partition(":")
        cut = Event(event), int(number)
    power = Power(cut, options.log)
    efuses = EfuseController(options.chip, Fuses(options.state / EFUSE_FILE), power)
    if is_new:
        bits: dict[int, set[int]] = {}
        for item in options.bits:
            block, _, numbers = item.partition(":")
            bits.setdefault(int(block), set()).update(int(number) for number in numbers.split(","))
        efuses.fab(bits, bytes.fromhex(options.mac))
        shutil.copyfile(options.state / EFUSE_FILE, options.state / NEW_EFUSE_FILE)
    (options.state / LAYOUT_FILE).write_text(json.dumps(efuses.layout()), encoding="ascii")
    flash = Flash(options.state / FLASH_FILE, options.flash_size)
    clock = WireClock(options.state, Assumptions.of_words(tuple(options.assume)))
    server = Server(RomLoader(options.chip, efuses, flash, power, clock), options.port)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve(sys.stdin.fileno())
    flash.close()
    power.close()


main()
