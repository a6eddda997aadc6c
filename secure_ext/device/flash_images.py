"""Writes the images of a bundle into flash, or finds out whether they are there.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from secure_ext.device.bundle_files import BundleFiles
from secure_ext.device.esp_tools import Connection, EspTools, Stop, run
from secure_ext.device.journal import Journal

ROM_FLASH_LIMIT = 0x1000000
"""How much flash, in bytes, every ROM loader reaches (esptool, "Flash sizes larger than 16MB")."""
_SECTOR = 0x1000
ROM_ERASES_SINCE = (4, 9)
"""The first esptool that erases a region without its stub."""


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

    def are_there(self, tools: EspTools) -> bool:
        """Whether the flash holds the images, by their MD5. Changes nothing."""
        return not run(self._esptool(tools, self._verify_line())).exit_code

    def write(self, tools: EspTools, journal: Journal, *, over_security: bool = False) -> None:
        """Erases the flash and writes the images; on a virtual chip only prints the commands.

        Args:
            tools: the installed esptool.
            journal: what is known of this board; it takes down that the images were written.
            over_security: flash encryption or secure boot is on already: esptool erases nothing then, so what lies
                between the images is overwritten.

        Raises Stop SE824.
        """
        if self.connection.virtual_file:
            for line in self._flash_lines(tools):
                self.say("on a board: esptool " + subprocess.list2cmdline(line))
            return
        if journal.images_written and self.are_there(tools):
            self.say("The images are in flash already, verified by MD5.")
            return
        with tempfile.TemporaryDirectory() as folder:
            lines = self._lines_over_security(tools, Path(folder)) if over_security else self._flash_lines(tools)
            for line in lines:
                self.say(f"esptool {line[0]} ...")
                result = run(self._esptool(tools, line))
                if result.exit_code:
                    raise Stop(
                        4,
                        "SE824",
                        f"writing the flash failed: {result.last_words()}",
                        "no eFuse was burned by this run: check the cable, lower --baud, and run again",
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

    def _lines_over_security(self, tools: EspTools, folder: Path) -> list[list[str]]:
        """Write the images, which esptool may refuse before it changes anything; then 0xFF over all between them."""
        erase = next((step for step in self.plan["steps"] if step["kind"] == "erase_flash"), None)
        *_, write = self._flash_lines(tools)
        gaps = self._gaps(erase["offset"], erase["size"] or (self.flash_size or 0) - erase["offset"]) if erase else []
        blanks = []
        for offset, size in gaps:
            blank = folder / f"{offset:x}.bin"
            blank.write_bytes(b"\xff" * size)
            blanks += [hex(offset), str(blank)]
        options = write[: len(write) - len(self._addresses_and_files())]
        return [write, *([[*options, *blanks]] if blanks else [])]

    def _gaps(self, start: int, size: int) -> list[tuple[int, int]]:
        """Offset and size of what lies between the images, in whole sectors."""
        gaps, at = [], start
        for image in sorted(self.plan["images"], key=lambda image: int(image["offset"])):
            if image["offset"] > at:
                gaps.append((at, image["offset"] - at))
            at = max(at, -(-(image["offset"] + image["size"]) // _SECTOR) * _SECTOR)
        return [*gaps, (at, start + size - at)] if at < start + size else gaps

    def _verify_line(self) -> list[str]:
        """The esptool command that compares the flash with the images."""
        return ["verify-flash", *self._addresses_and_files()]

    def _addresses_and_files(self) -> list[str]:
        """Address, file, address, file ... of all images."""
        words: list[str] = []
        for image in self.plan["images"]:
            words += [hex(image["offset"]), str(self.files.path_of(image["file"]))]
        return words
