# SPDX-License-Identifier: Apache-2.0
"""Flash encryption of the original ESP32: AES-256 with a key of its own for every 32 bytes of flash.

What the hardware does (ESP-IDF ``docs/en/security/flash-encryption.rst``, the "External Memory Encryption and
Decryption" chapter of the ESP32 technical reference manual, and ``espsecure``): the key of a 32-byte unit is the flash
encryption key XOR a pattern made of the unit's address; its two blocks go through AES in reversed byte order; and AES
is used inverted, so that encrypting flash is AES decryption.

``cryptography`` has no call for many keys, and setting up a key takes nearly all of the time while holding Python's
global lock. Large inputs are therefore divided among processes.
"""

from __future__ import annotations

import functools
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import IO, NamedTuple, cast

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

UNIT = 32  # bytes that share one key
ADDRESS_SPACE = 1 << 24  # the pattern knows the address bits 5 to 23
HELPER_PAYS = 1024 * 1024  # bytes per process below which starting it costs more than it saves
OWN_WEIGHT, HELPER_WEIGHT = 3, 2  # this process computes while the helpers are still starting


class _Job(NamedTuple):
    key: bytes  # 32 bytes
    flash_offset: int
    flash_crypt_config: int
    decrypting: bool
    data: memoryview


HEADER = struct.Struct("<32sIB?")  # everything of a job but the data, as it is piped to a helper


def crypt(
    data: memoryview,
    *,
    key: bytes,
    flash_offset: int,
    flash_crypt_config: int,
    decrypting: bool,
    workers: int | None = None,
) -> bytes:
    """Encrypt or decrypt ``data``, in as many processes as its length and the machine make worthwhile.

    Args:
        data: bytes, a multiple of 32 long.
        key: 32 bytes.
        flash_offset: flash address of the first byte, a multiple of 32; the data ends within 16 MiB.
        flash_crypt_config: eFuse FLASH_CRYPT_CONFIG, 0 to 15: which quarters of the key the address changes.
        decrypting: from flash content to plaintext.
        workers: number of processes, this one included.
    """
    if workers is None:
        workers = min(_cores(), len(data) // HELPER_PAYS)
    if workers <= 1:
        return _compute(_Job(key, flash_offset, flash_crypt_config, decrypting, data))

    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (takes as long to import as a small image)

    weights = [OWN_WEIGHT, *[HELPER_WEIGHT] * (workers - 1)]
    bounds = [0, *(len(data) * part // sum(weights) // UNIT * UNIT for part in accumulate(weights))]
    own, *others = [
        _Job(key, flash_offset + start, flash_crypt_config, decrypting, data[start:end])
        for start, end in pairwise(bounds)
    ]
    with ThreadPoolExecutor(len(others)) as threads:
        helped = threads.map(_compute_in_helper, others)
        return b"".join([_compute(own), *helped])


def _compute(job: _Job) -> bytes:
    """Do one job in this process.

    Everything is reversed as a whole, so that the units run from the last to the first. That swaps the two blocks of
    a unit too, which have the same key and are put right when the result is reversed back.
    """
    key = int.from_bytes(job.key, "big")
    low, high = _tweak_tables(job.flash_crypt_config)
    cipher_with = _cipher_with_key()
    inverted_aes = Cipher.encryptor if job.decrypting else Cipher.decryptor
    source = bytes(job.data)[::-1]
    result = []
    unit = (job.flash_offset + len(source)) // UNIT
    for start in range(0, len(source), UNIT):
        unit -= 1
        unit_key = (key ^ high[unit >> 9] ^ low[unit & 0x1FF]).to_bytes(32, "big")
        aes = inverted_aes(cipher_with(unit_key))
        result.append(aes.update(source[start : start + UNIT]))
    return b"".join(result)[::-1]


def _cipher_with_key() -> Callable[[bytes], Cipher[modes.ECB]]:
    """A function from a 32-byte key to its cipher.

    Giving one ``AES`` object a new key is faster by half than making objects, and ``espsecure`` does it too; but that
    ``Cipher`` looks at the key each time is not promised, so it is tried first.
    """
    mode = modes.ECB()  # noqa: S305 - each key sees two blocks; this is what the hardware does
    algorithm = algorithms.AES(bytes(32))
    cipher = Cipher(algorithm, mode)

    def replaced(key: bytes) -> Cipher[modes.ECB]:
        algorithm.key = key
        return cipher

    def made(key: bytes) -> Cipher[modes.ECB]:
        return Cipher(algorithms.AES(key), mode)

    try:
        for probe in (b"\x01" * 32, b"\x02" * 32):
            if replaced(probe).encryptor().update(probe) != made(probe).encryptor().update(probe):
                return made
    except AttributeError:
        return made
    return replaced


@functools.lru_cache(maxsize=2)
def _tweak_tables(flash_crypt_config: int) -> tuple[list[int], list[int]]:
    """Tweaks of the low nine and of the high ten bits of a unit number; XORed they are the tweak of the unit."""
    low = [_tweak(unit, flash_crypt_config) for unit in range(1 << 9)]
    high = [_tweak(unit << 9, flash_crypt_config) for unit in range(1 << 10)]
    return low, high


def _tweak(unit: int, flash_crypt_config: int) -> int:
    """What the key of a unit is XORed with: the 19-bit unit number, written again and again over 256 bits.

    FLASH_CRYPT_CONFIG turns on 67, 65, 63 and 61 bits, counted from the key's first byte. Each of these ranges begins
    anew with three whole copies of the number and ends with the low bits of a fourth.
    """
    copies = unit << 38 | unit << 19 | unit
    tweak = 0
    for index, rest in enumerate((10, 8, 6, 4)):
        pattern = copies << rest | unit & ((1 << rest) - 1)
        tweak = tweak << (57 + rest) | (pattern if flash_crypt_config >> index & 1 else 0)
    return tweak


def _compute_in_helper(job: _Job) -> bytes:
    """Do one job in a process of its own, or in this one when no such process can be had.

    Not ``multiprocessing``: where it spawns, it imports the caller's main module again, and that may be idf.py, a
    script without a guard or nothing importable at all. The key travels through a pipe, never on a command line.
    """
    if sys.executable and not getattr(sys, "frozen", False):
        path = [str(entry) for entry in sys.path]
        code = f"import sys; sys.path[:] = {path!r}; from {__name__} import helper_main; helper_main()"
        try:
            result = _pipe([sys.executable, "-I", "-c", code], HEADER.pack(*job[:-1]) + job.data)
        except OSError:
            return _compute(job)
        if len(result) == len(job.data):
            return result
    return _compute(job)


def _pipe(command: list[str], request: bytes) -> bytes:
    """What a command answers to ``request``.

    ``subprocess.run`` writes 4 KiB at a time and would wait for the global lock, which the computing thread holds,
    after each. Here the whole request is one system call.
    """
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as helper:
        stdin, stdout = cast(IO[bytes], helper.stdin), cast(IO[bytes], helper.stdout)
        stdin.write(request)
        stdin.close()
        return stdout.read()


def helper_main() -> None:
    """What a helper process runs: a job from standard input, its result to standard output."""
    request = sys.stdin.buffer.read()
    key, flash_offset, flash_crypt_config, decrypting = HEADER.unpack_from(request)
    job = _Job(key, flash_offset, flash_crypt_config, decrypting, memoryview(request)[HEADER.size :])
    sys.stdout.buffer.write(_compute(job))


def _cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
