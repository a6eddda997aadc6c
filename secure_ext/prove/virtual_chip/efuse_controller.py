# SPDX-License-Identifier: Apache-2.0
"""The eFuse controller: espefuse's own emulation of its registers, on fuses that keep what is read-protected.

espefuse's emulation (the classes behind ``--virt``) is GPL-2.0-or-later; it is imported here alone, in the process of
the virtual chip. It forgets a key when the key is read-protected; silicon does not, and the boot check needs the key.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

from secure_ext.prove.virtual_chip.fuses import CHECK_BYTES, DATA_BYTES, Fuses, coded
from secure_ext.prove.virtual_chip.power import Event, Power, PowerLost
from secure_ext.prove.virtual_chip.process import EFUSES_BEFORE_THE_CUT
from secure_ext.station.board_helper import spare_work
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.frozen import frozen

_OPCODES = {1: 0x5AA5, 2: 0x5A5A}
_READ, _BURN = _OPCODES
_THREE_QUARTERS = 1


@frozen
class FieldPlace:
    """Where a field is: block number, first bit and width."""

    block: int
    start: int
    bits: int


class EfuseController:
    """Registers in front of `fuses`."""

    def __init__(self, chip: str, fuses: Fuses, power: Power) -> None:
        module = importlib.import_module(f"espefuse.efuse.{chip}.emulate_efuse_controller")
        spare_work(sys.modules.get("esptool"))
        self.chip = chip
        self.fuses = fuses
        self.power = power
        self.has_reed_solomon = FACTS[chip].reed_solomon
        self._emulation: Any = type("Emulation", (_Emulation, module.EmulateEfuseController), {"controller": self})()
        self.places = {
            field.name: FieldPlace(field.block, field.word * 32 + field.pos, field.bit_len)
            for field in self._emulation.Fields.EFUSES
            if field.word is not None
        }
        self._blocks = [self._emulation.Blocks.get(block) for block in self._emulation.Blocks.BLOCKS]
        regs = self._emulation.REGS
        self.base: int = regs.DR_REG_EFUSE_BASE
        self.end: int = regs.DR_REG_EFUSE_BASE + regs.EFUSE_MEM_SIZE
        self._conf: int = getattr(regs, "EFUSE_CONF_REG", None) or regs.EFUSE_REG_CONF
        self._command: int = getattr(regs, "EFUSE_CMD_REG", None) or regs.EFUSE_REG_CMD
        self._shown = {block.rd_addr + offset for block in self._blocks for offset in range(0, block.len * 4, 4)}
        self._shown |= {
            getattr(regs, name) for name in dir(regs) if re.match(r"EFUSE_(RD_.*_ERR\d*_REG|REG_DEC_STATUS)$", name)
        }
        self.crystal_mhz: int = self._emulation.get_crystal_freq()
        self.load()

    def read(self, address: int) -> int:
        """The value of a register. Raises ValueError for an address between two registers."""
        if address % 4:
            raise ValueError(f"{address:#x} is no register")
        return int(self._emulation.read_reg(address))

    def write(self, address: int, value: int) -> None:
        """Writes a register; those that show the fuses cannot be written. Raises PowerLost."""
        if address % 4:
            raise ValueError(f"{address:#x} is no register")
        if self.power.count(Event.WRITE):
            raise PowerLost
        if address in self._shown:
            return
        if address == self._command and not self._is_unlocked(value):
            return
        if address == self._command and value & _BURN and not self.has_reed_solomon:
            self.program(None)  # espefuse's emulation of the esp32 does it with the read command that follows
        self._emulation.write_reg(address, value)
        if address == self._command and value & _READ:
            self.load()

    def field(self, name: str) -> int:
        """The value of a field as the controller shows it; 0 if the chip does not have it."""
        place = self.places.get(name)
        if place is None:
            return 0
        content = self._emulation.read_block(place.block).bytes[::-1]
        return int.from_bytes(content, "little") >> place.start & ((1 << place.bits) - 1)

    def fab(self, bits: dict[int, set[int]], mac: bytes) -> None:
        """What is burned before the chip is ever used, with nothing counted: bits of blocks, and the MAC address."""
        burned = {block: set(numbers) for block, numbers in bits.items()}
        fields = {"MAC": mac[::-1], "MAC_CRC": bytes([_crc8(mac)])}
        for name, content in fields.items():
            place = self.places.get(name)
            if place is not None:
                number = int.from_bytes(content, "little")
                due = {place.start + bit for bit in range(place.bits) if number >> bit & 1}
                burned.setdefault(place.block, set()).update(due)
        for block, numbers in burned.items():
            data = sum(1 << number for number in numbers).to_bytes(DATA_BYTES, "little")
            self.fuses.burn(block, coded(data) if self.has_reed_solomon and block else data)
        self.load()

    def burn(self, block: Any) -> None:
        """What the write registers of a block hold becomes for ever, as far as it is not write-protected."""
        is_coded = self.has_reed_solomon and block.id
        written: bytes = self._emulation.read_block(block.id, wr_regs=True).bytes[::-1]
        data = _data_bytes(block)
        stored = data + (CHECK_BYTES if is_coded else 0)
        allowed = self._allowed(block, written[: block.len * 4]).ljust(data, b"\0")
        bits = written[:stored] if is_coded and any(allowed) else allowed.ljust(stored, b"\0")
        new = [a & ~b & 0xFF for a, b in zip(bits, self.fuses.raw(block.id, stored), strict=True)]
        if not any(new):
            return
        if self.power.count(Event.BURN):
            self.fuses.copy_to(self.fuses.path.with_name(EFUSES_BEFORE_THE_CUT))
            # the controller burns from the first bit on: the second half of those that are due stays as it was
            due = [(index, bit) for index, byte in enumerate(new) for bit in range(8) if byte >> bit & 1]
            half = bytearray(stored)
            for index, bit in due[: max(1, len(due) // 2)]:
                half[index] |= 1 << bit
            self.fuses.burn(block.id, bytes(half))
            raise PowerLost
        self.fuses.burn(block.id, bits)

    def reset(self) -> None:
        """Power on: the registers forget what was written to them, an unfinished burn too."""
        self._emulation.clean_mem()
        self.load()

    def load(self) -> None:
        """The read command: fills the registers from the fuses and applies read protection."""
        emulation = self._emulation
        for address in self._shown:
            emulation.write_reg(address, 0)
        for block in self._blocks:
            if self.has_reed_solomon and block.id:
                content = self.fuses.decoded(block.id)
                self._show_errors(block.id, content.corrected, content.failed)
                data = content.data
            else:
                data = self.fuses.raw(block.id, _data_bytes(block))
                if block.id and self.field("CODING_SCHEME") == _THREE_QUARTERS:
                    data = b"".join(data[at : at + 6] for at in range(0, DATA_BYTES, 8))  # two check bytes in eight
            data = data[: block.len * 4]
            for offset in range(0, len(data), 4):
                emulation.update_reg(
                    block.rd_addr + offset, 0xFFFFFFFF, int.from_bytes(data[offset : offset + 4], "little")
                )
        emulation.check_rd_protection_area()

    def layout(self) -> dict[str, Any]:
        """Where everything is, as espefuse knows it: fields, key blocks, and the names of key purposes."""
        fields = importlib.import_module(f"espefuse.efuse.{self.chip}.fields")
        purposes = getattr(fields, "EfuseKeyPurposeField", None)
        return {
            "fields": {name: vars(place) for name, place in sorted(self.places.items())},
            "blocks": [_attributes(block) for block in self._blocks],
            "key_purposes": {item[0]: item[1] for item in purposes.KEY_PURPOSES} if purposes else {},
        }

    def program(self, number: int | None) -> None:
        """The burn command: for one block, or for all of an esp32."""
        for block in reversed(self._blocks):
            if number is None or block.id == number:
                self.burn(block)

    def _allowed(self, block: Any, data: bytes) -> bytes:
        bits = self._emulation.read_block(block.id)  # of the right type and length
        bits.overwrite("0x" + data[::-1].hex(), 0)
        allowed: bytes = self._emulation.check_wr_protection_area(block.id, bits).bytes[::-1]
        return allowed

    def _show_errors(self, block: int, corrected: int, failed: bool) -> None:
        regs = self._emulation.REGS
        if hasattr(regs, "BLOCK_ERRORS"):
            count_register, mask, offset, fail_bit = regs.BLOCK_ERRORS[block]
            fail_register = count_register
        else:
            count_register, mask, offset = regs.BLOCK_NUM_ERRORS[block]
            fail_register, fail_bit = regs.BLOCK_FAIL_BIT[block]
        if mask is not None and corrected:
            self._emulation.update_reg(count_register, 0xFFFFFFFF, min(corrected, mask) << offset)
        if fail_bit is not None and failed:
            self._emulation.update_reg(fail_register, 0xFFFFFFFF, 1 << fail_bit)

    def _is_unlocked(self, command: int) -> bool:
        opcode = int(self._emulation.read_reg(self._conf)) & 0xFFFF
        return opcode == _OPCODES.get(command & (_READ | _BURN))


def _data_bytes(block: Any) -> int:
    """Bytes that are burned at once, check bytes not counted; only BLOCK0 of the ESP32-S31 has more than 32."""
    return max(DATA_BYTES, int(block.len) * 4)


def _attributes(block: Any) -> dict[str, Any]:
    """espefuse's description of a block: a named tuple in version 4, an object later."""
    return dict(block._asdict() if hasattr(block, "_asdict") else vars(block))


def _crc8(data: bytes) -> int:
    """The check byte of an esp32's MAC address: polynomial 0x8C, reflected (ESP32 TRM, chapter "eFuse Controller")."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


class _Emulation:
    """Takes the place of espefuse's memory: burning and reading go to the fuses."""

    controller: EfuseController

    def copy_blocks_wr_regs_to_rd_regs(self, updated_block: int | None = None) -> None:
        """espefuse's name for the burn command; of an esp32 also for the read command, which burns nothing."""
        if self.controller.has_reed_solomon:
            self.controller.program(updated_block)

    def read_raw_coding_scheme(self) -> int:
        """Of an esp32: none, whatever is burned; the controller decodes the blocks before it shows them."""
        return 0

    def save_to_file(self) -> None:
        """The fuses keep themselves."""
