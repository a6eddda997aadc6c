"""Writes the images of a bundle into flash, or finds out whether they are there.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from typing import Any, Optional

from secure_ext.device.bundle_files import BundleFiles
from secure_ext.device.esp_tools import Connection, EspTools, Stop, ToolResult
from secure_ext.device.journal import Journal
from secure_ext.project.chip_ids import CHIP_IDS

ROM_FLASH_LIMIT = 0x1000000
"""How much flash, in bytes, every ROM loader reaches (esptool, "Flash sizes larger than 16MB")."""
ROM_WRITES_SINCE = (5, 4)
"""The first esptool whose way to erase and write without its stub works on every chip.

The ROM loader believes in 2 MB of flash until it is told more, which ``erase-region`` does since 5.2 (before 4.9 it
could not erase at all); and it erases slowly, for which 5.4 waits 40 seconds a megabyte, and those before 30.
"""
ERASED_AT_ONCE = 0x800000
"""Bytes that one command erases: esptool waits no longer than four minutes for any command (`MAX_TIMEOUT`)."""
_FLASH_POWER = {("esp32p4", 301): ((4, 11), (5, 2)), ("esp32p4", 302): ((4, 12), (5, 3))}
"""Chips that leave their flash without power in download mode, by revision, with the first esptool 4 and the first
esptool 5 that turn it on (esptool, targets/esp32p4.py, `power_on_flash`)."""
_IMAGE_MAGIC, _CHIP_ID, _APPENDED_HASH = 0xE9, slice(12, 14), 23
"""Where an image's header says what esptool looks at (esp_image_header_t)."""


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

    def check_power(self, tools: EspTools, revision: int) -> None:
        """This esptool turns on the flash of a chip that leaves it off. Raises Stop SE838."""
        firsts = _FLASH_POWER.get((self.plan["chip"], revision), ())
        if self.connection.virtual_file or not firsts:
            return
        if any(first <= tools.version for first in firsts if first[0] == tools.version[0]):
            return
        had = ".".join(str(part) for part in tools.version)
        wanted = " or ".join(f"{major}.{minor}" for major, minor in firsts)
        raise Stop(
            4,
            "SE838",
            f"an {self.plan['chip']} v{revision // 100}.{revision % 100} leaves its flash without power in download "
            f"mode, and esptool {had} does not turn it on",
            f"install esptool {wanted} or later, best the newest: pip install --upgrade esptool",
        )

    def check(self, tools: EspTools, journal: Journal) -> None:
        """A feature is on already: the images must be in flash, for writing them may fail now. Raises Stop SE831."""
        if self.connection.virtual_file or journal.images_written:
            return
        if self._run(tools, self._verify_line()).exit_code:
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
        if journal.images_written and not self._run(tools, self._verify_line()).exit_code:
            self.say("The images are in flash already, verified by MD5.")
            return
        for line in self._flash_lines(tools):
            self.say(f"esptool {line[0]} ...")
            result = self._run(tools, line)
            if result.exit_code:
                raise Stop(
                    4,
                    "SE824",
                    f"writing the flash failed: {result.last_words()}",
                    "nothing irreversible has happened: check the cable, lower --baud, and run again",
                )
        journal.note_images()
        self.say("The images are in flash, verified by MD5.")

    def _run(self, tools: EspTools, line: list[str]) -> ToolResult:
        """A command on the flash: through the ROM loader wherever that can do it, through esptool's stub elsewhere.

        Nothing is burned yet when the flash is written, so that the stub runs on every board; comparing needs none.
        """
        in_reach = self.flash_size is not None and self.flash_size <= ROM_FLASH_LIMIT
        by_rom = line[0] == "verify-flash" or (line[0] != "erase-flash" and tools.version >= ROM_WRITES_SINCE)
        return tools.run(tools.esptool(self.connection, line, stub=not (in_reach and by_rom)))

    def _flash_lines(self, tools: EspTools) -> list[list[str]]:
        """The esptool commands of the flash stage. Headers are kept as they are: they are signed or encrypted."""
        lines = [
            line for step in self.plan["steps"] if step["kind"] == "erase_flash" for line in self._erase_lines(step)
        ]
        keep = []
        for setting in ("mode", "freq", "size"):
            keep += [f"--flash-{setting}" if tools.speaks_hyphens else f"--flash_{setting}", "keep"]
        force = ["--force"] if any(self._is_misread(image) for image in self.plan["images"]) else []
        return [*lines, ["write-flash", "--no-progress", *force, *keep, *self._addresses_and_files()]]

    def _erase_lines(self, step: dict[str, Any]) -> list[list[str]]:
        """The commands that erase, in pieces. A step without a size goes to the end of the flash that was found."""
        start: int = step["offset"]
        end = start + step["size"] if step["size"] else self.flash_size
        if end is None:
            if start and not self.connection.virtual_file:
                raise Stop(
                    5,
                    "SE839",
                    "esptool does not know how large the flash of this board is, so it cannot be erased to its end",
                    "nothing was changed: look at the flash chip's wiring and supply; "
                    "if it is a new kind of flash chip: pip install --upgrade esptool",
                )
            return [["erase-region", hex(start), "ALL"] if start else ["erase-flash"]]
        return [
            ["erase-region", hex(piece), hex(min(ERASED_AT_ONCE, end - piece))]
            for piece in range(start, end, ERASED_AT_ONCE)
        ]

    def _is_misread(self, image: dict[str, Any]) -> bool:
        """Whether esptool may take an image for the firmware of another chip, and refuse to write it unless forced.

        It does so where a file begins like a firmware image: ciphertext by chance, or a coprocessor's firmware. What is
        written was compared with the plan, and so was the chip.
        """
        with self.files.path_of(image["file"]).open("rb") as file:
            head = file.read(_APPENDED_HASH + 1)
        if len(head) <= _APPENDED_HASH or head[0] != _IMAGE_MAGIC or head[_APPENDED_HASH] not in (0, 1):
            return False
        return int.from_bytes(head[_CHIP_ID], "little") != CHIP_IDS[self.plan["chip"]]

    def _verify_line(self) -> list[str]:
        """The esptool command that compares the flash with the images."""
        return ["verify-flash", *self._addresses_and_files()]

    def _addresses_and_files(self) -> list[str]:
        """Address, file, address, file ... of all images."""
        words: list[str] = []
        for image in self.plan["images"]:
            words += [hex(image["offset"]), str(self.files.path_of(image["file"]))]
        return words
