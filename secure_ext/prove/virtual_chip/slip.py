# SPDX-License-Identifier: Apache-2.0
"""SLIP framing (RFC 1055), as the serial protocol of the ROM loader uses it."""

from __future__ import annotations

_END, _ESCAPE = b"\xc0", b"\xdb"
_ESCAPED_END, _ESCAPED_ESCAPE = b"\xdb\xdc", b"\xdb\xdd"
MAX_FRAME = 0x8000
"""Longest frame that is kept, in bytes: esptool sends at most 0x4000 and a header. The rest of a longer one is lost."""


def encode(payload: bytes) -> bytes:
    """One frame with its delimiters."""
    return _END + payload.replace(_ESCAPE, _ESCAPED_ESCAPE).replace(_END, _ESCAPED_END) + _END


class SlipDecoder:
    """Takes bytes as they come and gives whole frames; wrong escapes and oversized frames are dropped, as noise is."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._inside = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the frames that end in `data`."""
        *ended, rest = data.split(_END)
        frames = []
        for piece in ended:
            self._take(piece)
            frame = _decoded(self._raw) if self._inside else b""
            if frame:
                frames.append(frame)
            self._inside = not frame
            self._raw.clear()
        self._take(rest)
        return frames

    def _take(self, piece: bytes) -> None:
        """Keeps one byte more than the longest frame has at most, so that it is known to be longer."""
        if self._inside:
            self._raw += piece[: 2 * MAX_FRAME + 1 - len(self._raw)]


def _decoded(raw: bytearray) -> bytes:
    """The payload of what stands between two delimiters; empty if it is none."""
    escapes = raw.count(_ESCAPED_END) + raw.count(_ESCAPED_ESCAPE)
    if raw.count(_ESCAPE) != escapes or len(raw) - escapes > MAX_FRAME:
        return b""
    return bytes(raw.replace(_ESCAPED_END, _END).replace(_ESCAPED_ESCAPE, _ESCAPE))
