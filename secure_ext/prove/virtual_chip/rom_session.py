# SPDX-License-Identifier: Apache-2.0
"""What the ROM loader, and the stub after it, know between two commands; a reset forgets it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

INITIAL_BAUD = 115200
_ROM_FLASH_SIZE = 0x200000
"""The flash that a ROM loader believes in until SPI_SET_PARAMS tells it another size (esptool, `erase_region`)."""


@dataclass
class FlashWrite:
    """A flash write that was begun."""

    offset: int = 0
    left: int = 0
    inflate: Any = None
    encrypts: bool = False


@dataclass
class FlashRead:
    """A flash read of the stub: blocks are sent ahead of the counts of bytes that confirm them."""

    content: bytes
    block_size: int
    ahead: int
    sent: int = 0


@dataclass
class Session:
    """What a reset forgets."""

    is_stub: bool = False
    has_program: bool = False
    burns: bool = False
    is_running: bool = False
    baud: int = INITIAL_BAUD
    is_attached: bool = False
    flash_size: int = _ROM_FLASH_SIZE
    write: FlashWrite = field(default_factory=FlashWrite)
    read: FlashRead | None = None
    registers: dict[int, int] = field(default_factory=dict)
