# SPDX-License-Identifier: Apache-2.0
"""How the loader's answers and the blocks of data that it takes are packed, and how it refuses."""

from __future__ import annotations

import functools
import operator
import struct

BAD_COMMAND, FAILED, BAD_CHECKSUM = 0x05, 0x06, 0x07
"""The ROM's numbers for why it refuses."""
_CHECKSUM_SEED = 0xEF


class Refused(Exception):
    """The command is answered with an error; `reason` is the ROM's number for it."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


def payload_of(data: bytes, checksum: int) -> bytes:
    """The payload of a block. Raises Refused if it is cut short or its checksum is wrong."""
    (size,) = struct.unpack_from("<I", data)
    payload = data[16:]
    if len(payload) != size:
        raise Refused(FAILED)
    if functools.reduce(operator.xor, payload, _CHECKSUM_SEED) != checksum & 0xFF:
        raise Refused(BAD_CHECKSUM)
    return payload


def packet(command: int, value: int, data: bytes, status: bytes) -> bytes:
    """An answer before it is framed."""
    return struct.pack("<BBHI", 1, command, len(data) + len(status), value) + data + status
