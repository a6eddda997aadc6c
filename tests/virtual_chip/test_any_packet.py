# SPDX-License-Identifier: Apache-2.0
"""Whatever packet it gets, the ROM loader answers or is silent; only a correct burn changes eFuses."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from loader_client import BURN_OPCODE, Registers, checksum, command_packet, data_block, registers_of

from secure_ext.prove.virtual_chip.efuse_controller import EfuseController
from secure_ext.prove.virtual_chip.flash import Flash
from secure_ext.prove.virtual_chip.fuses import Fuses
from secure_ext.prove.virtual_chip.power import Power
from secure_ext.prove.virtual_chip.rom_loader import RomLoader
from secure_ext.prove.virtual_chip.wire_clock import WireClock

FLASH_SIZE = 0x10000
KEY = bytes(range(1, 33))
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHIPS = pytest.mark.parametrize("chip", ["esp32", "esp32c3", pytest.param("esp32p4", marks=pytest.mark.long)])

WORDS = st.sampled_from([0, 1, 4, 64, 0x1000, FLASH_SIZE - 1, FLASH_SIZE, 0x7FFFFFFF, 0xFFFFFFFF]) | st.integers(
    0, 0xFFFFFFFF
)
WORD_DATA = st.lists(WORDS, max_size=6).map(lambda words: struct.pack(f"<{len(words)}I", *words))
BLOCKS = st.binary(max_size=80).map(data_block)
DATA = st.binary(max_size=64) | WORD_DATA | BLOCKS
KNOWN = st.sampled_from([*range(0x02, 0x15), 0xD0, 0xD1, 0xD2])


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Mostly well-formed; some with a wrong size or checksum, some cut short, some mere noise."""
    command, data = draw(KNOWN | st.integers(0, 255)), draw(DATA)
    check = checksum(data[16:]) if draw(st.booleans()) else draw(WORDS)
    packet = command_packet(command, data, check)
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return packet[: draw(st.integers(0, len(packet)))]
    return draw(st.binary(max_size=40)) if kind == 1 else packet


@functools.cache
def controller(chip: str) -> EfuseController:
    """Made once, for that takes a while; its fuses are exchanged."""
    return EfuseController(chip, Fuses(Path("never-written")), Power(None, None))


class Chip:
    """A chip without its process, and what must never change."""

    def __init__(self, chip: str, folder: Path) -> None:
        self.fuse_file = folder / "efuses.json"
        self.flash_file = folder / "flash.bin"
        self.fuse_file.unlink(missing_ok=True)
        self.flash_file.unlink(missing_ok=True)
        self.flash = Flash(self.flash_file, FLASH_SIZE)
        efuses = controller(chip)
        efuses.fuses = Fuses(self.fuse_file)
        self.loader = RomLoader(chip, efuses, self.flash, efuses.power, WireClock(folder))
        self.loader.reset()

    def start_stub(self) -> None:
        """As esptool does."""
        self.loader.answer(command_packet(0x07, data_block(b"code"), checksum(b"code")))
        assert b"OHAI" in self.loader.answer(command_packet(0x06, struct.pack("<II", 0, 0x40000000)))

    def check(self, sent: list[bytes]) -> None:
        """Sends the packets; nothing may be raised, and flash keeps its size."""
        for packet in sent:
            for answer in self.loader.answer(packet):
                assert isinstance(answer, bytes)
        assert len(self.flash.content) == self.flash_file.stat().st_size == FLASH_SIZE
        self.flash.close()


@pytest.fixture
def make(chip: str, tmp_path: Path) -> Callable[[], Chip]:
    return lambda: Chip(chip, tmp_path)


@CHIPS
@FEW
@given(sent=st.lists(packets(), max_size=25), is_stub=st.booleans())
@example(sent=[command_packet(command, bytes(size)) for command in range(256) for size in (0, 1, 15, 16)], is_stub=True)
def test_no_packet_breaks_it_or_burns(sent: list[bytes], is_stub: bool, make: Callable[[], Chip]) -> None:
    """With the ROM loader and with the stub."""
    chip = make()
    if is_stub:
        chip.start_stub()
    chip.check(sent)
    assert not chip.fuse_file.exists()


