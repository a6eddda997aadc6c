"""Writes the images of a bundle into flash, or finds out whether they are there.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any, Optional

from secure_ext.device.bundle_files import BundleFiles
from secure_ext.device.esp_tools import Connection, EspTools, Stop, run
from secure_ext.device.journal import Journal

ROM_FLASH_LIMIT = 0x1000000
"""How much flash, in bytes, every ROM loader reaches (esptool, "Flash sizes larger than 16MB")."""
ROM_ERASES_SINCE = (4, 9)
"""The first esptool that erases a region without its stub."""


def detected_flash_size(output: str) -> Optional[int]:
    """Bytes of flash in what ``esptool flash-id`` printed; None if it does not say."""
    size = re.search(r"Detected flash size: (\d+)([KM])B", output)
    return int(size.group(1)) << {"K": 10, "M": 20}[size.group(2)] if size else None


class FlashImages:
    """The flash stage of a plan.

    Args:
        plan: the plan document.
        files: the files of the bundle.
        connection: how the chip is reached; on virtual eFuses there is no flash, and commands are only shown.
        say: shows a line.
    """

    def __init__(
        self, plan: dict[str, Any], files: BundleFiles, connection: Connection, say: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.files = files
        self.connection = connection
        self.say = say
        self.flash_size: Optional[int] = None

    def check(self, tools: EspTools, journal: Journal) -> None:
        """A feature is on already: the images must be in flash, for writing them may fail now. Raises Stop SE831."""
        if self.connection.virtual_file or journal.images_written:
            return
        if run(self._esptool(tools, self._verify_line())).exit_code:
            raise Stop(
                5,
                "SE831",
                "security is enabled on this board, but its flash does not hold the images of this bundle",
                "use the bundle that began this board, or set the board aside",
            )

    def write(self, tools: EspTools, journal: Journal) -> None:
        """Erases the flash and writes the images; on a virtual chip only prints the commands."""
        if self.connection.virtual_file:
            for line in self._flash_lines(tools):
                self.say("on a board: esptool " + subprocess.list2cmdline(line))
            return
        if journal.images_written and not run(self._esptool(tools, self._verify_line())).exit_code:
            self.say("The images are in flash already, verified by MD5.")
            return
        for line in self._flash_lines(tools):
            self.say(f"esptool {line[0]} ...")
            result = run(self._esptool(tools, line))
            if result.exit_code:
                raise Stop(
                    4,
                    "SE824",
                    f"writing the flash failed: {result.last_words()}",
                    "nothing irreversible has happened: check the cable, lower --baud, and run again",
                )
        journal.note_images()
        self.say("The images are in flash, verified by MD5.")

    def _esptool(self, tools: EspTools, line: list[str]) -> list[str]:
        """A command on the flash: through the ROM loader wherever that can do it, through esptool's stub elsewhere."""
        in_reach = self.flash_size is not None and self.flash_size <= ROM_FLASH_LIMIT
        can_erase = line[0] == "erase-region" and tools.version >= ROM_ERASES_SINCE
        stub = not in_reach or (line[0].startswith("erase-") and not can_erase)
        return tools.esptool(self.connection, line, stub=stub)

    def _flash_lines(self, tools: EspTools) -> list[list[str]]:
        """The esptool commands of the flash stage. Headers are kept as they are: they are signed or encrypted."""
        lines = []
        for step in self.plan["steps"]:
            if step["kind"] == "erase_flash":
                size = step["size"] or self.flash_size
                lines.append(["erase-region", hex(step["offset"]), hex(size)] if size else ["erase-flash"])
        keep = []
        for setting in ("mode", "freq", "size"):
            keep += [f"--flash-{setting}" if tools.speaks_hyphens else f"--flash_{setting}", "keep"]
        return [*lines, ["write-flash", "--no-progress", *keep, *self._addresses_and_files()]]

    def _verify_line(self) -> list[str]:
        """The esptool command that compares the flash with the images."""
        return ["verify-flash", *self._addresses_and_files()]

    def _addresses_and_files(self) -> list[str]:
        """Address, file, address, file ... of all images."""
        words: list[str] = []
        for image in self.plan["images"]:
            words += [hex(image["offset"]), str(self.files.path_of(image["file"]))]
        return words
