# SPDX-License-Identifier: Apache-2.0
"""The eFuses of a chip as they are burned: blocks, fields, revision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import reedsolo

from secure_ext.prove.boot_check.findings import Refused

DATA_BYTES = 32
_CODEC = reedsolo.RSCodec(12)
"""The code of every block but BLOCK0 (ESP32-C3 TRM, chapter "eFuse Controller"); the ESP32 has none."""


@dataclass(frozen=True)
class Place:
    """Where a field is: block number, first bit, number of bits."""

    block: int
    start: int
    bits: int

    @property
    def mask(self) -> int:
        """The bits of its block that it owns."""
        return ((1 << self.bits) - 1) << self.start


@dataclass(frozen=True)
class KeyBlock:
    """A block: its name and number, its bits in RD_DIS (two for two halves), the field of its key purpose."""

    name: str
    number: int
    read_disable: tuple[int, ...]
    purpose_field: str | None


@dataclass(frozen=True)
class Efuses:
    """All of a chip's eFuses, also those that nothing can read any more.

    Attributes:
        chip: target name.
        blocks: 32 bytes each (BLOCK0 of the ESP32-S31 has 36), by block number.
        broken: numbers of the blocks whose check bytes do not fit.
        places: the fields, by espefuse's name.
        key_blocks: the blocks, by number.
        purposes: numbers of the key purposes.
    """

    chip: str
    blocks: Mapping[int, bytes] = field(repr=False)
    broken: tuple[int, ...]
    places: Mapping[str, Place]
    key_blocks: Mapping[int, KeyBlock]
    purposes: Mapping[str, int]

    def with_places(self, places: Mapping[str, Place]) -> Efuses:
        """The same with more fields; those that are known stay where they are."""
        return replace(self, places={**places, **self.places})

    def block(self, number: int) -> bytes:
        """The 32 bytes of a block."""
        return self.blocks.get(number, bytes(DATA_BYTES))

    def value(self, name: str) -> int:
        """What a field holds; 0 on a chip that does not have it."""
        place = self.places.get(name)
        if place is None:
            return 0
        return (int.from_bytes(self.block(place.block), "little") & place.mask) >> place.start

    def can_burn(self, name: str, value: int, lock: int | None) -> bool:
        """Whether all bits of `value` can be in the field, whose bit in WR_DIS is `lock`; so without the field."""
        missing = value & ~self.value(name) if name in self.places else 0
        return not missing or lock is None or not self.value("WR_DIS") >> lock & 1

    def is_hidden(self, number: int, half: int = 0) -> bool:
        """Whether a block is read-protected; `half` counts in a block that is protected by halves."""
        bits = self.key_blocks[number].read_disable
        return half < len(bits) and bool(self.value("RD_DIS") >> bits[half] & 1)

    def with_purpose(self, purpose: str) -> list[KeyBlock]:
        """The blocks that hold a key for `purpose`."""
        number = self.purposes.get(purpose)
        return [
            block
            for block in self.key_blocks.values()
            if number is not None and block.purpose_field and self.value(block.purpose_field) == number
        ]

    def revision(self) -> int:
        """Chip revision, major * 100 + minor (ESP-IDF ``components/hal/<chip>/efuse_hal.c``).

        An esp32 with both bits is one of revision 3: what tells it from revision 2 is no eFuse.
        """
        if self.chip == "esp32":
            both = self.value("CHIP_VER_REV1"), self.value("CHIP_VER_REV2")
            major = {(1, 0): 1, (1, 1): 3}.get(both, 0)
            return major * 100 + self.value("WAFER_VERSION_MINOR")
        major = self.value("WAFER_VERSION_MAJOR") or (
            self.value("WAFER_VERSION_MAJOR_HI") << 2 | self.value("WAFER_VERSION_MAJOR_LO")
        )
        minor = self.value("WAFER_VERSION_MINOR") or (
            self.value("WAFER_VERSION_MINOR_HI") << 3 | self.value("WAFER_VERSION_MINOR_LO")
        )
        return major * 100 + minor


def read_efuses(chip: str, state: Path) -> Efuses:
    """From the files of a virtual chip. Raises Refused."""
    try:
        layout = json.loads((state / "efuse_layout.json").read_text(encoding="utf-8"))
        stored = json.loads((state / "efuses.json").read_text(encoding="utf-8"))
        raw = {int(number): bytes.fromhex(bits) for number, bits in stored.items()}
        places = {
            str(name): Place(*(_number(place[key]) for key in ("block", "start", "bits")))
            for name, place in layout["fields"].items()
        }
        key_blocks = {_number(block["id"]): _key_block(block) for block in layout["blocks"]}
        words = {_number(block["id"]): _number(block["len"]) for block in layout["blocks"]}
        purposes = {str(name): int(number) for name, number in layout["key_purposes"].items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise Refused("BC01", f"the chip's eFuses cannot be read ({type(error).__name__})") from None
    decoded = {
        number: _decoded(bits, chip != "esp32" and number > 0, 4 * words.get(number, 0)) for number, bits in raw.items()
    }
    return Efuses(
        chip,
        {number: data for number, (data, _) in decoded.items()},
        tuple(sorted(number for number, (_, is_whole) in decoded.items() if not is_whole)),
        places,
        key_blocks,
        purposes,
    )


def read_new_chip(chip: str, state: Path) -> Mapping[int, bytes]:
    """The blocks of a virtual chip as they were when it was new. Raises Refused."""
    try:
        stored = json.loads((state / "efuses_of_the_new_chip.json").read_text(encoding="utf-8"))
        raw = {int(number): bytes.fromhex(bits) for number, bits in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Refused("BC01", f"the new chip's eFuses cannot be read ({type(error).__name__})") from None
    return {number: _decoded(bits, chip != "esp32" and number > 0, len(bits))[0] for number, bits in raw.items()}


def _number(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise ValueError("no small number")
    return value


def _key_block(block: dict[str, Any]) -> KeyBlock:
    bits = block["read_disable_bit"]
    listed = [] if bits is None else bits if isinstance(bits, list) else [bits]
    purpose = block["key_purpose"]
    return KeyBlock(
        str(block["name"]),
        _number(block["id"]),
        tuple(_number(bit) for bit in listed),
        None if purpose is None else str(purpose),
    )


def _decoded(raw: bytes, is_coded: bool, size: int) -> tuple[bytes, bool]:
    """The data of a block, and whether all of it is as burned: no error that the code would have to correct.

    A block without the code may be larger than 32 bytes: `size`.
    """
    if not is_coded:
        size = max(size, DATA_BYTES)
        return raw[:size].ljust(DATA_BYTES, b"\0"), len(raw) <= size
    data = raw[:DATA_BYTES].ljust(DATA_BYTES, b"\0")
    if not any(raw):
        return data, True
    return data, raw == bytes(_CODEC.encode(data))
