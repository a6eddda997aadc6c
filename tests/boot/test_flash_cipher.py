# SPDX-License-Identifier: Apache-2.0
"""The boot check's decryption is that of espsecure: any key, any offset, both schemes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.matrix_tools import espsecure

from secure_ext.prove.boot_check import flash_cipher

OFFSETS = (0x0, 0x1000, 0x8000, 0x20000, 0x123000, 0x7FF000, 0xABC000)
SIZE = 0x300


def decrypted_by_espsecure(folder: Path, key: bytes, ciphertext: bytes, *options: str) -> list[bytes]:
    """At each offset."""
    (folder / "key").write_bytes(key)
    (folder / "ciphertext").write_bytes(ciphertext)
    done = espsecure(
        *(
            [
                *("decrypt-flash-data", *options, "--keyfile", str(folder / "key")),
                *("--address", hex(offset), "--output", str(folder / f"{offset:x}"), str(folder / "ciphertext")),
            ]
            for offset in OFFSETS
        )
    )
    assert done.exit_code == 0, done.output
    return [(folder / f"{offset:x}").read_bytes() for offset in OFFSETS]


@pytest.mark.parametrize("length", [32, 64])
def test_xts(length: int, tmp_path: Path) -> None:
    chance = random.Random(length)
    key, ciphertext = chance.randbytes(length), chance.randbytes(SIZE)
    ours = [flash_cipher.xts(key)(offset, ciphertext) for offset in OFFSETS]
    assert ours == decrypted_by_espsecure(tmp_path, key, ciphertext, "--aes-xts")


@pytest.mark.parametrize("config", [0xF, 0x1, 0x2, 0x4, 0x8, 0x0])
def test_esp32(config: int, tmp_path: Path) -> None:
    """With each range of the key tweaked alone, with all, and with none."""
    chance = random.Random(config)
    key, ciphertext = chance.randbytes(32), chance.randbytes(SIZE)
    ours = [flash_cipher.esp32(key, config)(offset, ciphertext) for offset in OFFSETS]
    theirs = decrypted_by_espsecure(tmp_path, key, ciphertext, "--flash-crypt-conf", hex(config))
    assert ours == theirs
    assert (len(set(ours)) == 1) == (config == 0)
