# SPDX-License-Identifier: Apache-2.0
"""Writes the images of a bundle into flash, or finds out whether they are there.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import functools
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Optional

from secure_ext.station.board_link import CONNECT_BAUD, BoardLink, Connection
from secure_ext.station.bundle_files import BundleFiles
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.esp_tools import Stop
from secure_ext.station.flash_sectors import SECTOR_SIZE, whole_sectors
from secure_ext.station.journal import Journal
from secure_ext.station.kept_flash import KeptFlash
from secure_ext.station.plan_document import EraseStep, PlanDocument
from secure_ext.station.revision import revision_text

ROM_FLASH_LIMIT = 0x1000000
"""How much flash, in bytes, every ROM loader reaches (esptool, "Flash sizes larger than 16MB")."""
ROM_WRITES_SINCE = (5, 4)
"""The first esptool whose way to erase and write without its stub works on every chip.

The ROM loader believes in 2 MB of flash until it is told more, which ``erase-region`` does since 5.2 (before 4.9 it
could not erase at all); and it erases slowly, for which 5.4 waits 40 seconds a megabyte, and those before 30.
"""
_IMAGE_MAGIC, _CHIP_ID, _APPENDED_HASH = 0xE9, slice(12, 14), 23
"""Where an image's header says what esptool looks at (esp_image_header_t)."""
BAUDS = (921600, 460800, CONNECT_BAUD)
"""The baud rates at which the flash is written, the fastest first; the last is the one at which every board answers."""
NOTHING_BURNED = "no eFuse was burned by this run"
LINE_TROUBLE = re.compile(
    r"stopped|timed? ?out|[Ii]nvalid head|no serial data|checksum|after seq|[Ii]nvalid (?:SLIP|packet)|garbage",
    re.IGNORECASE,
)
"""What esptool says when bytes are lost or changed on the line (``loader.py``, `slip_reader` and `command`)."""
ERASED_AT_ONCE = 0x800000
"""Bytes that one command erases: esptool waits no longer than four minutes for any command (`MAX_TIMEOUT`)."""


def detected_flash_size(output: str) -> Optional[int]:
    """Bytes of flash in what ``esptool flash-id`` printed; None if it does not say."""
    size = re.search(r"Detected flash size: (\d+)([KM])B", output)
    return int(size.group(1)) << {"K": 10, "M": 20}[size.group(2)] if size else None


def bauds_of(connection: Connection) -> tuple[int, ...]:
    """The baud rates at which the flash is written, in the order in which they are tried."""
    if not connection.resets:
        return (CONNECT_BAUD,)
    first = connection.baud
    return BAUDS if first is None else (first, *(baud for baud in BAUDS if baud < first))


@functools.lru_cache(maxsize=None)
def _blank_md5(size: int) -> str:
    return hashlib.md5(b"\xff" * size, usedforsecurity=False).hexdigest()


def _not_written(why: str) -> Stop:
    cure = f"{NOTHING_BURNED}: check the cable, lower --baud, and run again"
    return Stop(4, "SE824", f"writing the flash failed: {why}", cure)


def _was_not_written(why: str) -> Stop:
    return Stop(
        5,
        "SE863",
        f"the flash of this board was not written for this bundle: {why}",
        f"{NOTHING_BURNED}, and nothing was written: run without --flash-is-written, which writes it; or have it "
        "written again, with the images of this very bundle",
    )


