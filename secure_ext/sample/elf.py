# SPDX-License-Identifier: Apache-2.0
"""A tiny ELF file with one section of filler, enough for esptool's own image writer."""

from __future__ import annotations

import struct

EM_XTENSA, EM_RISCV = 94, 243
"""Machine numbers of the ELF format."""

_FILE_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT_HEADER = struct.Struct("<8I")
_SECTION_HEADER = struct.Struct("<10I")
_EXECUTABLE, _LOAD, _PROGBITS, _STRTAB = 2, 1, 1, 3
_READ_AND_EXECUTE = 0x4 | 0x1
_ALLOC_AND_EXEC = 0x2 | 0x4


def filler(name: str, size: int) -> bytes:
    """``size`` bytes that stand for code: the same ones for the same name, no two blocks of 16 alike."""
    blocks = (f"{name[:8]:8}{number:08x}".encode() for number in range(-(-size // 16)))
    return b"".join(blocks)[:size]


def build_elf(machine: int, section: str, address: int, content: bytes) -> bytes:
    """A 32-bit little-endian ELF executable with ``content`` as its only loaded section, at ``address``."""
    names = b"\0" + section.encode() + b"\0.shstrtab\0"
    content_at = _FILE_HEADER.size + _SEGMENT_HEADER.size
    names_at = content_at + len(content)
    headers_at = -(-(names_at + len(names)) // 4) * 4
    segment = _SEGMENT_HEADER.pack(
        _LOAD, content_at, address, address, len(content), len(content), _READ_AND_EXECUTE, 4
    )
    headers = (
        bytes(_SECTION_HEADER.size),
        _SECTION_HEADER.pack(1, _PROGBITS, _ALLOC_AND_EXEC, address, content_at, len(content), 0, 0, 4, 0),
        _SECTION_HEADER.pack(len(section) + 2, _STRTAB, 0, 0, names_at, len(names), 0, 0, 1, 0),
    )
    file_header = _FILE_HEADER.pack(
        b"\x7fELF\x01\x01\x01".ljust(16, b"\0"),
        _EXECUTABLE,
        machine,
        1,
        address,
        _FILE_HEADER.size,
        headers_at,
        0,
        _FILE_HEADER.size,
        _SEGMENT_HEADER.size,
        1,
        _SECTION_HEADER.size,
        len(headers),
        2,
    )
    return (file_header + segment + content + names).ljust(headers_at, b"\0") + b"".join(headers)
