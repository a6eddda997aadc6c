# SPDX-License-Identifier: Apache-2.0
"""Who does the work of flash encryption: helper processes, numpy, plain integers; the result is the same."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import algorithms
from flash_encryption_reference import ESP32, RAW_KEY, by_espsecure, counted

from secure_ext.formats import esp32_flash, xts
from secure_ext.formats.flash_encryption import (
    decrypt,
    encrypt,
    flash_encryption_key,
)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int | None]]:
    """The command lines of the helper processes that were started, and how each ended."""
    seen: list[tuple[list[str], int | None]] = []
    lock = threading.Lock()

    class Recorded(subprocess.Popen[bytes]):
        def __exit__(self, *details: object) -> None:
            super().__exit__(*details)  # type: ignore[arg-type]
            with lock:
                seen.append(([str(word) for word in self.args], self.returncode))  # type: ignore[union-attr]

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return seen


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("decrypting", [False, True])
def test_processes_share_the_work_and_the_key_stays_off_the_command_line(
    commands: list[tuple[list[str], int | None]], workers: int, decrypting: bool
) -> None:
    key = flash_encryption_key(ESP32, RAW_KEY)
    data = counted(32 * 1000)
    operation = decrypt if decrypting else encrypt
    shared = operation(data, key=key, flash_offset=0xFE0000, flash_crypt_config=0x7, workers=workers)
    assert shared == by_espsecure(data, RAW_KEY, ESP32, 0xFE0000, config=0x7, decrypting=decrypting)
    assert len(commands) == workers - 1
    for words, returncode in commands:
        assert returncode == 0
        line = " ".join(words)
        assert RAW_KEY.hex() not in line
        assert repr(RAW_KEY)[2:-1] not in line


def test_default_is_one_process_for_small_data_and_several_for_large(
    monkeypatch: pytest.MonkeyPatch, commands: list[tuple[list[str], int | None]]
) -> None:
    monkeypatch.setattr(esp32_flash, "_cores", lambda: 2)
    key = flash_encryption_key(ESP32, RAW_KEY)
    encrypt(counted(64 * 1024), key=key, flash_offset=0)
    assert not commands
    data = os.urandom(2 * esp32_flash.HELPER_PAYS)
    assert encrypt(data, key=key, flash_offset=0) == encrypt(data, key=key, flash_offset=0, workers=1)
    assert len(commands) == 1


@pytest.mark.parametrize(
    ("executable", "frozen"), [("", False), ("/nonexistent/python", False), (sys.executable, True), ("false", False)]
)
def test_without_helper_processes_the_result_is_the_same(
    monkeypatch: pytest.MonkeyPatch, commands: list[tuple[list[str], int | None]], executable: str, frozen: bool
) -> None:
    data = counted(32 * 300)
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    ciphertext = encrypt(data, key=flash_encryption_key(ESP32, RAW_KEY), flash_offset=0x1000, workers=3)
    assert ciphertext == by_espsecure(data, RAW_KEY, ESP32, 0x1000)
    assert all(words[0] == "false" for words, _ in commands), "a frozen program would start itself again"


def refuse_new_key(self: object, name: str, value: object) -> None:
    if name in vars(self):
        raise AttributeError(name)
    object.__setattr__(self, name, value)


def ignore_new_key(self: object, name: str, value: object) -> None:
    if name not in vars(self):
        object.__setattr__(self, name, value)


@pytest.mark.parametrize("set_attribute", [refuse_new_key, ignore_new_key])
def test_an_aes_object_that_keeps_its_key_is_noticed(
    monkeypatch: pytest.MonkeyPatch, set_attribute: Callable[[object, str, object], None]
) -> None:
    data = counted(32 * 40)
    expected = by_espsecure(data, RAW_KEY, ESP32, 0x2000)
    monkeypatch.setattr(algorithms.AES, "__setattr__", set_attribute, raising=False)
    assert encrypt(data, key=flash_encryption_key(ESP32, RAW_KEY), flash_offset=0x2000) == expected


UNGUARDED = """
from secure_ext.formats import esp32_flash
print("main runs")
commands = []
pipe = esp32_flash._pipe
esp32_flash._pipe = lambda command, request: commands.append(pipe(command, request)) or commands[-1]
data = memoryview(bytes(64 * 32))
job = dict(key=bytes(range(32)), flash_offset=0, flash_crypt_config=15, decrypting=False)
assert esp32_flash.crypt(data, **job, workers=2) == esp32_flash.crypt(data, **job, workers=1)
assert commands and all(commands), "no helper answered"
"""


@pytest.mark.parametrize("start", ["script", "command", "standard input"])
def test_helpers_never_run_the_main_module_again(tmp_path: Path, start: str) -> None:
    """A script without a guard, ``python -c``, and a main module that nobody could import."""
    script = tmp_path / "not-a-module-name.txt"
    script.write_text(UNGUARDED, encoding="utf-8")
    arguments = {"script": [str(script)], "command": ["-c", UNGUARDED], "standard input": ["-"]}[start]
    assert run_python(*arguments, cwd=tmp_path) == "main runs\n"


def test_numpy_is_imported_only_when_it_pays() -> None:
    pytest.importorskip("numpy")
    run_python(
        "-c",
        """
import sys
from secure_ext.formats import xts
assert xts._choose_lanes(xts.NUMPY_PAYS - 1) is xts.integer_lanes
assert "numpy" not in sys.modules
assert xts._choose_lanes(xts.NUMPY_PAYS) is xts.numpy_lanes
assert xts._choose_lanes(16) is xts.numpy_lanes, "numpy is loaded now"
""",
    )


def test_integers_are_used_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert xts._choose_lanes(xts.NUMPY_PAYS) is xts.integer_lanes


def test_importing_the_package_is_light() -> None:
    run_python(
        "-c",
        """
import sys
import secure_ext, secure_ext.formats
heavy = {"cryptography", "numpy", "esptool", "espsecure"} & set(sys.modules)
assert not heavy, heavy
""",
    )


def run_python(*arguments: str, cwd: Path | None = None) -> str:
    """What a new interpreter with this one's import path prints; the unguarded program is its standard input."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, *arguments],
        input=UNGUARDED,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