def register_writes(registers: Registers) -> st.SearchStrategy[tuple[int, int]]:
    """Writes around the eFuse controller: its data, its commands, and what shows the fuses."""
    ends = [start + 4 * word for start in {*registers.write.values(), *registers.read.values()} for word in range(8)]
    values = st.sampled_from([0, 1, 2, 3, 6, 2 | 4 << 2, 2 | 15 << 2, 0x5AA5]) | st.integers(0, 0xFFFFFFFF)
    # whatever is written there, it is not the opcode that unlocks burning
    unlocking = values.filter(lambda value: value & 0xFFFF != BURN_OPCODE)
    anywhere = st.sampled_from([*ends, registers.conf, registers.command])
    return st.tuples(anywhere | st.integers(registers.conf - 0x200, registers.conf + 0x100), unlocking)


@CHIPS
@FEW
@given(data=st.data())
def test_no_register_write_burns_without_the_opcode(chip: str, data: st.DataObject, make: Callable[[], Chip]) -> None:
    writes = data.draw(st.lists(register_writes(registers_of(chip)), max_size=40))
    board = make()
    board.check([command_packet(0x09, struct.pack("<IIII", *write, 0xFFFFFFFF, 0)) for write in writes])
    assert not board.fuse_file.exists()


@CHIPS
@FEW
@given(data=st.data())
def test_any_burn_only_sets_bits(chip: str, data: st.DataObject, make: Callable[[], Chip]) -> None:
    """Random blocks with random content, one after the other, over what is there and locked by then."""
    registers = registers_of(chip)
    board = make()
    blocks = st.sampled_from(sorted(registers.write))
    before: dict[int, int] = {}
    sent = []
    for _ in range(data.draw(st.integers(1, 5))):
        content = data.draw(st.binary(min_size=32, max_size=44 if registers.has_reed_solomon else 32))
        content = content[: len(content) // 4 * 4]
        for write in registers.burn(data.draw(blocks), content):
            packet = command_packet(0x09, struct.pack("<IIII", *write, 0xFFFFFFFF, 0))
            board.loader.answer(packet)
            sent.append(packet)
        after = {block: int.from_bytes(Fuses(board.fuse_file).raw(block, 44), "little") for block in registers.write}
        assert all(after[block] & old == old for block, old in before.items())
        before = after
    board.check([command_packet(0x0A, struct.pack("<I", address)) for address in registers.read.values()])


@pytest.mark.parametrize("chip", ["esp32"])
@pytest.mark.parametrize("scheme", [1, 2, 3])
def test_an_esp32_with_a_coding_scheme_goes_on(chip: str, scheme: int, make: Callable[[], Chip]) -> None:
    """With 3/4 two bytes of eight are check bytes, which the controller does not show."""
    board = make()
    registers = registers_of(chip)
    writes = registers.burn(0, bytes(24) + bytes([scheme]) + bytes(7)) + registers.burn(3, KEY)
    for write in writes:
        board.loader.answer(command_packet(0x09, struct.pack("<IIII", *write, 0xFFFFFFFF, 0)))
    shown = b"".join(board.loader.efuses.read(registers.read[3] + at).to_bytes(4, "little") for at in range(0, 32, 4))
    coded = KEY[:6] + KEY[8:14] + KEY[16:22] + KEY[24:30] + bytes(8)
    assert shown == (coded if scheme == 1 else KEY)


@CHIPS
def test_the_right_sequence_burns(chip: str, make: Callable[[], Chip]) -> None:
    """So that the tests above could fail."""
    board = make()
    registers = registers_of(chip)
    board.check([command_packet(0x09, struct.pack("<IIII", *write, 0xFFFFFFFF, 0)) for write in registers.burn(2, KEY)])
    assert Fuses(board.fuse_file).raw(2, 32)[:32] == KEY
