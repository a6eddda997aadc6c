# SPDX-License-Identifier: Apache-2.0
"""A provisioned virtual chip in the hand of somebody who can change any bit of its eFuses and its flash."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import reedsolo
from support.matrix_cells import Made
from support.matrix_tools import run

from secure_ext.formats.flash_encryption import (
    FlashEncryptionScheme,
    decrypt,
    encrypt,
    flash_encryption_key,
    pad_to_unit,
)
from secure_ext.prove.virtual_chip.process import ChipOptions, ChipProcess

_CODEC = reedsolo.RSCodec(12)


@dataclass(frozen=True)
class Silicon:
    """A chip's state, what it was when it was new, and the bundle that made it; the methods give changed copies."""

    made: Made
    blocks: dict[int, bytes]
    new: str
    layout: dict[str, Any]
    flash: bytes

    @property
    def chip(self) -> str:
        return self.made.cell.chip

    @property
    def images(self) -> dict[str, dict[str, Any]]:
        """The manifest's images by name."""
        manifest = json.loads((self.made.folder / "manifest.json").read_text(encoding="utf-8"))
        return {image["name"]: image for image in manifest["images"]}

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The eFuse steps of the plan."""
        plan = json.loads((self.made.folder / "plan.json").read_text(encoding="utf-8"))
        return [step for step in plan["steps"] if step["kind"] in ("burn_key", "burn_field", "write_protect")]

    def store(self, folder: Path) -> Path:
        """Writes the files of the state; the folder may be used again."""
        folder.mkdir(exist_ok=True)
        hexadecimal = {str(number): block.hex() for number, block in self.blocks.items()}
        (folder / "efuses.json").write_text(json.dumps(hexadecimal), encoding="ascii")
        (folder / "efuses_of_the_new_chip.json").write_text(self.new, encoding="ascii")
        (folder / "efuse_layout.json").write_text(json.dumps(self.layout), encoding="ascii")
        flash = folder / "flash.bin"
        if not flash.exists() or flash.read_bytes() != self.flash:
            flash.write_bytes(self.flash)
        return folder

    # ---- eFuses ----

    def with_raw_flip(self, block: int, bit: int) -> Silicon:
        """One bit of a block as it is burned, check bytes included."""
        raw = bytearray(self.blocks.get(block, bytes(32)).ljust(bit // 8 + 1, b"\0"))
        raw[bit // 8] ^= 1 << bit % 8
        return replace(self, blocks={**self.blocks, block: bytes(raw)})

    def with_data(self, block: int, data: bytes) -> Silicon:
        """Other data in a block, with check bytes that fit."""
        is_coded = self.chip != "esp32" and block > 0
        raw = bytes(_CODEC.encode(data)) if is_coded else data
        return replace(self, blocks={**self.blocks, block: raw})

    def with_flip(self, block: int, bit: int) -> Silicon:
        """One bit of a block's data, with check bytes that fit."""
        data = bytearray(self.data(block))
        data[bit // 8] ^= 1 << bit % 8
        return self.with_data(block, bytes(data))

    def with_field(self, name: str, value: int) -> Silicon:
        """Another value in a field."""
        place = self.layout["fields"][name]
        mask = ((1 << place["bits"]) - 1) << place["start"]
        content = int.from_bytes(self.data(place["block"]), "little") & ~mask | value << place["start"]
        return self.with_data(place["block"], content.to_bytes(len(self.data(place["block"])), "little"))

    def with_more(self, name: str, bits: list[int]) -> Silicon:
        """More bits burned in a field."""
        return self.with_field(name, self.field(name) | sum(1 << bit for bit in bits))

    def field(self, name: str) -> int:
        place: dict[str, int] = self.layout["fields"][name]
        content = int.from_bytes(self.data(place["block"]), "little")
        return content >> place["start"] & ((1 << place["bits"]) - 1)

    def data(self, block: int) -> bytes:
        """32 bytes, and more of the one block that has more: BLOCK0 of the esp32s31."""
        words = next(item["len"] for item in self.layout["blocks"] if item["id"] == block)
        size = max(32, 4 * words)
        return self.blocks.get(block, b"")[:size].ljust(size, b"\0")

    # ---- flash ----

    def with_bytes(self, offset: int, content: bytes) -> Silicon:
        """Other bytes in flash, as they are."""
        return replace(self, flash=self.flash[:offset] + content + self.flash[offset + len(content) :])

    def with_flash_flip(self, offset: int, bit: int = 0) -> Silicon:
        return self.with_bytes(offset, bytes([self.flash[offset] ^ 1 << bit]))

    def stored(self, name: str) -> bytes:
        """What the flash holds of an image."""
        image = self.images[name]
        return self.flash[image["offset"] : image["offset"] + image["size"]]

    def plain(self, name: str) -> bytes:
        """What the firmware reads of an image: its source, and what signing and padding added."""
        image = self.images[name]
        stored = self.stored(name)
        return self._decrypted(stored, image["offset"]) if image["encrypted"] else stored

    def with_plain(self, name: str, content: bytes) -> Silicon:
        """Another image, encrypted for its place if it is encrypted."""
        image = self.images[name]
        return self.with_bytes(
            image["offset"], self.encrypted(content, image["offset"]) if image["encrypted"] else content
        )

    def encrypted(self, content: bytes, offset: int) -> bytes:
        """Content as this chip decrypts it at `offset`."""
        key = flash_encryption_key(self._scheme, self._key)
        return encrypt(pad_to_unit(content, self._scheme), key=key, flash_offset=offset, workers=1)

    def _decrypted(self, content: bytes, offset: int) -> bytes:
        key = flash_encryption_key(self._scheme, self._key)
        return decrypt(pad_to_unit(content, self._scheme), key=key, flash_offset=offset, workers=1)[: len(content)]

    @property
    def _scheme(self) -> FlashEncryptionScheme:
        return FlashEncryptionScheme.ESP32 if self.chip == "esp32" else FlashEncryptionScheme.XTS

    @property
    def _key(self) -> bytes:
        keys = self.made.folder / "keys"
        halves = [keys / f"flash_encryption_key_half_{number}.bin" for number in (1, 2)]
        parts = halves if halves[0].exists() else [keys / "flash_encryption_key.bin"]
        return b"".join(part.read_bytes() for part in parts)


def provision(made: Made, folder: Path) -> Silicon:
    """A new virtual chip, provisioned by the bundle's own script through the real esptool and espefuse."""
    with new_chip(made, folder) as chip:
        line = [sys.executable, str(made.folder / "provision.py"), "--port", chip.url, "--yes"]
        done = run([*line, "--journal", str(folder.with_suffix(".journal"))])
        assert done.exit_code == 0, done.output
    return read(made, folder)


def burn_by_hand(made: Made, folder: Path) -> Silicon:
    """The same chip in a second: the plan's eFuses burned and the images written with no tool at all."""
    with new_chip(made, folder):
        pass
    silicon = read(made, folder)
    for step in silicon.steps:
        if step["kind"] == "burn_field":
            silicon = silicon.with_field(step["field"], step["value"])
        elif step["kind"] == "write_protect":
            silicon = silicon.with_more("WR_DIS", [step["wr_dis_bit"]])
        else:
            key = (made.folder / step["file"]).read_bytes()[: step["length"]]
            key = key[::-1] if step["reversed"] else key
            data = silicon.data(step["block_number"])
            whole = {"whole": key, "low": key + data[16:], "high": data[:16] + key}[step["part"]]
            silicon = silicon.with_data(step["block_number"], whole)
            silicon = silicon.with_more("WR_DIS", step["wr_dis_bits"]).with_more("RD_DIS", step["rd_dis_bits"])
            if step["purpose_field"]:
                number = silicon.layout["key_purposes"][step["purpose"]]
                silicon = silicon.with_field(step["purpose_field"], number)
    for image in silicon.images.values():
        silicon = silicon.with_bytes(image["offset"], (made.folder / image["file"]).read_bytes())
    return silicon


def new_chip(made: Made, folder: Path) -> ChipProcess:
    """A virtual chip of the least revision that the plan is for, with the flash that the build is for."""
    plan = json.loads((made.folder / "plan.json").read_text(encoding="utf-8"))
    manifest = json.loads((made.folder / "manifest.json").read_text(encoding="utf-8"))
    size = max(0x400000, manifest["flash_size"] or 0)
    bits = tuple((int(block.removeprefix("BLOCK")), tuple(numbers)) for block, numbers in plan["virtual_revision_bits"])
    return ChipProcess(ChipOptions(made.cell.chip, flash_size=size, bits=bits), folder)


def read(made: Made, folder: Path) -> Silicon:
    """The state of a chip in a folder."""
    efuses = json.loads((folder / "efuses.json").read_text(encoding="ascii"))
    layout = json.loads((folder / "efuse_layout.json").read_text(encoding="ascii"))
    blocks = {int(number): bytes.fromhex(block) for number, block in efuses.items()}
    new = (folder / "efuses_of_the_new_chip.json").read_text(encoding="ascii")
    return Silicon(made, blocks, new, layout, (folder / "flash.bin").read_bytes())


def key_blocks(silicon: Silicon) -> Iterable[dict[str, Any]]:
    """The steps that burn keys and digests."""
    return (step for step in silicon.steps if step["kind"] == "burn_key")
