# SPDX-License-Identifier: Apache-2.0
"""The flash as the chip sees it: as it is, or through the decryption of the flash controller."""

from __future__ import annotations

from secure_ext.prove.boot_check.findings import Refused
from secure_ext.prove.boot_check.flash_cipher import Decrypt

SECTOR = 0x1000


class FlashView:
    """Content of the flash; `decrypt` is None on a chip that does not encrypt."""

    def __init__(self, raw: bytes, decrypt: Decrypt | None) -> None:
        self.raw = raw
        self.is_encrypted = decrypt is not None
        self._decrypt = decrypt
        self._sectors: dict[int, bytes] = {}

    def stored(self, offset: int, size: int) -> bytes:
        """What the flash chip holds. Raises Refused outside of it."""
        if offset < 0 or size < 0 or offset + size > len(self.raw):
            raise Refused("BC18", f"{offset:#x} to {offset + size:#x} is outside of the flash")
        return self.raw[offset : offset + size]

    def seen(self, offset: int, size: int) -> bytes:
        """What the chip reads where it decrypts. Raises Refused outside of the flash."""
        if self._decrypt is None or not size:
            return self.stored(offset, size)
        self.stored(offset, size)
        first = offset - offset % SECTOR
        content = b"".join(self._sector(at) for at in range(first, offset + size, SECTOR))
        return content[offset - first : offset - first + size]

    def _sector(self, offset: int) -> bytes:
        if offset not in self._sectors and self._decrypt:
            self._sectors[offset] = self._decrypt(offset, self.raw[offset : offset + SECTOR].ljust(SECTOR, b"\xff"))
        return self._sectors[offset]
