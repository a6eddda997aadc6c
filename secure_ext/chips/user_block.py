# SPDX-License-Identifier: Apache-2.0
"""The eFuse block that a chip leaves to the product: its room and protections, and where a custom MAC address is in it.

Sources: espefuse's tables; ESP-IDF ``components/efuse/<chip>/esp_efuse_table.csv`` (USER_DATA, MAC_CUSTOM).
"""

from __future__ import annotations

from secure_ext.chips.chip import Chip
from secure_ext.chips.mac_address import mac_crc8, mac_fault
from secure_ext.station.frozen import frozen

_WORD = 4
_MAC_VERSION = 1
"""Of an esp32: what says that there is an address."""


@frozen
class UserBlock:
    """The block.

    Attributes:
        name: espefuse's name.
        number: number of the block.
        room: how many bytes of it can be used.
        size: how many bytes ``burn-block-data`` takes, in whole words.
        once: it has check bytes, and is burned in one go.
        wr_dis_bit: bit of WR_DIS that protects it.
        rd_dis_bits: bits of RD_DIS that hide it.
        protected_as: espefuse's name of a field that shares this protection, and is always there.
        mac_start: the first of the six bytes of the address.
        crc_at: the byte of its check byte, on a chip that has one.
        version_at: the byte that says that there is an address, likewise.
        fields_of_others: fields in it that neither a custom MAC address nor user data is: name, first bit, width.
        mac_flag: the field elsewhere that says that there is an address; None where there is none.
    """

    name: str
    number: int
    room: int
    size: int
    once: bool
    wr_dis_bit: int
    rd_dis_bits: tuple[int, ...]
    protected_as: str
    mac_start: int
    crc_at: int | None
    version_at: int | None
    fields_of_others: tuple[tuple[str, int, int], ...]
    mac_flag: str | None

    @property
    def mac_bytes(self) -> tuple[int, ...]:
        """The bytes that a custom MAC address takes."""
        beside = [at for at in (self.crc_at, self.version_at) if at is not None]
        return (*range(self.mac_start, self.mac_start + 6), *beside)

    def with_mac(self, content: bytes, mac: bytes) -> bytes:
        """The content of the block with a custom MAC address."""
        data = bytearray(content)
        data[self.mac_start : self.mac_start + 6] = mac
        if self.crc_at is not None and self.version_at is not None:
            data[self.crc_at], data[self.version_at] = mac_crc8(mac), _MAC_VERSION
        return bytes(data)

    def mac_in(self, content: bytes) -> bytes:
        """The six bytes where the address is."""
        return content[self.mac_start : self.mac_start + 6]

    def has_mac(self, content: bytes) -> bool:
        """Whether the firmware would find an address there, and take it."""
        mac = self.mac_in(content)
        return not mac_fault(mac) and all(content[at] == self.with_mac(content, mac)[at] for at in self.mac_bytes)


def user_block(chip: Chip) -> UserBlock:
    """The block of a chip."""
    number = chip.facts.user_block
    fields = [field for field in chip.efuses.fields.values() if field.block == number]
    mac, crc, version = (chip.efuses.fields.get(name) for name in ("CUSTOM_MAC", "CUSTOM_MAC_CRC", "MAC_VERSION"))
    protected = version or mac
    if mac is None or protected is None or protected.wr_dis_bit is None:
        raise AssertionError(f"espefuse's table gives {chip.name} no custom MAC address")
    room = max(field.start + field.bits for field in fields) // 8
    others = ("ADC1_TP_LOW", "ADC1_TP_HIGH", "ADC2_TP_LOW", "ADC2_TP_HIGH", "SECURE_VERSION")
    return UserBlock(
        name=f"BLOCK{number}",
        number=number,
        room=room,
        size=-(-room // _WORD) * _WORD,
        once=chip.facts.reed_solomon,
        wr_dis_bit=protected.wr_dis_bit,
        rd_dis_bits=tuple(sorted({bit for field in fields for bit in field.rd_dis_bits})),
        protected_as=protected.name,
        mac_start=mac.start // 8,
        crc_at=None if crc is None else crc.start // 8,
        version_at=None if version is None else version.start // 8,
        fields_of_others=tuple((field.name, field.start, field.bits) for field in fields if field.name in others),
        mac_flag="CUSTOM_MAC_USED" if "CUSTOM_MAC_USED" in chip.efuses.fields else None,
    )
