# SPDX-License-Identifier: Apache-2.0
"""The eFuses themselves: what is burned stays, also where nothing can read it any more. Kept in a file.

A block that is protected by a Reed-Solomon code (all but BLOCK0 of each chip after the ESP32) is kept as its 44 coded
bytes, so that a half-written block is as broken here as it is on silicon (ESP32-C3 TRM, chapter "eFuse Controller").
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import reedsolo

from secure_ext.station.frozen import frozen

DATA_BYTES = 32
CHECK_BYTES = 12
_CODEC = reedsolo.RSCodec(CHECK_BYTES)


@frozen
class BlockContent:
    """What the controller reads from a block: its data, how many bytes it had to correct, and whether it could."""

    data: bytes
    corrected: int = 0
    failed: bool = False


class Fuses:
    """All blocks of a chip, by number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._blocks: dict[int, bytes] = {}
        if path.exists():
            stored = json.loads(path.read_text(encoding="ascii"))
            self._blocks = {int(number): bytes.fromhex(block) for number, block in stored.items()}

    def burn(self, block: int, bits: bytes) -> None:
        """Sets bits for ever."""
        old = self.raw(block, len(bits))
        self._blocks[block] = bytes(a | b for a, b in zip(old, bits, strict=True))
        self._save(self.path)

    def raw(self, block: int, length: int) -> bytes:
        """The bits of a block as they are; `length` bytes."""
        return self._blocks.get(block, bytes(length))

    def decoded(self, block: int) -> BlockContent:
        """The data of a Reed-Solomon block, corrected as the controller does."""
        raw = self.raw(block, DATA_BYTES + CHECK_BYTES)
        if not any(raw):
            return BlockContent(raw[:DATA_BYTES])
        try:
            data, _, positions = _CODEC.decode(bytearray(raw))
        except reedsolo.ReedSolomonError:
            return BlockContent(raw[:DATA_BYTES], corrected=7, failed=True)
        return BlockContent(bytes(data), corrected=len(positions))

    def copy_to(self, path: Path) -> None:
        """Keeps what is burned now in another file, too."""
        self._save(path)

    def _save(self, path: Path) -> None:
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump({str(number): block.hex() for number, block in sorted(self._blocks.items())}, file, indent=1)
        new.replace(path)


def coded(data: bytes) -> bytes:
    """The 44 bytes that are burned for the 32 bytes of a block."""
    return bytes(_CODEC.encode(data.ljust(DATA_BYTES, b"\0")))