class FlashImages:
    """The flash stage of a plan.

    Args:
        plan: the plan document.
        files: the files of the bundle.
        connection: how the chip is reached; on virtual eFuses there is no flash, and commands are only shown.
        say: shows a line.
        is_written: somebody else has written the flash: it is compared, and left alone.
    """

    def __init__(
        self,
        plan: PlanDocument,
        files: BundleFiles,
        connection: Connection,
        say: Callable[[str], None],
        *,
        is_written: bool = False,
    ) -> None:
        self.plan = plan
        self.files = files
        self.connection = connection
        self.say = say
        self.is_written = is_written
        self.bauds = bauds_of(connection)
        self.flash_size: Optional[int] = None
        self.kept = KeptFlash(plan, files, say)

    def check_power(self, link: BoardLink, revision: int) -> None:
        """This esptool turns on the flash of a chip that leaves it off. Raises Stop SE838."""
        known = FACTS[self.plan.chip].flash_power
        firsts = next(((four, five) for affected, four, five in known if affected == revision), ())
        if self.connection.virtual_file or not firsts:
            return
        if any(first <= link.version for first in firsts if first[0] == link.version[0]):
            return
        had = ".".join(str(part) for part in link.version)
        wanted = " or ".join(f"{major}.{minor}" for major, minor in firsts)
        raise Stop(
            4,
            "SE838",
            f"an {self.plan.chip} {revision_text(revision)} leaves its flash without power in download "
            f"mode, and esptool {had} does not turn it on",
            f"install esptool {wanted} or later, best the newest: pip install --upgrade esptool",
        )

    def are_there(self, link: BoardLink) -> bool:
        """Whether the flash holds the images, by their MD5. Changes nothing."""
        if not self._is_in_reach and not link.is_stub:
            link.start_stub()
        return not link.esptool(self._verify_line()).exit_code

    def write(self, link: BoardLink, journal: Journal, mac: str, *, over_security: bool = False) -> None:
        """Erases what is not blank and writes the images; on a virtual chip only prints the commands.

        esptool's flasher stub does it, at the highest baud rate that holds: nothing is burned yet, so that it runs on
        every board. On a board with security on the ROM loader does it, wherever it can.

        Args:
            link: the connection to the board. Afterwards the stub may answer on it.
            journal: what is known of this board; it takes down that the images were written.
            mac: MAC address of the board; another one is not written down as having the images.
            over_security: flash encryption or secure boot is on already: esptool erases nothing then, so what lies
                between the images is overwritten.

        Raises Stop SE824, SE828; SE863 if it was to be written already, and is not.
        """
        if self.connection.virtual_file:
            for keep in self.plan.kept:
                self.say(f"on a board: {keep.title[0].lower()}{keep.title[1:]}")
            for line in [*self._erase_commands(), self._write_command(self._addresses_and_files())]:
                self.say("on a board: esptool " + subprocess.list2cmdline(line))
            return
        if journal.images_written and self.are_there(link) and self.kept.is_as_left(link, journal):
            self.say("The images are in flash already, verified by MD5.")
            return
        if self.is_written:
            self._require_written(link)
        else:
            self._write_at_a_baud_that_holds(link, journal, mac, over_security=over_security)
        link.require_board(mac, NOTHING_BURNED)
        journal.note_images()
        self.say("The images are in flash, verified by MD5.")

    def _require_written(self, link: BoardLink) -> None:
        """Raises Stop SE863 unless the flash holds the images, and nothing else where the plan wants it blank."""
        encrypted = next((kept for kept in self.plan.kept if kept.encrypt), None)
        if encrypted is not None:
            raise _was_not_written(f"{encrypted.label}, which boards keep, has to be encrypted on the board")
        if not self.are_there(link):
            raise _was_not_written("it does not hold the images of this bundle")
        for offset, size in self._not_blank(link, self._all_gaps()):
            raise _was_not_written(f"between 0x{offset:x} and 0x{offset + size:x} it is not blank")

    def _write_at_a_baud_that_holds(self, link: BoardLink, journal: Journal, mac: str, *, over_security: bool) -> None:
        failure: Optional[str] = ""
        for number, baud in enumerate(self.bauds):
            if number:
                self.say(f"That failed: {failure}. Again, at {baud} baud.")
                self._connect_again(link, mac)
            failure = self._try_to_write(link, journal, mac, baud, over_security=over_security)
            if failure is None or not LINE_TROUBLE.search(failure):
                break
        if failure is not None:
            raise _not_written(failure)

    def _connect_again(self, link: BoardLink, mac: str) -> None:
        result = link.connect()
        if not result.exit_code:
            result = link.esptool(["flash-id"])
        if result.exit_code:
            raise _not_written(f"the board does not answer any more: {result.last_words()}")
        link.require_board(mac, NOTHING_BURNED)

    def _try_to_write(
        self, link: BoardLink, journal: Journal, mac: str, baud: int, *, over_security: bool
    ) -> Optional[str]:
        """Why it failed; None if the images are in flash, and nothing else where the plan wants it blank."""
        rom_can = self._is_in_reach and link.version >= ROM_WRITES_SINCE
        if not link.is_stub and not (rom_can and (over_security or not self.connection.resets)):
            started = link.start_stub()
            if started.exit_code and not rom_can:
                return started.last_words()
            if started.exit_code:
                self.say(f"esptool's flasher stub does not start: {started.last_words()}. The ROM loader does it.")
                self._connect_again(link, mac)
        speed = baud if link.is_stub else min(baud, self.connection.read_baud)  # espefuse goes on at it
        changed = link.set_baud(speed)
        if changed.exit_code:
            return changed.last_words()
        unread = self.kept.rescue(link, journal, over_security=over_security)
        if unread is not None:
            return unread
        if self.kept.pieces:  # what was copied, and is erased now, is of this board
            link.require_board(mac, NOTHING_BURNED)
        # what is kept may be secret: beside its copies nobody else can read it
        with tempfile.TemporaryDirectory(dir=journal.kept_folder if self.kept.pieces else None) as folder:
            return self._write_all(link, Path(folder), over_security=over_security) or self.kept.difference(link)

    def _write_all(self, link: BoardLink, folder: Path, *, over_security: bool) -> Optional[str]:
        """Erases and writes with what answers. Why it failed; None if it did not."""
        writes = self._write_commands(folder)
        if over_security:
            blanks = self._blanks(folder)
            return self._run(link, [*writes, *([self._write_command(blanks)] if blanks else [])])
        if not (link.is_stub and self._is_in_reach):
            return self._run(link, [*self._erase_commands(), *writes])
        return self._erase_what_is_full(link) or self._run(link, writes)

    def _run(self, link: BoardLink, lines: list[list[str]]) -> Optional[str]:
        """Why a command failed; None if all are done."""
        for line in lines:
            self.say(f"esptool {line[0]} ...")
            result = link.esptool(line)
            if result.exit_code:
                return result.last_words()
        return None

    def _erase_what_is_full(self, link: BoardLink) -> Optional[str]:
        """Makes blank, by its MD5, what lies between the images, whose own place is erased when they are written.

        Why that failed; None if nothing of an earlier firmware is left there.
        """
        full = self._not_blank(link, self._all_gaps())
        failure = self._run(link, [line for offset, size in full for line in self._erase_lines(offset, size)])
        if failure is None and self._not_blank(link, full):
            return "the flash is not blank where it was erased"
        return failure

    @staticmethod
    def _not_blank(link: BoardLink, gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those that are not blank, or do not tell."""
        found = link.flash_md5(gaps) or [""] * len(gaps)
        return [gap for gap, digest in zip(gaps, found) if digest != _blank_md5(gap[1])]

    @property
    def _is_in_reach(self) -> bool:
        """Whether the ROM loader reaches all of the flash."""
        return self.flash_size is not None and self.flash_size <= ROM_FLASH_LIMIT

    def _erase_commands(self) -> list[list[str]]:
        return [line for step in self.plan.erases for line in self._erase_lines(step.offset, step.size)]

    def _size_of(self, step: EraseStep) -> int:
        return step.size or (self.flash_size or 0) - step.offset

    def _write_command(self, addresses_and_files: list[str]) -> list[str]:
        """Headers are kept as they are: they are signed or encrypted."""
        keep = [word for setting in ("mode", "freq", "size") for word in (f"--flash-{setting}", "keep")]
        return ["write-flash", *keep, *addresses_and_files]

    def _erase_lines(self, start: int, size: Optional[int]) -> list[list[str]]:
        """The commands that erase, in pieces. Without a size they go to the end of the flash that was found."""
        end = start + size if size else self.flash_size
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
        if start == 0 and end > ROM_FLASH_LIMIT and not size:
            return [["erase-flash"]]  # of many chips esptool reaches no region beyond, but erases the whole
        return [
            ["erase-region", hex(piece), hex(min(ERASED_AT_ONCE, end - piece))]
            for piece in range(start, end, ERASED_AT_ONCE)
        ]

    def _write_commands(self, folder: Path) -> list[list[str]]:
        """One for all images but those that esptool would misread: each is written with the sector before it."""
        encrypted = [piece for piece in self.kept.pieces if piece.step.encrypt]
        for piece in encrypted:
            (folder / f"{piece.step.offset:x}.kept").write_bytes(piece.content)
        pairs = [*self._pairs(), *((piece.step.offset, folder / f"{piece.step.offset:x}.kept") for piece in encrypted)]
        first = min((offset for offset, _ in pairs), default=0)
        words: list[str] = []
        apart = []
        for offset, file in pairs:
            if offset == first or not self._is_misread(file):
                words += [hex(offset), str(file)]
                continue
            lead = offset - SECTOR_SIZE
            whole = folder / f"from_{lead:x}.bin"
            whole.write_bytes(self._content(lead, offset) + file.read_bytes())
            apart.append(self._write_command([hex(lead), str(whole)]))
        return [self._write_command(words), *apart]

    def _is_misread(self, path: Path) -> bool:
        """Whether esptool takes an image for the firmware of another chip, and refuses to write it unless forced.

        Before 5.6 it does so with every file that begins like a firmware image, since then where the bootloader goes:
        with ciphertext by chance, with a coprocessor's firmware by nature.
        """
        with path.open("rb") as file:
            head = file.read(_APPENDED_HASH + 1)
        if len(head) <= _APPENDED_HASH or head[0] != _IMAGE_MAGIC or head[_APPENDED_HASH] not in (0, 1):
            return False
        return int.from_bytes(head[_CHIP_ID], "little") != FACTS[self.plan.chip].image_id

    def _content(self, start: int, end: int) -> bytes:
        """What the images, and what is kept, leave in a piece of flash that was erased."""
        content = bytearray(b"\xff" * (end - start))
        written = [(offset, file.read_bytes()) for offset, file in self._pairs()]
        for offset, data in (*written, *((piece.step.offset, piece.content) for piece in self.kept.pieces)):
            low, high = max(start, offset), min(end, offset + len(data))
            if low < high:
                content[low - start : high - start] = data[low - offset : high - offset]
        return bytes(content)

    def _blanks(self, folder: Path) -> list[str]:
        """Address, file, ... that put 0xFF over all between the images, where esptool erases nothing any more."""
        words = []
        for offset, size in self._all_gaps():
            blank = folder / f"{offset:x}.bin"
            blank.write_bytes(b"\xff" * size)
            words += [hex(offset), str(blank)]
        return words

    def _all_gaps(self) -> list[tuple[int, int]]:
        """Offset and size of what is erased and lies between the images, in whole sectors."""
        return [gap for step in self.plan.erases for gap in self._gaps(step.offset, step.offset + self._size_of(step))]

    def _gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        for image in sorted(self.plan.images, key=lambda image: image.offset):
            if start < min(image.offset, end):
                yield start, min(image.offset, end) - start
            start = max(start, whole_sectors(image.end))
        if start < end:
            yield start, end - start

    def _verify_line(self) -> list[str]:
        """The esptool command that compares the flash with the images."""
        return ["verify-flash", *self._addresses_and_files()]

    def _addresses_and_files(self) -> list[str]:
        """Address, file, address, file ... of all images."""
        return [word for offset, file in self._pairs() for word in (hex(offset), str(file))]

    def _pairs(self) -> list[tuple[int, Path]]:
        """Flash offset and file of each image."""
        return [(image.offset, self.files.path_of(image.file)) for image in self.plan.images]
