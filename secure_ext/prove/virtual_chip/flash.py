# SPDX-License-Identifier: Apache-2.0
"""NOR flash in a file: erasing sets sectors to 0xFF, writing can only clear bits, as on silicon."""

from __future__ import annotations

import os
from pathlib import Path

SECTOR = 0x1000
PAGE = 0x100


class Flash:
    """The flash chip. `size` is in bytes and a power of two; the file is made, erased, if it does not exist."""

    def __init__(self, path: Path, size: int) -> None:
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as new:
                new.write(b"\xff" * size)
        self._file = path.open("r+b", buffering=0)
        self.content = bytearray(self._file.read())
        self.size = len(self.content)

    @property
    def jedec_id(self) -> int:
        """What the RDID command gives: a manufacturer in the low byte, the size as a power of two in the third."""
        return (self.size.bit_length() - 1) << 16 | 0x40EF

    def erase(self, offset: int, size: int) -> None:
        """Erases all sectors that [offset, offset + size) touches. Raises ValueError outside of the chip."""
        self._check(offset, size)
        first = offset - offset % SECTOR
        end = min(-(-(offset + size) // SECTOR) * SECTOR, self.size)
        self._store(first, b"\xff" * (end - first))

    def write(self, offset: int, data: bytes) -> None:
        """Clears bits. Raises ValueError outside of the chip."""
        self._check(offset, len(data))
        before = int.from_bytes(self.content[offset : offset + len(data)], "little")
        after = before & int.from_bytes(data, "little")
        self._store(offset, after.to_bytes(len(data), "little"))

    def read(self, offset: int, size: int) -> bytes:
        """Raises ValueError outside of the chip."""
        self._check(offset, size)
        return bytes(self.content[offset : offset + size])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _check(self, offset: int, size: int) -> None:
        if offset + size > self.size:
            raise ValueError(f"{offset:#x} + {size:#x} is outside of the flash")

    def _store(self, offset: int, data: bytes) -> None:
        self.content[offset : offset + len(data)] = data
        self._file.seek(offset)
        self._file.write(data)
