"""The header of an ESP image, and whether the image is whole.

Sources: ``components/bootloader_support/include/esp_app_format.h`` (layout, chip ids) and
``components/bootloader_support/src/esp_image_format.c`` (checksum, hash) of ESP-IDF.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from secure_ext.errors import InputError
from secure_ext.project.chip_ids import CHIP_IDS
from secure_ext.project.content import Content, recognize

NO_REVISION_LIMIT = 0xFFFF
"""The ``max_revision`` of an image that every later chip may run."""

SECTOR_SIZE = 0x1000
"""Bytes of a flash sector; a Secure Boot V2 signature takes one."""

SIGNATURE_MAGICS = (b"\xe7\x02", b"\xe7\x03")
"""How a Secure Boot V2 signature block begins: RSA, ECDSA."""

_HEADER = struct.Struct("<BBBBIB3sHBHH4sB")
_SEGMENT = struct.Struct("<II")
_MAX_SEGMENTS = 16
_CHECKSUM_SEED = 0xEF
_HASH_SIZE = 32
_CHIP_NAMES = {number: name for name, number in CHIP_IDS.items()}
_FLASH_MODES = ("qio", "qout", "dio", "dout", "fast_read", "slow_read")


@dataclass(frozen=True)
class ImageHeader:
    """What the header of a whole image says.

    Attributes:
        chip: ESP-IDF's name of the chip that may run it.
        chip_id: the number for it in the header.
        min_revision: least chip revision, as major * 100 + minor.
        max_revision: greatest chip revision, likewise; `NO_REVISION_LIMIT` when there is none.
        image_length: bytes from the header to the end of the checksum or hash; padding and signature not counted.
        hash_appended: whether the SHA-256 of the image follows the checksum.
        flash_size: bytes of flash that the image was made for, or None if the header has no known value.
        flash_mode: ``qio``, ``qout``, ``dio``, ``dout``, ``fast_read`` or ``slow_read``, or None likewise.
    """

    chip: str
    chip_id: int
    min_revision: int
    max_revision: int
    image_length: int
    hash_appended: bool
    flash_size: int | None
    flash_mode: str | None


def parse_image(data: bytes, *, place: str) -> ImageHeader:
    """Read an image's header and verify its checksum and its hash.

    Args:
        data: the file; what follows the image (padding, a signature) is ignored.
        place: the file's name, for messages.

    Raises:
        InputError: SE140 to SE149.
    """
    content = recognize(data)
    if content is not Content.IMAGE:
        raise _no_image(content, place)
    if len(data) < _HEADER.size:
        raise _truncated(place, len(data))
    (_, segments, mode, size_and_frequency, _, _, _, chip_id, legacy_revision, minimum, maximum, _, appended) = (
        _HEADER.unpack_from(data)
    )
    chip = _CHIP_NAMES.get(chip_id)
    if chip is None:
        raise InputError(
            "SE146",
            f"{place} is an image for a chip that is not known here (chip id 0x{chip_id:04x})",
            cure="build for one of the chips that are supported; an ESP8266 has neither secure boot nor encryption",
            place=place,
        )
    if not 1 <= segments <= _MAX_SEGMENTS or appended > 1:
        raise InputError(
            "SE149",
            f"{place} has an impossible header ({segments} segments, hash flag {appended})",
            cure="build the project again with `idf.py build`; the file is damaged",
            place=place,
        )
    checksum_end = _verify_checksum(data, segments, place)
    if appended:
        _verify_hash(data, checksum_end, place)
    size_code = size_and_frequency >> 4
    return ImageHeader(
        chip=chip,
        chip_id=chip_id,
        min_revision=_min_revision(chip, legacy_revision, minimum),
        max_revision=maximum or NO_REVISION_LIMIT,
        image_length=checksum_end + (_HASH_SIZE if appended else 0),
        hash_appended=bool(appended),
        flash_size=0x100000 << size_code if size_code < 8 else None,
        flash_mode=_FLASH_MODES[mode] if mode < len(_FLASH_MODES) else None,
    )


def signature_sector(data: bytes, header: ImageHeader) -> bytes | None:
    """The 4 KB Secure Boot V2 signature sector that follows the image, or None if it is not signed so."""
    start = -(-header.image_length // SECTOR_SIZE) * SECTOR_SIZE
    sector = data[start : start + SECTOR_SIZE]
    return sector if len(sector) == SECTOR_SIZE and sector.startswith(SIGNATURE_MAGICS) else None


def is_secure_padded(data: bytes, header: ImageHeader, page_size: int) -> bool:
    """Whether a signature of this app covers all flash that its last MMU page maps.

    That is so when image and hash end exactly on a boundary of ``page_size`` (bytes), and nothing follows but the
    signature sector: what ``esptool elf2image --secure-pad-v2`` makes.
    """
    ends_there = len(data) == header.image_length or signature_sector(data, header) is not None
    return header.hash_appended and header.image_length % page_size == 0 and ends_there


def _min_revision(chip: str, legacy: int, full: int) -> int:
    """The least revision; images from before ESP-IDF 5.0 have only one byte: the major, on ESP32-C3 the minor."""
    if full not in (0, NO_REVISION_LIMIT):
        return full
    return legacy if chip == "esp32c3" else legacy * 100


def _verify_checksum(data: bytes, segments: int, place: str) -> int:
    """Walk the segments; return the position behind the checksum, which ends on a multiple of 16 bytes."""
    position = _HEADER.size
    checksum = _CHECKSUM_SEED
    for _ in range(segments):
        if position + _SEGMENT.size > len(data):
            raise _truncated(place, len(data))
        _, length = _SEGMENT.unpack_from(data, position)
        position += _SEGMENT.size
        if position + length > len(data):
            raise _truncated(place, len(data))
        checksum ^= _xor_of_bytes(data[position : position + length])
        position += length
    end = position // 16 * 16 + 16
    if end > len(data):
        raise _truncated(place, len(data))
    if data[end - 1] != checksum:
        raise InputError(
            "SE147",
            f"the checksum of {place} does not match: 0x{data[end - 1]:02x} stands there, 0x{checksum:02x} is right",
            cure="build the project again with `idf.py build`; the file is damaged",
            place=place,
        )
    return end


def _verify_hash(data: bytes, end: int, place: str) -> None:
    if end + _HASH_SIZE > len(data):
        raise _truncated(place, len(data))
    if hashlib.sha256(data[:end]).digest() != data[end : end + _HASH_SIZE]:
        raise InputError(
            "SE148",
            f"the SHA-256 at the end of {place} does not match the image",
            cure="build the project again with `idf.py build`; the file was changed after it was made",
            place=place,
        )


def _xor_of_bytes(data: bytes) -> int:
    """All bytes combined by exclusive or, by folding one big number in halves (fast without a dependency)."""
    value, size = int.from_bytes(data, "little"), len(data)
    while size > 1:
        half = (size + 1) // 2
        value = (value >> (8 * half)) ^ (value & ((1 << (8 * half)) - 1))
        size = half
    return value


def _no_image(content: Content, place: str) -> InputError:
    """The error for a file that does not begin as an image does, by what it seems to be."""
    code, cure = {
        Content.EMPTY: ("SE140", "build the project again with `idf.py build`"),
        Content.ERASED: ("SE142", "read the right flash range, or give the image of the build"),
        Content.CIPHERTEXT: ("SE143", "give the plaintext image of the build; encrypting is done here, and only once"),
        Content.ELF: ("SE144", "give the .bin file that the build makes from it"),
        Content.TABLE: ("SE145", "give an application or a bootloader; the table needs no signature"),
    }.get(content, ("SE141", "give the .bin file of the build; an image begins with the byte 0xE9"))
    return InputError(code, f"{place} is {content.value}, not an ESP image", cure=cure, place=place)


def _truncated(place: str, length: int) -> InputError:
    return InputError(
        "SE140",
        f"{place} is cut off after {length} bytes, before the end of the image",
        cure="build the project again with `idf.py build`",
        place=place,
    )
