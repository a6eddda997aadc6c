# SPDX-License-Identifier: Apache-2.0
"""XTS-AES flash encryption of every chip after the ESP32, many 128-byte data units in one AES call.

What the hardware does (ESP-IDF ``docs/en/security/flash-encryption.rst``, the "External Memory Encryption and
Decryption" chapter of the chips' technical reference manuals, and ``espsecure``): flash is cut into data units of
128 bytes; the tweak of a unit is its flash address, 32 bits little-endian; the bytes of a unit enter the standard
XTS-AES in reverse order and leave it in reverse order.

``cryptography`` offers XTS for one tweak at a time, so that setting up contexts takes nearly all of the time. XTS is
``AES(block ^ T) ^ T``, and only AES needs a cipher library: here all blocks of a chunk go through one AES-ECB call,
and the tweaks of all its units are computed side by side, in lanes of 128 bits.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

UNIT = 128  # bytes that share one tweak
BLOCK = 16  # bytes of one AES block
CHUNK = 128 * 1024  # bytes worked on at a time: fits the processor's second-level cache
NUMPY_PAYS = 16 * 1024 * 1024  # bytes from which importing numpy (about 0.1 s) is sooner won back than lost

Ecb = Callable[[bytes], bytes]
Lanes = Callable[[bytes, int, Ecb, Ecb], bytes]
"""Encrypts or decrypts whole units: (units, flash address of the first, AES of the data, AES of the tweaks)."""


def crypt(
    data: memoryview, *, key: bytes, flash_offset: int, decrypting: bool, lanes: Lanes | None = None
) -> Iterator[bytes]:
    """Encrypt or decrypt ``data``, chunk by chunk; the pieces joined are the result.

    Args:
        data: bytes, a multiple of 16 long.
        key: 32 (XTS-AES-128) or 64 bytes (XTS-AES-256), the data key first, then the tweak key.
        flash_offset: flash address of the first byte, a multiple of 16.
        decrypting: from flash content to plaintext.
        lanes: which arithmetic computes the tweaks; by default the one that is faster for this length.
    """
    half = len(key) // 2
    # ECB is the bare AES that XTS is built from here; blocks are whitened with their tweaks before and after.
    data_cipher = Cipher(algorithms.AES(key[:half]), modes.ECB())  # noqa: S305
    data_aes = (data_cipher.decryptor() if decrypting else data_cipher.encryptor()).update
    tweak_aes = Cipher(algorithms.AES(key[half:]), modes.ECB()).encryptor().update  # noqa: S305
    lanes = lanes or _choose_lanes(len(data))

    for start in range(-(flash_offset % UNIT), len(data), CHUNK):
        before = max(0, -start)  # bytes of the first unit that lie in front of the data
        piece = bytes(before) + data[start + before : start + CHUNK]
        units = piece + bytes(-len(piece) % UNIT)
        yield lanes(units, flash_offset + start, data_aes, tweak_aes)[before : len(piece)]


def integer_lanes(units: bytes, address: int, data_aes: Ecb, tweak_aes: Ecb) -> bytes:
    """The standard library's arithmetic: one Python integer holds a 128-bit lane of every unit.

    Reading "big" and writing "little" reverses the bytes of all lanes at no cost, and the order of the units with
    them: the lowest lane belongs to the last unit.
    """
    count = len(units) // UNIT
    width = count * BLOCK
    ones, steps = _lane_constants(count)
    tweak = int.from_bytes(tweak_aes((address * ones + steps).to_bytes(width, "little")), "little")
    # Two words of 8 bytes are a block. Slices with a stride gather the same block of every unit, and put it back.
    source = memoryview(units).cast("Q")
    result = bytearray(len(units))
    target = memoryview(result).cast("Q")
    gathered = bytearray(width)
    gathered_words = memoryview(gathered).cast("Q")
    stride = UNIT // 8
    for word in range(stride - 2, -1, -2):  # reversed units: the last block comes first
        gathered_words[::2] = source[word::stride]
        gathered_words[1::2] = source[word + 1 :: stride]
        whitened = (int.from_bytes(gathered, "big") ^ tweak).to_bytes(width, "little")
        block = (int.from_bytes(data_aes(whitened), "little") ^ tweak).to_bytes(width, "big")
        words = memoryview(block).cast("Q")
        target[word::stride] = words[::2]
        target[word + 1 :: stride] = words[1::2]
        # Next power of alpha, in all lanes: shift left; the bit that leaves a lane is taken out of its neighbour
        # and comes back as x^7 + x^2 + x + 1 (IEEE 1619).
        carry = (tweak >> 127) & ones
        tweak = (tweak << 1) ^ (carry << 128) ^ (carry * 0x87)
    return bytes(result)


@functools.lru_cache(maxsize=4)
def _lane_constants(count: int) -> tuple[int, int]:
    """A one in each of ``count`` lanes, and in each lane the distance of its unit from the first one in bytes."""
    ones = int.from_bytes((1).to_bytes(BLOCK, "little") * count, "little")
    steps = b"".join((unit * UNIT).to_bytes(BLOCK, "little") for unit in reversed(range(count)))
    return ones, int.from_bytes(steps, "little")


def numpy_lanes(units: bytes, address: int, data_aes: Ecb, tweak_aes: Ecb) -> bytes:
    """The same with numpy: a lane is a pair of 64-bit words, and a chunk is reversed as a whole.

    Raises:
        ImportError: numpy is not installed.
    """
    np = importlib.import_module("numpy")  # here, so that the package works without it and loads quickly
    count = len(units) // UNIT
    addresses = np.zeros((count, 4), "<u4")
    addresses[:, 0] = np.arange(count - 1, -1, -1, dtype="<u8") * UNIT + address
    first = np.frombuffer(tweak_aes(addresses.tobytes()), "<u8").reshape(count, 2)
    low, high = first[:, 0], first[:, 1]
    tweaks = np.empty((count, UNIT // BLOCK, 2), "<u8")
    for block in range(UNIT // BLOCK):
        tweaks[:, block, 0] = low
        tweaks[:, block, 1] = high
        low, high = (low << 1) ^ (high >> 63) * 0x87, (high << 1) | (low >> 63)
    whitener = tweaks.reshape(-1)
    whitened = np.frombuffer(units, ">u8")[::-1] ^ whitener  # words backwards, bytes in words backwards
    result = np.frombuffer(data_aes(whitened.tobytes()), "<u8") ^ whitener
    reversed_back: bytes = result[::-1].astype(">u8").tobytes()
    return reversed_back


def _choose_lanes(length: int) -> Lanes:
    """Numpy when it is loaded already or when ``length`` bytes are worth importing it, else integers."""
    if "numpy" in sys.modules or length >= NUMPY_PAYS:
        try:
            importlib.import_module("numpy")
        except ImportError:
            return integer_lanes
        return numpy_lanes
    return integer_lanes
