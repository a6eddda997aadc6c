# SPDX-License-Identifier: Apache-2.0
"""NVS keys are those of ESP-IDF's generator; a file that is none is refused without showing what is in it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from secure_ext.errors import InputError
from secure_ext.formats.nvs_keys import NvsKeys, derive_nvs_keys, generate_nvs_keys, load_nvs_keys
from secure_ext.keys.symmetric import generate_secret


def generator(folder: Path, *words: str) -> Path:
    """Runs `nvs_partition_gen generate-key`; the file it wrote."""
    line = [sys.executable, "-m", "esp_idf_nvs_partition_gen", "generate-key", "--keyfile", "made.bin", *words]
    subprocess.run([*line, "--outdir", str(folder)], check=True, capture_output=True)
    return folder / "keys" / "made.bin"


def test_derived_keys_are_the_generators(tmp_path: Path) -> None:
    hmac = generate_secret("nvs_hmac_key", 32).data
    (tmp_path / "hmac.bin").write_bytes(hmac)
    made = generator(tmp_path, "--key_protect_hmac", "--kp_hmac_inputkey", str(tmp_path / "hmac.bin"))
    assert made.read_bytes() == derive_nvs_keys(hmac).image()


def test_a_file_of_the_generator_is_read_and_written_alike(tmp_path: Path) -> None:
    made = generator(tmp_path)
    assert load_nvs_keys(made).image() == made.read_bytes()


def test_generated_keys_are_new_and_readable(tmp_path: Path) -> None:
    keys = generate_nvs_keys()
    assert keys != generate_nvs_keys()
    assert keys.data.hex() not in repr(keys)
    (tmp_path / "keys.bin").write_bytes(keys.image())
    assert load_nvs_keys(tmp_path / "keys.bin") == keys


GOOD = NvsKeys(hashlib.sha512(b"NVS keys").digest())


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("SE620", None),
        ("SE621", GOOD.data),
        ("SE621", GOOD.image() + b"\xff"),
        ("SE621", bytes(range(128, 160))),
        ("SE622", bytes(0x1000)),
        ("SE623", b"\xff" * 0x1000),
        ("SE625", b"key " * 0x400),
        ("SE544", GOOD.image()[:64] + b"\0" + GOOD.image()[65:]),
        ("SE544", GOOD.image()[:-1] + b"\0"),
        ("SE622", NvsKeys(bytes(64)).image()),
        ("SE626", NvsKeys(bytes(range(128, 192))).image()),
        ("SE624", NvsKeys(GOOD.data[:32] * 2).image()),
    ],
)
def test_a_bad_key_file_is_refused(code: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "keys.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_nvs_keys(path)
    assert caught.value.code == code
    assert content is None or content[:8].hex() not in str(caught.value)
