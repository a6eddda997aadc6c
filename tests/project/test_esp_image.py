# SPDX-License-Identifier: Apache-2.0
"""Image headers: images that esptool wrote are understood, and damaged ones are refused with the right reason."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ext.errors import InputError
from secure_ext.formats.image import (
    NO_REVISION_LIMIT,
    ImageHeader,
    image_end,
    is_secure_padded,
    parse_image,
    signature_position,
    stray_bytes,
    without_padding,
)
from secure_ext.formats.partition_table import Partition, build_partition_table
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key, load_signing_key
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.sample.chip_facts import CHIPS
from secure_ext.sample.elf import EM_RISCV, build_elf
from secure_ext.sample.images import ImageSettings, make_app, make_bootloader
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.flash_sectors import SECTOR_SIZE

PAGE = 0x10000
COMMON = ("esp32", "esp32c6", "esp32p4")
ALL_CHIPS = [pytest.param(chip, marks=() if chip in COMMON else pytest.mark.long) for chip in CHIPS]


@pytest.fixture(scope="session")
def app() -> bytes:
    return make_app(ImageSettings("esp32c6", "8MB", 1, secure_boot=False), "tiny", 1000)


def code_of(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse_image(data, place="app.bin")
    assert caught.value.place == "app.bin"
    return caught.value.code


def with_new_hash(image: bytes) -> bytes:
    return image[:-32] + hashlib.sha256(image[:-32]).digest()


def test_the_sample_knows_every_chip() -> None:
    assert set(CHIPS) == set(FACTS)


@pytest.mark.parametrize("chip", ALL_CHIPS)
def test_images_of_esptool(chip: str) -> None:
    plain = ImageSettings(chip, "4MB", 1, secure_boot=False)
    app = make_app(plain, "tiny", 3000)
    expected = ImageHeader(
        chip,
        FACTS[chip].image_id,
        1,
        CHIPS[chip].max_revision,
        len(app),
        hash_appended=True,
        flash_size=4 << 20,
        flash_mode="dio",
    )
    assert parse_image(app, place="app") == expected
    assert not is_secure_padded(app, expected, PAGE)

    secure = ImageSettings(chip, "4MB", 1, secure_boot=True)
    padded = make_app(secure, "tiny", 3000)
    header = parse_image(padded, place="app")
    assert is_secure_padded(padded, header, PAGE)
    bootloader = make_bootloader(secure)
    header = parse_image(bootloader, place="bootloader")
    assert header.image_length < len(bootloader) == -(-header.image_length // SECTOR_SIZE) * SECTOR_SIZE


@pytest.mark.parametrize("scheme", list(SignatureScheme))
def test_an_image_is_recognised_as_signed(scheme: SignatureScheme, tmp_path: Path) -> None:
    write_secret_file(tmp_path / "key.pem", generate_signing_key(scheme))
    image = make_app(ImageSettings("esp32c5", "4MB", 0, secure_boot=True), "tiny", 3000)
    signed = sign(image, [load_signing_key(tmp_path / "key.pem")], place="app")
    assert signature_position(signed) == len(signed) - SECTOR_SIZE == len(image)


def test_signature_sector_and_what_follows_the_image() -> None:
    image = make_app(ImageSettings("esp32c6", "4MB", 0, secure_boot=True), "tiny", 3000)
    header = parse_image(image, place="app")
    sector = b"\xe7\x02".ljust(SECTOR_SIZE, b"\0")
    assert signature_position(image) is None
    assert signature_position(image + sector) == len(image)
    assert signature_position(image + sector + b"whatever follows") == len(image)
    assert signature_position(image + sector[:-1]) is None
    assert signature_position(image + b"\xff" * SECTOR_SIZE) is None
    assert signature_position(image + b"\xff" * SECTOR_SIZE + sector) is None
    assert parse_image(image + sector, place="app") == header
    assert is_secure_padded(image + sector, header, PAGE)
    assert is_secure_padded(image + sector, header, PAGE // 2)
    assert not is_secure_padded(image + sector, header, PAGE * 2)
    assert not is_secure_padded(image + b"\xff" * 16, header, PAGE)


def test_signature_sector_of_a_padded_bootloader() -> None:
    image = make_bootloader(ImageSettings("esp32c6", "4MB", 0, secure_boot=True))
    assert signature_position(image + b"\xe7\x02".ljust(SECTOR_SIZE, b"\0")) == len(image)
    assert image_end(image) == parse_image(image, place="b").image_length < len(image)


@pytest.mark.parametrize("padding", [b"\xff", b"\0"])
def test_padding_behind_an_image_can_be_cut_off_and_other_bytes_stay(padding: bytes) -> None:
    image = make_bootloader(ImageSettings("esp32c6", "4MB", 0, secure_boot=True))
    for whole in (image, image + b"\xe7\x02".ljust(SECTOR_SIZE, b"\0")):
        assert without_padding(whole) == without_padding(whole + padding * 5000) == whole
        assert (stray_bytes(whole), stray_bytes(whole + padding * 5000)) == (0, 0)
        assert without_padding(whole + b"data") == whole + b"data"
        assert stray_bytes(whole + b"data") == 4
    assert without_padding(image[:100]) == image[:100]


@pytest.mark.parametrize(
    ("chip", "legacy", "full", "expected"),
    [
        ("esp32", 3, 0, 300),
        ("esp32", 3, 301, 301),
        ("esp32c3", 3, 0, 3),
        ("esp32c3", 3, 101, 101),
        ("esp32s2", 1, 0xFFFF, 100),
        ("esp32s2", 0, 0, 0),
    ],
)
def test_least_revision_of_older_images(app: bytes, chip: str, legacy: int, full: int, expected: int) -> None:
    data = bytearray(app)
    data[12:14] = FACTS[chip].image_id.to_bytes(2, "little")
    data[14] = legacy
    data[15:17] = full.to_bytes(2, "little")
    data[17:19] = bytes(2)
    header = parse_image(with_new_hash(bytes(data)), place="app")
    assert (header.min_revision, header.max_revision) == (expected, NO_REVISION_LIMIT)


def test_values_that_the_header_does_not_define(app: bytes) -> None:
    data = bytearray(app)
    data[2], data[3] = 9, 0xF0
    header = parse_image(with_new_hash(bytes(data)), place="app")
    assert (header.flash_mode, header.flash_size) == (None, None)


def test_an_image_without_a_hash(app: bytes) -> None:
    data = bytearray(app[:-32])
    data[23] = 0
    header = parse_image(bytes(data), place="app")
    assert (header.hash_appended, header.image_length) == (False, len(app) - 32)
    assert not is_secure_padded(bytes(data), header, 16)


def test_every_truncation_is_refused(app: bytes) -> None:
    assert {code_of(app[:length]) for length in range(len(app))} == {"SE140"}


def test_every_flipped_bit_is_refused(app: bytes) -> None:
    codes = set()
    for bit in range(len(app) * 8):
        data = bytearray(app)
        data[bit // 8] ^= 1 << bit % 8
        if bit == 23 * 8:  # the flag that says whether there is a hash: what follows is then no part of the image
            assert not parse_image(bytes(data), place="app.bin").hash_appended
        else:
            codes.add(code_of(bytes(data)))
    assert codes <= {"SE140", "SE141", "SE146", "SE147", "SE148", "SE149"}
    assert {"SE147", "SE148"} <= codes


def test_a_damaged_segment_with_a_good_hash(app: bytes) -> None:
    data = bytearray(app)
    data[100] ^= 1
    assert code_of(with_new_hash(bytes(data))) == "SE147"


def test_a_damaged_header_with_a_good_checksum(app: bytes) -> None:
    data = bytearray(app)
    data[4] ^= 1
    assert code_of(bytes(data)) == "SE148"


@pytest.mark.parametrize(("position", "value"), [(1, 0), (1, 17), (23, 2)])
def test_an_impossible_header(app: bytes, position: int, value: int) -> None:
    data = bytearray(app)
    data[position] = value
    assert code_of(bytes(data)) == "SE149"


def test_an_unknown_chip(app: bytes) -> None:
    data = bytearray(app)
    data[12] = 0xEE
    assert code_of(bytes(data)) == "SE146"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "SE140"),
        (b"\xff" * 5000, "SE142"),
        (random.Random(2).randbytes(5000), "SE143"),
        (build_elf(EM_RISCV, ".text", 0x40800000, bytes(100)), "SE144"),
        (build_partition_table([Partition("nvs", 1, 2, 0x9000, 0x6000)]), "SE145"),
        (b"\xea" + bytes(5000), "SE141"),
        (b"# just a text\n", "SE141"),
        ("ä".encode() * 5000, "SE141"),
    ],
)
def test_files_that_are_no_image(data: bytes, code: str) -> None:
    assert code_of(data) == code


@pytest.mark.parametrize("chip", ALL_CHIPS)
@pytest.mark.parametrize("secure_boot", [False, True])
def test_images_of_a_sample_build(tmp_path: Path, chip: str, secure_boot: bool) -> None:
    build = make_sample_build(tmp_path, chip, options=SampleOptions(secure_boot=secure_boot))
    for file in ("bootloader/bootloader.bin", "sample.bin"):
        assert parse_image((build / file).read_bytes(), place=file).chip == chip


@given(tail=st.binary(max_size=300), segments=st.integers(1, 16), appended=st.booleans())
@settings(max_examples=200, deadline=None)
def test_garbage_behind_a_plausible_header(tail: bytes, segments: int, appended: bool) -> None:
    data = bytes([0xE9, segments]) + bytes(21) + bytes([appended]) + b"\x01" + tail
    try:
        assert parse_image(data, place="app.bin").image_length <= len(data)
    except InputError as error:
        assert error.code in ("SE140", "SE147", "SE148")
