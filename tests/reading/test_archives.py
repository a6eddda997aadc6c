# SPDX-License-Identifier: Apache-2.0
"""An archive is not unpacked further than it says, nor when it says too much: 512 MB of memory refuse it."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.cold  # limits of a process are no limits of the server that forks warm ones

MEGABYTE = 1 << 20


def packed(method: int, size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, archive.open("manifest.json", "w", force_zip64=False) as file:
        for _ in range(size // MEGABYTE):
            file.write(bytes(MEGABYTE))
    return buffer.getvalue()


def saying(content: bytes, size: int) -> bytes:
    """The directory of the archive says another size."""
    at = content.rindex(b"PK\x01\x02") + 24
    return content[:at] + struct.pack("<I", size) + content[at + 4 :]


def many_members() -> bytes:
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", *(20, 20, 0, 0, 0, 0), 0, 0, 0, *(1, 0, 0, 0, 0), 0, 0) + b"x"
    count = 2_000_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entry) * count, 0, 0)
    return entry * count + end


BOMBS = {
    "it says what it is": lambda: saying(packed(zipfile.ZIP_DEFLATED, MEGABYTE), 1000 * MEGABYTE),
    "it says that it is small": lambda: saying(packed(zipfile.ZIP_DEFLATED, 600 * MEGABYTE), 100),
    "it is of a denser kind": lambda: saying(packed(zipfile.ZIP_BZIP2, MEGABYTE), 100),
    "it has many members": many_members,
}


def limits() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))


@pytest.mark.skipif(os.name != "posix", reason="this system cannot limit the memory of a process")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_no_archive(bomb: str, tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(BOMBS[bomb]())
    done = subprocess.run(
        [sys.executable, "-m", "secure_ext", "verify", tmp_path / "bundle.zip"],
        preexec_fn=limits,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, "SE750" in done.stderr) == (3, True), done.stderr
