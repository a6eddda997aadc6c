# SPDX-License-Identifier: Apache-2.0
"""SLIP framing (RFC 1055), as the serial protocol of the ROM loader uses it."""

from __future__ import annotations

END = 0xC0
_ESCAPES = {0xDC: 0xC0, 0xDD: 0xDB}
MAX_FRAME = 0x8000
"""Longest frame that is kept, in bytes: esptool sends at most 0x4000 and a header. The rest of a longer one is lost."""


def encode(payload: bytes) -> bytes:
    """One frame with its delimiters."""
    return b"\xc0" + payload.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


class SlipDecoder:
    """Takes bytes as they come and gives whole frames; wrong escapes and oversized frames are dropped, as noise is."""

    def __init__(self) -> None:
        self._frame = bytearray()
        self._inside = False
        self._escaped = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the frames that end in `data`."""
        frames = []
        for byte in data:
            if byte == END:
                if self._inside and self._frame and not self._escaped:
                    frames.append(bytes(self._frame))
                    self._inside = False
                else:
                    self._inside = True
                self._frame.clear()
                self._escaped = False
            elif not self._inside:
                continue
            elif self._escaped:
                self._escaped = False
                if byte not in _ESCAPES:
                    self._drop()
                else:
                    self._frame.append(_ESCAPES[byte])
            elif byte == 0xDB:
                self._escaped = True
            else:
                self._frame.append(byte)
            if len(self._frame) > MAX_FRAME:
                self._drop()
        return frames

    def _drop(self) -> None:
        self._frame.clear()
        self._inside = False
        self._escaped = False
