# SPDX-License-Identifier: Apache-2.0
"""The flash of a connected board: reads, compares and writes, with whatever answers in its download mode.

esptool's flasher stub does it where it runs: on open boards. On boards in secure download mode the ROM loader only
writes. A write that bytes were lost of is done again, slower.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from secure_ext.errors import DeviceError, ToolError
from secure_ext.field.cable.board import Board
from secure_ext.field.cable.forced import why_forced
from secure_ext.field.cable.pieces import StoredPiece
from secure_ext.station.board_link import BoardLink
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.flash_images import LINE_TROUBLE, bauds_of

Say = Callable[[str], None]
"""Is told what is done, a line at a time."""
AGAIN = "run the same command again: it looks at the board and continues"


class BoardFlash:
    """The flash of `board`, by way of `link`.

    Args:
        link: the connection; nothing but the ROM loader answers on it yet.
        board: what was found.
        chip: target name.
        size: how much flash the firmware believes in, in bytes; in secure download mode nobody else tells.
        say: shows a line.
    """

    def __init__(self, link: BoardLink, board: Board, chip: str, size: int, say: Say) -> None:
        self._link = link
        self._board = board
        self._chip = chip
        self._size = size
        self._say = say
        self._bauds = list(bauds_of(link.connection))
        self.forced: list[str] = []

    def start(self) -> None:
        """Makes ready to read and write. Raises DeviceError SE985, ToolError SE983."""
        if self._board.is_sealed:
            return
        if self._link.connection.resets:
            started = self._link.start_stub()
            if started.exit_code:
                self._say(f"esptool's flasher stub does not start: {started.last_words()}. The ROM loader does it.")
                self._connect_again()
        connection = self._link.connection
        speed = self._bauds[0] if self._link.is_stub else min(self._bauds[0], connection.read_baud)
        if self._link.set_baud(speed).exit_code:
            raise _not_written("the board does not take the baud rate", "give a lower --baud")
        if not self._link.is_stub:
            self._tell_size()

    def read(self, offset: int, size: int) -> bytes:
        """What lies in flash, proved by its MD5. Raises DeviceError SE985."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "read.bin")
            result = self._link.esptool(["read-flash", hex(offset), hex(size), str(path)])
            content = path.read_bytes() if path.is_file() else b""
        wrong = result.last_words() if result.exit_code else "it was not read as it is"
        if result.exit_code or self.md5([(offset, size)]) != [_md5(content)]:
            raise DeviceError(
                "SE985",
                f"the flash at 0x{offset:x} cannot be read: {wrong}",
                cure="check cable and supply, give a lower --baud, and run this again; nothing was written",
            )
        return content

    def md5(self, places: Sequence[tuple[int, int]]) -> list[str]:
        """MD5 of each place, with its offset and size; empty texts where the board does not tell."""
        if self._board.is_sealed or not places:
            return [""] * len(places)
        return self._link.flash_md5(places) or [""] * len(places)

    def holds(self, pieces: Sequence[StoredPiece]) -> list[bool]:
        """Whether each piece is in flash already; False where nobody can see it."""
        found = self.md5([piece.place for piece in pieces])
        return [digest == _md5(piece.content) for piece, digest in zip(pieces, found, strict=True)]

    def write(self, piece: StoredPiece) -> None:
        """Writes a piece, and compares it where the board lets it. Raises ToolError SE983."""
        reasons = why_forced(piece, self._board, self._chip, self._link.version)
        for reason in reasons:
            self._say(f"{piece.piece.name}: written with --force: {reason}.")
        if reasons:
            self.forced.append(piece.piece.name)
        while True:
            failure = self._try_to_write(piece, is_forced=bool(reasons))
            if failure is None:
                return
            if len(self._bauds) == 1 or self._board.is_sealed or not LINE_TROUBLE.search(failure):
                raise _not_written(f"{piece.piece.name}: {failure}", self._cure)
            del self._bauds[0]
            self._say(f"That failed: {failure}. Again, at {self._bauds[0]} baud.")
            self._connect_again()
            self.start()

    @property
    def _cure(self) -> str:
        if self._board.is_sealed and FACTS[self._chip].flash_power:
            return (
                "some chips of this kind leave their flash without power in secure download mode (SP047): switch the "
                "board off and on; if that does not help, update it over the air. Or check the cable"
            )
        return "check the cable, give a lower --baud"

    def _try_to_write(self, piece: StoredPiece, *, is_forced: bool) -> str | None:
        """Why it failed; None if it did not."""
        offset, size = piece.place
        self._say(f"{piece.piece.name}: {size} bytes to 0x{offset:x} ...")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "piece.bin")
            path.write_bytes(piece.content)
            line = ["write-flash", *(["--force"] if is_forced else []), "--flash-mode", "keep", "--flash-freq", "keep"]
            line += ["--flash-size", f"{self._size >> 20}MB" if self._board.is_sealed else "keep"]
            result = self._link.esptool([*line, hex(offset), str(path)])
        if result.exit_code:
            return result.last_words()
        return None if self._board.is_sealed or self.holds([piece]) == [True] else "it is not in flash as it should be"

    def _tell_size(self) -> None:
        """A ROM loader believes in 2 MB of flash until it is told more, which of these commands `verify-flash` does."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "erased.bin")
            path.write_bytes(b"\xff" * 16)
            self._link.esptool(["verify-flash", "0x0", str(path)])  # it differs, which is not what is asked

    def _connect_again(self) -> None:
        """Raises ToolError SE983; Stop SE828 if another board answers."""
        result = self._link.connect()
        if result.exit_code:
            raise _not_written(f"the board does not answer any more: {result.last_words()}", "check cable and supply")
        if self._board.mac is not None:
            self._link.require_board(self._board.mac, "what was written so far stays")


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _not_written(why: str, cure: str) -> ToolError:
    return ToolError("SE983", f"writing the flash failed: {why}", cure=f"{cure}, and {AGAIN}")
