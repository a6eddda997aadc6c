# SPDX-License-Identifier: Apache-2.0
"""What espefuse says when keys collide holds key bytes: none of them is shown."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secret_forms import forms

from secure_ext.keys.files import write_secret_file
from secure_ext.keys.symmetric import generate_secret
from secure_ext.station.esp_tools import ToolResult, redact


def printed_by_espefuse(value: bytes) -> Iterator[tuple[str, list[str]]]:
    """Lines as espefuse prints a block, each with the tokens that must not be seen any more."""
    pairs = [f"{byte:02x}" for byte in value]
    words = [value[i : i + 4][::-1].hex() for i in range(0, len(value) - len(value) % 4, 4)]
    yield (
        f"New value contains some bits that cannot be cleared (value will be 0x{value.hex()})(use '--force",
        [value.hex()],
    )
    yield f" - BLOCK_KEY0 -> [{' '.join(pairs)}]", [" ".join(pairs)]
    yield f"\t(written ): 0x{value[::-1].hex()}", [value[::-1].hex()]
    yield f"\tto write: 0x{value.hex().upper()}", [value.hex().upper()]
    yield f"BLOCK_KEY0      (BLOCK4          ) [4 ] to_write: {' '.join(words)}", [" ".join(words)]
    yield f"[4 ] dump: {' '.join(words)}", [" ".join(words)]
    yield f"MAC-like {':'.join(pairs)} end", [":".join(pairs)]
    yield f"({value.hex()})", [value.hex()]


def remains(text: str, tokens: list[str]) -> list[str]:
    """Every four bytes in a row of the secret that can still be read in `text`."""
    found = []
    for token in tokens:
        digits = re.sub(r"[^0-9a-fA-F]", "", token)
        left = re.sub(r"[ :]", "", text)
        found += [digits[i : i + 8] for i in range(0, len(digits) - 7, 2) if digits[i : i + 8] in left]
    return found


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=8, max_size=64))
def test_redact_hides_what_espefuse_prints(value: bytes) -> None:
    for line, tokens in printed_by_espefuse(value):
        assert remains(redact(line), tokens) == [], line
        assert remains(ToolResult(2, f"espefuse v5.6.0\nA fatal error occurred: {line}\n").last_words(), tokens) == []


@given(st.binary(min_size=8, max_size=64))
@settings(max_examples=100, deadline=None)
def test_redact_keeps_the_words(value: bytes) -> None:
    text = redact(f"BLOCK_KEY0 cannot be burned: 0x{value.hex()} (use '--force-write-always')")
    assert text.startswith("BLOCK_KEY0 cannot be burned: ") and text.endswith("(use '--force-write-always')")
    assert "<hidden>" in text


@pytest.mark.parametrize(
    "text",
    [
        "A fatal error occurred: Could not open /dev/ttyUSB0, the port is busy or doesn't exist.",
        "this chip is ESP32-S3, not ESP32-C3. Wrong --chip argument?",
        "Failed to connect to ESP32-C3: No serial data received.",
        "SPI_BOOT_CRYPT_CNT is 7, the plan wants 1; burned bits stay",
        "espefuse v5.6.0",
    ],
)
def test_redact_leaves_ordinary_messages_alone(text: str) -> None:
    assert redact(text) == text


def test_what_espefuse_prints_when_keys_collide_is_hidden(tmp_path: Path) -> None:
    first, second = (generate_secret("test", 32).data for _ in range(2))
    for name, secret in (("first.bin", first), ("second.bin", second)):
        write_secret_file(tmp_path / name, secret)
    base = [sys.executable, "-m", "espefuse", "--chip", "esp32c3", "--virt"]
    base += ["--path-efuse-file", str(tmp_path / "chip.bin"), "--do-not-confirm", "burn-key", "BLOCK_KEY0"]

    def burn(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        words = [*base, str(tmp_path / name), *more]
        return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False)

    assert burn("first.bin", "USER", "--no-read-protect", "--no-write-protect").returncode == 0
    clash = burn("second.bin", "USER", "--no-read-protect", "--no-write-protect")
    assert clash.returncode != 0
    both = bytes(one | other for one, other in zip(first, second, strict=True))
    result = ToolResult(clash.returncode, clash.stdout)
    assert "cannot be cleared" in result.last_words()
    for secret in (first, second, both):
        for text in (redact(clash.stdout), result.last_words()):
            for line, tokens in printed_by_espefuse(secret):
                assert remains(text, tokens) == [], line


def test_a_foreign_key_on_the_chip_is_not_shown(made_bundle: Callable[[str], object], tmp_path: Path) -> None:
    """A chip that holds another, still readable key: the script stops and shows neither key."""
    foreign = generate_secret("test", 32).data
    write_secret_file(tmp_path / "foreign.bin", foreign)
    bundle = tmp_path / "bundle"
    shutil.copytree(getattr(made_bundle("esp32c3"), "folder"), bundle)  # noqa: B009 (the fixture's own type)
    chip = tmp_path / "chip.bin"
    words = [sys.executable, str(bundle / "provision.py"), "--virt", str(chip), "--yes"]
    subprocess.run([*words, "--dry-run"], capture_output=True, check=True)
    base = [sys.executable, "-m", "espefuse", "--chip", "esp32c3", "--virt", "--path-efuse-file", str(chip)]
    burn = [*base, "--do-not-confirm", "burn-key", "BLOCK_KEY0", str(tmp_path / "foreign.bin"), "USER"]
    subprocess.run([*burn, "--no-read-protect"], capture_output=True, check=True)
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 5
    shown = done.stdout + done.stderr
    shown += "".join(path.read_text(encoding="utf-8") for path in tmp_path.glob("chip.bin.journal*"))
    assert "SE819" in shown
    own = (bundle / "keys" / "flash_encryption_key.bin").read_bytes()
    assert not [needle for needle in [*forms(foreign), *forms(own)] if needle in shown.encode()]
