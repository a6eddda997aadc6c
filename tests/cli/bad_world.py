# SPDX-License-Identifier: Apache-2.0
"""A build that can be spoiled, the register of ways to spoil it, and how an answer must look."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

Snapshot = Callable[..., dict[str, tuple[int, bytes]]]
SECURE = SampleOptions(flash_encryption="release", secure_boot=True)
TABLE = "partition_table/partition-table.bin"
BOOTLOADER = "bootloader/bootloader.bin"
APP = "sample.bin"


@dataclass
class World:
    """A build to spoil, a place for files, and the arguments of the command."""

    folder: Path
    keys: dict[str, Path]
    build: Path
    signing_keys: tuple[Path, ...] = ()
    command: str = "bundle"
    more: tuple[object, ...] = ()
    output: Path | None = None

    def path(self, name: str) -> Path:
        return self.build / name

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def profile(self, text: str) -> None:
        self.more = ("--profile", self.file("profile.yaml", b"schema: 1\n" + text.encode()))

    def edit(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        content = json.loads(self.path(name).read_text(encoding="utf-8"))
        change(content)
        self.path(name).write_text(json.dumps(content), encoding="utf-8")

    def cut(self, name: str, length: int) -> None:
        self.path(name).write_bytes(self.path(name).read_bytes()[:length])

    def rebuild(self, options: SampleOptions, chip: str = "esp32c3") -> None:
        self.build = make_sample_build(self.folder / "other", chip, options=options)

    def arguments(self) -> list[object]:
        keys = [word for key in self.signing_keys for word in ("--signing-key", key)]
        output: list[object] = ["-o", self.output or self.folder / "out"] if self.command == "bundle" else []
        return [self.command, "-B", self.build, *keys, *self.more, *output]


@dataclass(frozen=True)
class Case:
    name: str
    code: str
    exit_code: int
    spoil: Callable[[World], None]


CASES: list[Case] = []
UNREADABLE = Path("/proc/self/mem")
"""A file whose reading fails, for root too."""


def unreadable() -> Path:
    if not UNREADABLE.exists():
        pytest.skip("there is no file here that even root cannot read")
    return UNREADABLE


def case(code: str, exit_code: int) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Registers a way to spoil the input, and how it must be answered."""

    def register(spoil: Callable[[World], None]) -> Callable[[World], None]:
        CASES.append(Case(spoil.__name__, code, exit_code, spoil))
        return spoil

    return register


def pem(key: Any, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    content: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption or serialization.NoEncryption()
    )
    return content


def public_half(world: World, name: str) -> Path:
    key = serialization.load_pem_private_key(world.keys[name].read_bytes(), None)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return world.file("public.pem", public)


def check_coded_error(stdout: str, stderr: str, code: str) -> None:
    assert "Traceback" not in stdout + stderr
    shown = re.search(r"^error (SE\d{3}): (.+)$", stderr, re.MULTILINE)
    assert shown, stderr
    assert shown.group(1) == code, stderr
    assert len(shown.group(2)) > 15
    assert re.search(r"^  what to do: .{10,}$", stderr, re.MULTILINE)
    assert stdout == ""


@pytest.fixture(name="world")
def spoiled_world(tmp_path: Path, new_build: Callable[..., Path], signing_keys: dict[str, Path]) -> World:
    return World(tmp_path, signing_keys, new_build(), (signing_keys["rsa_0"],))
