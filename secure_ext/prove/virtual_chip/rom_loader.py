# SPDX-License-Identifier: Apache-2.0
"""The ROM loader's commands, and those of esptool's flasher stub once a program was started in RAM.

The chip has no processor: any program that is loaded and started is taken for the stub of esptool, which answers a
little differently (two status bytes, binary MD5) and can do more. See esptool's documentation, "Serial Protocol".
"""

from __future__ import annotations

import hashlib
import importlib
import struct
import zlib
from typing import Any

from secure_ext.prove.virtual_chip.efuse_controller import EfuseController
from secure_ext.prove.virtual_chip.encrypted_write import as_the_chip_encrypts
from secure_ext.prove.virtual_chip.flash import SECTOR, Flash
from secure_ext.prove.virtual_chip.flash_power import has_flash_power
from secure_ext.prove.virtual_chip.packets import BAD_COMMAND, FAILED, Refused, packet, payload_of
from secure_ext.prove.virtual_chip.power import Event, Power, PowerLost
from secure_ext.prove.virtual_chip.rom_session import FlashRead, FlashWrite, Session
from secure_ext.prove.virtual_chip.security_info import security_info
from secure_ext.prove.virtual_chip.wire_clock import WireClock
from secure_ext.station.chip_facts import FACTS

SYNC = b"\x07\x07\x12\x20" + b"\x55" * 32
_MAX_MEMORY_WORDS = 4096
_MOST_BLOCKS_AHEAD = 64
_ALLOWED_IN_SECURE_DOWNLOAD = {0x02, 0x03, 0x04, 0x08, 0x0B, 0x0D, 0x0F, 0x10, 0x11, 0x12, 0x14}
_READ_FLASH_SLOW = 0x0E
_FRAME = 2
"""Bytes that SLIP adds to a packet without escapes."""
_CONFIRMATION = 0xFF
"""Stands for what is no command: the confirmations of a flash read, and noise."""
_SPI_START = 1 << 18
_RDID = 0x9F


class Unknown(Exception):
    """The loader does not know the command, or does not allow it."""


