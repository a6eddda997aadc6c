# SPDX-License-Identifier: Apache-2.0
"""A board as an audit sees it: what is burned on it, and what cannot be seen."""

from __future__ import annotations

from collections.abc import Mapping

from secure_ext.station.chip_state import ChipState
from secure_ext.station.frozen import frozen
from secure_ext.station.security_info import SecurityInfo

SEALED = "the board is in secure download mode, where this cannot be read"


@frozen
class Board:
    """A board that was read; every question about it is answered with None where nobody can see the answer.

    Attributes:
        chip: ESP-IDF's name of the chip.
        source: what was read, in words.
        state: its eFuses; None when it is in secure download mode.
        security: what it tells in secure download mode.
        errors_looked_for: whether espefuse was asked for coding errors.
    """

    chip: str
    source: str
    state: ChipState | None = None
    security: SecurityInfo | None = None
    errors_looked_for: bool = True

    @property
    def mac(self) -> str | None:
        """Factory MAC address, lower case, without separators."""
        return self.state.mac if self.state else None

    @property
    def revision(self) -> int | None:
        """Chip revision, major * 100 + minor."""
        return self.state.revision if self.state else None

    def value(self, field: str) -> int | None:
        """The number in a field."""
        if self.state:
            return self.state.values.get(field)
        return self.security.values.get(field) if self.security else None

    def purpose(self, field: str) -> str | None:
        """The name of a key purpose, ``USER`` for none."""
        if self.state:
            return self.state.texts.get(field)
        return self.security.purposes.get(field) if self.security else None

    @property
    def purposes(self) -> Mapping[str, str]:
        """The name of the purpose by the field of each key block, as far as the board tells."""
        if self.state:
            return {field: text for field, text in self.state.texts.items() if field.startswith("KEY_PURPOSE_")}
        return self.security.purposes if self.security else {}

    def is_write_protected(self, bit: int) -> bool | None:
        """Whether a bit of WR_DIS is set."""
        return self.state.has_bit("WR_DIS", bit) if self.state else None

    def is_read_protected(self, bit: int) -> bool | None:
        """Whether a bit of RD_DIS is set."""
        return self.state.has_bit("RD_DIS", bit) if self.state else None

    def block(self, number: int) -> bytes | None:
        """The content of an eFuse block; zeros where it is read-protected."""
        return self.state.blocks.get(number) if self.state else None

    def why_unseen(self, field: str) -> str:
        """Why `value` is None."""
        if self.state:
            return f"the espefuse that read the board knows no {field}"
        if field == "SOFT_DIS_JTAG":
            return "the board shows that a part of it is burned, and not how much"
        return SEALED
