# SPDX-License-Identifier: Apache-2.0
"""Every chip with every set of features: espsecure reads the images back, ESP-IDF would call the chip's eFuses right.

What is expected is stated here and in `release_oracle`, from ESP-IDF's own code, and never taken from the plan.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import ENCRYPTED, QUICK, Bundles, Cell, Made, all_cells
from support.matrix_tools import espefuse, espsecure, esptool_version, provision, read_efuses
from support.release_oracle import Efuses, Wanted, not_development, not_release

from secure_ext.errors import ToolError

SECTOR = 0x1000
BLOCK = {"esp32": 32}
"""What plaintext is filled up to before it is encrypted; 16 elsewhere."""

PARAMETERS = [
    pytest.param(cell, id=str(cell), marks=[] if cell in QUICK else [pytest.mark.long]) for cell in all_cells()
]


def is_beyond_this_esptool(cell: Cell, bundles: Bundles) -> bool:
    """True with an esptool too old for the cell; that the package refuses it is all there is to prove then."""
    if esptool_version() >= cell.needs_esptool:
        return False
    with pytest.raises(ToolError) as refused:
        bundles(cell)
    assert refused.value.code in ("SE190", "SE201", "SE203")  # 190: not even the sample can be made
    return True


@pytest.mark.parametrize("cell", PARAMETERS)
def test_espsecure_reads_every_image_back(cell: Cell, bundles: Bundles, tmp_path: Path) -> None:
    """What the firmware decrypts is encrypted for its address, the rest is plain, and the signatures are good."""
    if is_beyond_this_esptool(cell, bundles):
        return
    made = bundles(cell)
    images = json.loads((made.folder / "manifest.json").read_text())["images"]
    encrypted = {name: covered and cell.has_flash_encryption for name, covered in ENCRYPTED.items()}
    assert {image["name"]: image["encrypted"] for image in images} == encrypted
    plain = {image["name"]: tmp_path / (image["name"] + ".bin") for image in images}
    commands = []
    for image in images:
        if encrypted[image["name"]]:
            commands.append(decrypt_command(made, image, plain[image["name"]]))
        else:
            plain[image["name"]].write_bytes((made.folder / image["file"]).read_bytes())
    commands += [
        ["verify-signature", "--version", "2", "--keyfile", str(key), str(plain[name])]
        for key in keys_espsecure_can_check(made)
        for name in ("bootloader", "sample")
    ]
    if commands:
        done = espsecure(*commands)
        assert done.exit_code == 0, done.output
    for image in images:
        expect_content(made, image, plain[image["name"]].read_bytes())


def decrypt_command(made: Made, image: dict[str, Any], output: Path) -> list[str]:
    key = made.folder / "keys" / "flash_encryption_key.bin"
    words = ["decrypt-flash-data", "--keyfile", str(key), "--address", hex(image["offset"]), "--output", str(output)]
    return [*words, *([] if made.cell.chip == "esp32" else ["--aes-xts"]), str(made.folder / image["file"])]


def keys_espsecure_can_check(made: Made) -> tuple[Path, ...]:
    """All; espsecure 4 looks at the first of several ECDSA signatures only."""
    first_only = esptool_version() < (5, 0) and made.cell.signature_scheme != "rsa3072"
    return made.signing_keys[:1] if first_only else made.signing_keys


def expect_content(made: Made, image: dict[str, Any], content: bytes) -> None:
    """The built file byte for byte, then nothing but 0xFF up to the signature sector or the end."""
    source = (made.build / image["source"]).read_bytes()
    end = len(content)
    if image["name"] in ("bootloader", "sample") and made.cell.has_secure_boot:
        end = -(-len(source) // SECTOR) * SECTOR
        assert len(content) == end + SECTOR
    elif image["name"] == "fat" and made.cell.has_flash_encryption:
        assert end == 0x10000  # a file system expects erased flash up to the end of its partition
    elif image["encrypted"]:
        block = BLOCK.get(made.cell.chip, 16)
        assert end == -(-len(source) // block) * block
    else:
        assert end == len(source)
    assert content[:end] == source.ljust(end, b"\xff")


@pytest.mark.parametrize("cell", PARAMETERS)
def test_the_script_provisions_a_blank_chip(cell: Cell, bundles: Bundles, tmp_path: Path) -> None:
    """One run makes the chip what ESP-IDF calls release (or development) mode; the next finds nothing to do."""
    if is_beyond_this_esptool(cell, bundles):
        return
    made = bundles(cell)
    chip_file = tmp_path / "chip.bin"
    first = provision(made.folder, chip_file)
    assert first.exit_code == 0, first.output
    burned = chip_file.read_bytes()
    efuses = read_efuses(cell.chip, chip_file)
    check = not_development if cell.features == "development" else not_release
    assert check(cell.chip, efuses, made.wanted) == []
    again = provision(made.folder, chip_file)
    assert again.exit_code == 0, again.output
    assert "Nothing to do" in again.output
    assert chip_file.read_bytes() == burned
    if cell.features != "development":
        missed = [change for change, worse in spoiled(efuses) if not not_release(cell.chip, worse, made.wanted)]
        assert missed == [], "the oracle has to notice each of these"


def spoiled(efuses: Efuses) -> Iterator[tuple[str, Efuses]]:
    """The chip with one of its fields not burned, one of its protections missing, or one byte of a digest changed."""
    not_asked_for = {"WR_DIS", "RD_DIS", "SOFT_DIS_JTAG", "SPI_DOWNLOAD_MSPI_DIS"}
    identity = ("WAFER_", "CHIP_", "BLOCK")
    for name, value in efuses.values.items():
        if value and name not in not_asked_for and not name.startswith(identity):
            words = {**efuses.words, name: "USER"} if name.startswith("KEY_PURPOSE") else efuses.words
            yield f"{name} = 0", dataclasses.replace(efuses, values={**efuses.values, name: 0}, words=words)
    for name in sorted(efuses.locked):
        used_purpose = re.fullmatch(r"KEY_PURPOSE_\d", name) and efuses.words[name] != "USER"
        if used_purpose or name in ("RD_DIS", "BLOCK1", "BLOCK2", "BLOCK_KEY0"):
            halves = {other for other in efuses.locked if other.startswith(name)}
            yield f"{name} writable", dataclasses.replace(efuses, locked=efuses.locked - halves)
    for name in sorted(efuses.hidden):
        if efuses.words.get(name.replace("BLOCK_KEY", "KEY_PURPOSE_"), "used") != "USER" and name != "BLOCK_KEY0":
            yield f"{name} readable", dataclasses.replace(efuses, hidden=efuses.hidden - {name})


@pytest.mark.parametrize("chip", ["esp32", "esp32c2", "esp32c6"])
def test_a_blank_chip_is_not_in_release_mode(chip: str, tmp_path: Path) -> None:
    """The oracle names what is missing, one by one."""
    chip_file = tmp_path / "chip.bin"
    espefuse(chip, chip_file, "dump")
    efuses = read_efuses(chip, chip_file)
    wanted = Wanted(0, flash_encryption=True, digests=(bytes(range(32)),), hmac_block=5 if chip == "esp32c6" else None)
    unmet = not_release(chip, efuses, wanted)
    assert len(unmet) > 12
    assert {"flash encryption is on", "RD_DIS is write-protected"} <= set(unmet)