class RomLoader:
    """Answers one command after the other.

    Args:
        chip: target name, such as ``esp32c3``.
        efuses: the chip's eFuse controller.
        flash: the chip's flash.
        power: what counts and cuts.
        clock: how long a real board would take.
    """

    def __init__(self, chip: str, efuses: EfuseController, flash: Flash, power: Power, clock: WireClock) -> None:
        # addresses of registers, from esptool's own description of the chip (GPL-2.0-or-later, in this process only)
        self._target: Any = importlib.import_module("esptool.targets").CHIP_DEFS[chip]
        # in esptool 4.8 a list, and for every chip
        magic = getattr(self._target, "MAGIC_VALUE", None) or getattr(self._target, "CHIP_DETECT_MAGIC_VALUE", [0])[0]
        self._magic = int(magic)
        self.chip = chip
        self.efuses = efuses
        self.flash = flash
        self.power = power
        self.clock = clock
        self._session = Session()

    def reset(self) -> None:
        """Power on, in download mode if the eFuses allow it."""
        self._session = Session()
        self.efuses.reset()
        is_eco3 = self.efuses.field("CHIP_VER_REV1") and self.efuses.field("CHIP_VER_REV2")
        if is_eco3 and self.efuses.field("UART_DOWNLOAD_DIS"):
            self._session.is_running = True  # an esp32 looks when it starts, and only since v3.0

    @property
    def is_silent(self) -> bool:
        """Whether nothing is answered: the download mode is disabled, or the chip has left it."""
        return bool(self.efuses.field("DIS_DOWNLOAD_MODE")) or self._session.is_running

    @property
    def is_secure_download(self) -> bool:
        """Whether only the few commands of secure download mode are answered."""
        return bool(self.efuses.field("ENABLE_SECURITY_DOWNLOAD"))

    def answer(self, request: bytes) -> list[bytes]:
        """The packets that answer a packet; none to noise. Raises PowerLost."""
        baud = self._session.baud
        packets = self._answer(request)
        sizes = [len(each) + _FRAME for each in (request, *packets)]
        command = request[1] if len(request) >= 8 else _CONFIRMATION
        self.clock.exchanged(command, sizes[0], sum(sizes[1:]), baud, burns=self._session.burns)
        return packets

    def _answer(self, request: bytes) -> list[bytes]:
        if self._session.read and len(request) == 4:
            return self._send_on(self._session.read, int.from_bytes(request, "little"))
        if len(request) < 8 or self.is_silent:
            return []
        direction, command, size, checksum = struct.unpack_from("<BBHI", request)
        data = request[8:]
        if direction != 0 or size != len(data):
            return []
        if command == 0x08 and data == SYNC:
            return [packet(0x08, 0 if self._session.is_stub else 0x20120707, b"", self._status(0))] * 8
        if self._is_led_astray(command, data):
            self._session.is_stub = True
            return [b"OHAI"]
        try:
            value, result = self._act(command, data, checksum)
        except Unknown:
            return [packet(0, 0, b"", self._status(BAD_COMMAND))]
        except Refused as refused:
            return [packet(command, 0, b"", self._status(refused.reason))]
        packets = [packet(command, value, result, self._status(0))]
        if self._session.has_program and self._starts_program(command, data):
            self._session.is_stub = True
            packets.append(b"OHAI")
        if command == 0xD2 and self._session.read:
            packets += self._send_on(self._session.read, 0)
        return packets

    def _starts_program(self, command: int, data: bytes) -> bool:
        return not self._session.is_stub and command == 0x06 and len(data) >= 8 and data[4:8] != bytes(4)

    def _is_led_astray(self, command: int, data: bytes) -> bool:
        """How esptool starts its stub on an ESP32-S3 with secure boot: through a flash read, which never ends."""
        session = self._session
        return session.has_program and not session.is_stub and command == _READ_FLASH_SLOW and data == bytes(8)

    def _status(self, reason: int) -> bytes:
        return bytes([1 if reason else 0, reason]) + (b"" if self._session.is_stub else b"\0\0")

    def _act(self, command: int, data: bytes, checksum: int) -> tuple[int, bytes]:
        if self.is_secure_download and command not in _ALLOWED_IN_SECURE_DOWNLOAD:
            raise Unknown
        action = _ACTIONS.get(command)
        stub_only = command >= 0xD0
        if (
            action is None
            or (stub_only and not self._session.is_stub)
            or (command == 0x14 and not FACTS[self.chip].secure_download_mode)
        ):
            raise Unknown
        try:
            result: tuple[int, bytes] = action(self, data, checksum)
        except (struct.error, ValueError, IndexError, zlib.error):
            raise Refused(FAILED) from None
        if self.is_secure_download and command not in _ALLOWED_IN_SECURE_DOWNLOAD:
            raise Refused(BAD_COMMAND)  # the command itself has closed the chip, and the ROM looks again after it
        return result

    # ---- registers ----

    def _read_register(self, data: bytes, _: int) -> tuple[int, bytes]:
        (address,) = struct.unpack("<I", data)
        return self._register(address), b""

    def _register(self, address: int) -> int:
        target = self._target
        if self.efuses.base <= address < self.efuses.end:
            return self.efuses.read(address)
        if address == target.CHIP_DETECT_MAGIC_REG_ADDR:
            return self._magic
        if address == target.UART_CLKDIV_REG:
            return int(self.efuses.crystal_mhz * 1_000_000 * target.XTAL_CLK_DIVIDER // self._session.baud)
        if address == getattr(target, "APB_CTL_DATE_ADDR", None):
            return 1 << 31 if self.efuses.field("CHIP_VER_REV2") else 0
        if address == getattr(target, "PCR_SYSCLK_CONF_REG", None):
            return int(self.efuses.crystal_mhz << target.PCR_SYSCLK_XTAL_FREQ_S)
        return self._session.registers.get(address, 0)

    def _write_registers(self, data: bytes, _: int) -> tuple[int, bytes]:
        for address, value, mask, _delay in struct.iter_unpack("<IIII", data):
            self._store(address, self._register(address) & ~mask | value & mask if mask != 0xFFFFFFFF else value)
        return 0, b""

    def _store(self, address: int, value: int) -> None:
        if self.efuses.base <= address < self.efuses.end:
            burned = self.power.counts[Event.BURN]
            self.efuses.write(address, value)
            self._session.burns = True
            if self.power.counts[Event.BURN] > burned:
                self.clock.burned()
            return
        registers = self._session.registers
        if address not in registers and len(registers) >= _MAX_MEMORY_WORDS:
            raise Refused(FAILED)
        registers[address] = value
        if address == self._target.SPI_REG_BASE and value & _SPI_START:
            self._spi_command()

    def _spi_command(self) -> None:
        """A command of one's own to the flash chip, through the SPI controller's registers; RDID is the one known."""
        registers, target = self._session.registers, self._target
        opcode = registers.get(target.SPI_REG_BASE + target.SPI_USR2_OFFS, 0) & 0xFF
        answers = opcode == _RDID and has_flash_power(self.chip, self.efuses, registers)
        registers[target.SPI_REG_BASE + target.SPI_W0_OFFS] = self.flash.jedec_id if answers else 0
        registers[target.SPI_REG_BASE] = 0

    def _security_info(self, _: bytes, __: int) -> tuple[int, bytes]:
        return 0, security_info(self.chip, self._target.IMAGE_CHIP_ID, self.efuses)

    # ---- programs in RAM: taken, and not run ----

    def _memory_begin(self, data: bytes, _: int) -> tuple[int, bytes]:
        struct.unpack("<IIII", data)
        return 0, b""

    def _memory_data(self, data: bytes, checksum: int) -> tuple[int, bytes]:
        payload_of(data, checksum)
        self._session.has_program = True
        return 0, b""

    def _memory_end(self, data: bytes, _: int) -> tuple[int, bytes]:
        struct.unpack("<II", data)
        return 0, b""

    # ---- flash ----

    def _attach(self, _: bytes, __: int) -> tuple[int, bytes]:
        self._session.is_attached = True
        return 0, b""

    def _set_parameters(self, data: bytes, _: int) -> tuple[int, bytes]:
        _id, size, *_others = struct.unpack("<IIIIII", data)
        self._session.flash_size = size
        return 0, b""

    def _require_flash(self, offset: int, size: int) -> None:
        """The stub finds out by itself what flash there is; the ROM loader has to be told, after each reset."""
        session = self._session
        known = self.flash.size if session.is_stub else min(session.flash_size, self.flash.size)
        if not has_flash_power(self.chip, self.efuses, self._session.registers):
            raise Refused(FAILED)
        if offset + size > known or not (session.is_stub or session.is_attached):
            raise Refused(FAILED)

    def _change_baud(self, data: bytes, _: int) -> tuple[int, bytes]:
        baud, _old = struct.unpack("<II", data)
        if not 9600 <= baud <= 5_000_000:
            raise Refused(FAILED)
        self._session.baud = baud
        return 0, b""

    def _flash_begin(self, data: bytes, _: int) -> tuple[int, bytes]:
        self._begin(data, None)
        return 0, b""

    def _flash_deflate_begin(self, data: bytes, _: int) -> tuple[int, bytes]:
        self._begin(data, zlib.decompressobj())
        return 0, b""

    def _begin(self, data: bytes, inflate: Any) -> None:
        size, blocks, block_size, offset = struct.unpack_from("<IIII", data)
        encrypts = len(data) > 16 and bool(struct.unpack_from("<I", data, 16)[0])
        self._require_flash(offset, size)
        if size:
            self._erase(offset, size, begins_write=True)
        left = size if inflate else min(blocks * block_size, self.flash.size)
        self._session.write = FlashWrite(offset, left, inflate, encrypts)

    def _erase(self, offset: int, size: int, *, begins_write: bool = False) -> None:
        self._require_flash(offset, size)
        if not (begins_write and self._session.is_stub):
            self.clock.flash_erased(size, is_whole=size == self.flash.size)
        if self.power.count(Event.FLASH):
            self.flash.erase(offset, size // 2 or 1)
            raise PowerLost
        self.flash.erase(offset, size)

    def _flash_data(self, data: bytes, checksum: int) -> tuple[int, bytes]:
        self._program(payload_of(data, checksum))
        return 0, b""

    def _flash_encrypted_data(self, data: bytes, checksum: int) -> tuple[int, bytes]:
        self._session.write.encrypts = True
        return self._flash_data(data, checksum)

    def _flash_deflate_data(self, data: bytes, checksum: int) -> tuple[int, bytes]:
        payload, write = payload_of(data, checksum), self._session.write
        if write.inflate is None:
            raise Refused(FAILED)
        self._program(write.inflate.decompress(payload, write.left + 1))
        return 0, b""

    def _program(self, content: bytes) -> None:
        write = self._session.write
        content = content[: max(self.flash.size - write.offset, 0)] if write.inflate is None else content
        self._require_flash(write.offset, len(content))
        if len(content) > write.left:
            raise Refused(FAILED)
        if write.encrypts:
            content = as_the_chip_encrypts(self.efuses, write.offset, content)
        self.clock.flash_programmed(len(content), is_stub=self._session.is_stub)
        if self.power.count(Event.FLASH):
            self.flash.write(write.offset, content[: len(content) // 2])
            raise PowerLost
        self.flash.write(write.offset, content)
        write.offset += len(content)
        write.left -= len(content)

    def _flash_end(self, data: bytes, _: int) -> tuple[int, bytes]:
        (stay,) = struct.unpack_from("<I", data)
        self._session.write = FlashWrite()
        if not stay:
            self._session.is_running = True
        return 0, b""

    def _flash_md5(self, data: bytes, _: int) -> tuple[int, bytes]:
        offset, size, _a, _b = struct.unpack("<IIII", data)
        self._require_flash(offset, size)
        self.clock.flash_digested(size)
        digest = hashlib.md5(self.flash.read(offset, size), usedforsecurity=False)
        return 0, digest.digest() if self._session.is_stub else digest.hexdigest().encode()

    def _read_flash_slow(self, data: bytes, _: int) -> tuple[int, bytes]:
        offset, size = struct.unpack("<II", data)
        self._require_flash(offset, size)
        return 0, self.flash.read(offset, min(size, 64)).ljust(64, b"\0")

    def _erase_flash(self, _: bytes, __: int) -> tuple[int, bytes]:
        self._erase(0, self.flash.size)
        return 0, b""

    def _erase_region(self, data: bytes, _: int) -> tuple[int, bytes]:
        offset, size = struct.unpack("<II", data)
        if offset % SECTOR or size % SECTOR or not size:
            raise Refused(FAILED)
        self._erase(offset, size)
        return 0, b""

    def _read_flash(self, data: bytes, _: int) -> tuple[int, bytes]:
        offset, size, block_size, blocks_ahead = struct.unpack("<IIII", data)
        if not 0 < block_size <= SECTOR or not blocks_ahead:
            raise Refused(FAILED)
        ahead = block_size * min(blocks_ahead, _MOST_BLOCKS_AHEAD)
        self._session.read = FlashRead(self.flash.read(offset, size), block_size, ahead)
        return 0, b""

    def _send_on(self, read: FlashRead, confirmed: int) -> list[bytes]:
        confirmed = min(confirmed, read.sent)
        packets = []
        while read.sent < min(len(read.content), confirmed + read.ahead):
            packets.append(read.content[read.sent : read.sent + read.block_size])
            read.sent += len(packets[-1])
        if confirmed >= len(read.content):
            packets.append(hashlib.md5(read.content, usedforsecurity=False).digest())
            self._session.read = None
        return packets


_ACTIONS = {
    0x02: RomLoader._flash_begin,
    0x03: RomLoader._flash_data,
    0x04: RomLoader._flash_end,
    0x05: RomLoader._memory_begin,
    0x06: RomLoader._memory_end,
    0x07: RomLoader._memory_data,
    0x09: RomLoader._write_registers,
    0x0A: RomLoader._read_register,
    0x0B: RomLoader._set_parameters,
    0x0D: RomLoader._attach,
    0x0E: RomLoader._read_flash_slow,
    0x0F: RomLoader._change_baud,
    0x10: RomLoader._flash_deflate_begin,
    0x11: RomLoader._flash_deflate_data,
    0x12: RomLoader._flash_end,
    0x13: RomLoader._flash_md5,
    0x14: RomLoader._security_info,
    0xD0: RomLoader._erase_flash,
    0xD1: RomLoader._erase_region,
    0xD2: RomLoader._read_flash,
    0xD4: RomLoader._flash_encrypted_data,
}
