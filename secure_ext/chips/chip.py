# SPDX-License-Identifier: Apache-2.0
"""One chip, as planning needs it: key blocks, lock-down fields, limits."""

from __future__ import annotations

from collections.abc import Mapping

from secure_ext.chips.efuse_table import EfuseField, EfuseTable, load_efuse_table
from secure_ext.chips.facts import chip_facts
from secure_ext.station.chip_facts import ChipFacts
from secure_ext.station.frozen import frozen


@frozen
class KeyBlock:
    """One eFuse key block.

    Attributes:
        name: name in espefuse's summary, ``BLOCK_KEY0`` or on esp32 ``BLOCK1``.
        number: eFuse block number, as in espefuse's dump.
        burn_name: name that ``espefuse burn-key`` takes.
        wr_dis_bit: its bit of ``WR_DIS``.
        rd_dis_bits: its bits of ``RD_DIS``, low half first where there are two (ESP32-C2).
        purpose_field: the field holding its key purpose; None where purposes are fixed (esp32, ESP32-C2).
        purpose_wr_dis_bit: the ``WR_DIS`` bit of that field.
    """

    name: str
    number: int
    burn_name: str
    wr_dis_bit: int
    rd_dis_bits: tuple[int, ...]
    purpose_field: str | None = None
    purpose_wr_dis_bit: int | None = None


@frozen
class Chip:
    """A chip at one chip revision (major * 100 + minor)."""

    facts: ChipFacts
    revision: int
    efuses: EfuseTable
    key_blocks: tuple[KeyBlock, ...]

    @property
    def name(self) -> str:
        """ESP-IDF's target name, such as ``esp32c6``."""
        return self.facts.name

    @property
    def has_one_key_block(self) -> bool:
        """True for the ESP32-C2, whose flash encryption key and digest share a block."""
        return len(self.key_blocks) == 1

    @property
    def has_fixed_key_blocks(self) -> bool:
        """True for the esp32, where a block's number says what it holds."""
        return bool(self.facts.fixed_key_blocks)

    @property
    def crypt_count(self) -> EfuseField:
        """The field whose odd number of set bits turns flash encryption on."""
        return self.efuses.require(self.facts.crypt_count)

    @property
    def secure_boot_enable(self) -> EfuseField:
        """The field that turns Secure Boot V2 on."""
        return self.efuses.require(self.facts.secure_boot_enable)

    def uses(self, field: str) -> bool:
        """True if the chip has the lock-down `field` and ESP-IDF uses it there."""
        return field not in self.facts.left_alone and field in self.efuses.fields

    def fields_sharing_write_protection(self, field: EfuseField) -> tuple[str, ...]:
        """Names of all fields that become read-only together with `field`."""
        if field.wr_dis_bit is None:
            return ()
        return tuple(f.name for f in self.efuses.fields.values() if f.wr_dis_bit == field.wr_dis_bit)


def load_chip(name: str, revision: int) -> Chip:
    """Chip `name` at `revision`.

    Raises InputError SE204 (chip not covered) and the ToolErrors of `load_efuse_table`.
    """
    facts = chip_facts(name)
    table = load_efuse_table(name, revision)
    blocks: tuple[KeyBlock, ...]
    if facts.fixed_key_blocks:
        blocks = tuple(_fixed_block(table, block, word) for block, word in facts.fixed_key_blocks)
    else:
        blocks = tuple(_key_block(table, i) for i in range(6) if table.find(f"BLOCK_KEY{i}"))
    return Chip(facts, revision, table, blocks)


def _fixed_block(table: EfuseTable, name: str, burn_name: str) -> KeyBlock:
    field = table.require(name)
    return KeyBlock(name, field.block, burn_name, _wr_dis_bit(field), field.rd_dis_bits)


def _key_block(table: EfuseTable, index: int) -> KeyBlock:
    field = table.require(f"BLOCK_KEY{index}")
    purpose = table.find(f"KEY_PURPOSE_{index}")
    return KeyBlock(
        name=field.name,
        number=field.block,
        burn_name=field.name,
        wr_dis_bit=_wr_dis_bit(field),
        rd_dis_bits=field.rd_dis_bits,
        purpose_field=purpose.name if purpose else None,
        purpose_wr_dis_bit=purpose.wr_dis_bit if purpose else None,
    )


def _wr_dis_bit(field: EfuseField) -> int:
    if field.wr_dis_bit is None:
        raise AssertionError(f"espefuse's table gives {field.name} no write protection")
    return field.wr_dis_bit


def revision_bits(
    chip: Chip, revision: int, block_revision: int = 0, burned: Mapping[str, int] | None = None
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The eFuse bits that make a virtual chip be of `revision` and `block_revision` (major * 100 + minor).

    A virtual chip starts as revision 0.0. `burned` names fields with a value that the maker of a module burns. Each
    block is named once, with its bit numbers, as ``espefuse burn-bit`` takes them: most blocks can be burned only once.
    """
    values = dict(burned or {})
    if chip.facts.revision_flags:
        values |= dict.fromkeys(chip.facts.revision_flags[: revision // 100], 1)
    else:
        values |= _parts(chip, "WAFER_VERSION", revision) | _parts(chip, "BLK_VERSION", block_revision)
    bits: dict[str, list[int]] = {}
    for name, value in values.items():
        field = chip.efuses.require(name)
        numbers = [field.start + bit for bit in range(field.bits) if value >> bit & 1]
        if numbers:
            bits.setdefault(f"BLOCK{field.block}", []).extend(numbers)
    return tuple((block, tuple(numbers)) for block, numbers in bits.items())


def _parts(chip: Chip, field: str, version: int) -> dict[str, int]:
    """The values of the fields that hold a version (major * 100 + minor), which may be cut in two."""
    values: dict[str, int] = {}
    for part, number in (("MAJOR", version // 100), ("MINOR", version % 100)):
        remaining = number
        for name in (f"{field}_{part}", f"{field}_{part}_LO", f"{field}_{part}_HI"):
            found = chip.efuses.find(name)
            if found is not None:
                values[name] = remaining & ((1 << found.bits) - 1)
                remaining >>= found.bits
    return values
