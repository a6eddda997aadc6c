# SPDX-License-Identifier: Apache-2.0
"""The header of an ESP image, and whether the image is whole.

Sources: ``components/bootloader_support/include/esp_app_format.h`` (layout, chip ids) and
``components/bootloader_support/src/esp_image_format.c`` (checksum, hash) of ESP-IDF.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

from secure_ext.errors import InputError
from secure_ext.formats.content import Content, recognize
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.flash_sectors import SECTOR_SIZE, whole_sectors
from secure_ext.station.frozen import frozen

NO_REVISION_LIMIT = 0xFFFF
"""The ``max_revision`` of an image that every later chip may run."""

"""Bytes of a flash sector; a Secure Boot V2 signature takes one."""

SIGNATURE_BLOCK_SIZE = 1216
"""Bytes of a Secure Boot V2 signature block; up to three stand in a sector."""

_SIGNATURE_MAGICS = (b"\xe7\x02", b"\xe7\x03")
"""How a signature block begins: RSA, ECDSA."""

_SIGNATURE_CRC = 1196

_HEADER = struct.Struct("<BBBBIB3sHBHH4sB")
_SEGMENT = struct.Struct("<II")
IMAGE_MAGIC = 0xE9
"""The first byte of a firmware image (esp_image_header_t)."""
_MAX_SEGMENTS = 16
_CHECKSUM_SEED = 0xEF
_HASH_SIZE = 32
_CHIP_NAMES = {facts.image_id: name for name, facts in FACTS.items()}
_FLASH_MODES = ("qio", "qout", "dio", "dout", "fast_read", "slow_read")


@frozen
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


def image_end(data: bytes) -> int | None:
    """Bytes from the header to the end of checksum or hash, as header and segments say; None if it is not an image.

    Nothing is verified; that is what `parse_image` does.
    """
    if len(data) < _HEADER.size or data[0] != IMAGE_MAGIC:
        return None
    segments, appended = data[1], data[_HEADER.size - 1]
    if not 1 <= segments <= _MAX_SEGMENTS or appended > 1:
        return None
    position = _HEADER.size
    for _ in range(segments):
        if position + _SEGMENT.size > len(data):
            return None
        position += _SEGMENT.size + _SEGMENT.unpack_from(data, position)[1]
    end = position // 16 * 16 + 16 + (_HASH_SIZE if appended else 0)
    return end if end <= len(data) else None


def signature_position(data: bytes) -> int | None:
    """Where the signature sector of an image stands, or None if it is not signed with Secure Boot V2.

    The one answer to "is it signed?", and the bootloader's: it pads the image, as long as its header says, to a whole
    sector, and looks there (``verify_secure_boot_signature`` in ESP-IDF's ``components/bootloader_support/src/
    esp_image_format.c``), whatever follows. Content that is no image ends where the file does. A block with a wrong CRC
    still counts, if its padding is right: it is a damaged signature, and no place for a new one.
    """
    end = image_end(data)
    position = len(data) - SECTOR_SIZE if end is None else whole_sectors(end)
    if position < 0 or position % SECTOR_SIZE or position + SECTOR_SIZE > len(data):
        return None
    return position if starts_signature_block(data[position : position + SIGNATURE_BLOCK_SIZE]) else None


def starts_signature_block(raw: bytes) -> bool:
    """Whether these `SIGNATURE_BLOCK_SIZE` bytes are a signature block.

    The magic byte alone would mistake one unsigned image in 256 for a signed one, so the version is looked at too, and
    either the CRC or the zeros at the end have to be right.
    """
    return raw.startswith(_SIGNATURE_MAGICS) and (has_valid_crc(raw) or raw.endswith(bytes(16)))


def has_valid_crc(raw: bytes) -> bool:
    """Whether the CRC of a signature block is right; ROM and bootloader pass over a block where it is not."""
    return raw[_SIGNATURE_CRC : _SIGNATURE_CRC + 4] == struct.pack("<I", zlib.crc32(raw[:_SIGNATURE_CRC]))


def without_padding(data: bytes) -> bytes:
    """An image without what may be cut off: erased flash or zeros behind its last sector, or behind its signature.

    Other bytes there stay; `stray_bytes` counts them.
    """
    end = _content_end(data)
    return data if data[end:].strip(b"\xff") and data[end:].strip(b"\0") else data[:end]


def stray_bytes(data: bytes) -> int:
    """How many bytes of an image lie where no signature covers them, and are more than padding."""
    return max(0, len(without_padding(data)) - _content_end(data))


def _content_end(data: bytes) -> int:
    position, end = signature_position(data), image_end(data)
    if position is not None:
        return position + SECTOR_SIZE
    return len(data) if end is None else min(whole_sectors(end), len(data))


def is_secure_padded(data: bytes, header: ImageHeader, page_size: int) -> bool:
    """Whether a signature of this app covers all flash that its last MMU page maps.

    That is so when image and hash end exactly on a boundary of ``page_size`` (bytes), and nothing follows but the
    signature sector: what ``esptool elf2image --secure-pad-v2`` makes.
    """
    ends_there = len(data) == header.image_length or signature_position(data) is not None
    return header.hash_appended and header.image_length % page_size == 0 and ends_there


def _min_revision(chip: str, legacy: int, full: int) -> int:
    """The least revision; images from before ESP-IDF 5.0 have only one byte: the major, on ESP32-C3 the minor."""
    if full not in (0, NO_REVISION_LIMIT):
        return full
    return legacy if FACTS[chip].legacy_revision_is_minor else legacy * 100


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
