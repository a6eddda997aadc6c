# SPDX-License-Identifier: Apache-2.0
"""The binary partition table: what is written can be read, and what is damaged is refused."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ext.errors import InputError
from secure_ext.formats.partition_table import (
    TABLE_SIZE,
    Partition,
    PartitionTable,
    build_partition_table,
    parse_partition_table,
)

PARTITIONS = (
    Partition("nvs", 1, 2, 0xD000, 0x6000),
    Partition("otadata", 1, 0, 0x13000, 0x2000),
    Partition("sixteen_letters_", 0x3F, 6, 0x15000, 0x2000, flags=1),
    Partition("ota_0", 0, 0x10, 0x20000, 0x100000),
    Partition("storage", 1, 0x81, 0x120000, 0x100000, flags=3),
)
TABLE = build_partition_table(PARTITIONS)

words = st.integers(0, 0xFFFFFFFF)
octets = st.integers(0, 0xFF)
labels = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=16).filter(
    lambda label: len(label.encode()) <= 16
)
partitions = st.builds(Partition, labels, octets, octets, words, words, words)
tables = st.lists(partitions, min_size=1, max_size=94, unique_by=lambda row: row.label)


def code_of(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse_partition_table(data, place="table.bin")
    assert caught.value.place == "table.bin"
    return caught.value.code


@given(rows=tables, md5=st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_written_table_reads_back_the_same(rows: list[Partition], md5: bool) -> None:
    data = build_partition_table(rows, md5=md5)
    assert len(data) == TABLE_SIZE
    assert parse_partition_table(data, place="t") == PartitionTable(tuple(rows), has_md5=md5)


@pytest.mark.parametrize("md5", [True, False])
def test_every_truncation_is_refused_or_changes_nothing(md5: bool) -> None:
    data = build_partition_table(PARTITIONS, md5=md5)
    whole = parse_partition_table(data, place="t")
    end = (len(PARTITIONS) + md5 + 1) * 32
    for length in range(len(data)):
        if length < end:
            assert code_of(data[:length]) == "SE120"
        else:
            assert parse_partition_table(data[:length], place="t") == whole


def test_every_flipped_bit_is_refused_or_changes_nothing() -> None:
    whole = parse_partition_table(TABLE, place="t")
    for bit in range((len(PARTITIONS) + 2) * 32 * 8):
        data = bytearray(TABLE)
        data[bit // 8] ^= 1 << bit % 8
        try:
            assert parse_partition_table(bytes(data), place="t") == whole
        except InputError as error:
            assert error.code in ("SE121", "SE123", "SE124"), bit


def test_a_changed_row_does_not_match_the_md5() -> None:
    assert code_of(TABLE.replace(b"storage", b"storagf")) == "SE123"


def test_the_data_area_is_the_table_and_a_signature_behind_it_is_not() -> None:
    assert parse_partition_table(TABLE + bytes(68), place="t") == parse_partition_table(TABLE, place="t")


def test_no_end_marker_behind_the_md5_row() -> None:
    rows = TABLE[: len(PARTITIONS) * 32]
    data = rows + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(rows, usedforsecurity=False).digest() + rows
    assert code_of(data) == "SE124"


def test_no_end_marker_in_a_full_table() -> None:
    row = TABLE[:32]
    assert code_of(row * (TABLE_SIZE // 32)) == "SE124"


def test_a_row_of_another_format() -> None:
    assert code_of(bytes(TABLE_SIZE)) == "SE121"


def test_a_label_that_is_no_text() -> None:
    data = build_partition_table(PARTITIONS, md5=False).replace(b"storage", b"\xfftorage")
    assert code_of(data) == "SE121"


def test_ciphertext() -> None:
    assert code_of(random.Random(1).randbytes(TABLE_SIZE)) == "SE122"


@pytest.mark.parametrize(
    "csv",
    [
        b"nvs,data,nvs,,0x6000,\n",
        b"# Name, Type, SubType, Offset, Size, Flags\r\nnvs, data, nvs, 0x9000, 24K,\r\n" * 40,
        "\ufeff# Größe\nnvs,data,nvs,0x9000,24K,\n".encode(),
        "nvs,data,nvs,0x9000,24K,\n".encode("utf-16"),
    ],
)
def test_the_csv_in_place_of_the_binary(csv: bytes) -> None:
    assert code_of(csv) == "SE125"


def test_duplicate_labels() -> None:
    assert code_of(build_partition_table((*PARTITIONS, PARTITIONS[0]))) == "SE126"


@pytest.mark.parametrize("data", [build_partition_table(()), b"\xff" * TABLE_SIZE])
def test_no_partition_at_all(data: bytes) -> None:
    assert code_of(data) == "SE127"


@pytest.mark.parametrize(
    "rows",
    [
        [Partition("", 0, 0, 0, 0)],
        [Partition("seventeen_letters", 0, 0, 0, 0)],
        [Partition("a\0b", 0, 0, 0, 0)],
        [Partition("a", 256, 0, 0, 0)],
        [Partition("a", 0, 0, 1 << 32, 0)],
        [Partition(str(number), 0, 0, 0, 0) for number in range(95)],
    ],
)
def test_partitions_that_do_not_fit_the_format(rows: list[Partition]) -> None:
    with pytest.raises(InputError) as caught:
        build_partition_table(rows)
    assert caught.value.code == "SE128"


@pytest.mark.parametrize(
    ("type_", "subtype", "names"),
    [
        (0, 0x00, ("app", "factory")),
        (0, 0x1F, ("app", "ota_15")),
        (0, 0x20, ("app", "test")),
        (0, 0x30, ("app", "tee_0")),
        (1, 0x04, ("data", "nvs_keys")),
        (1, 0x90, ("data", "tee_ota")),
        (1, 0x77, ("data", "0x77")),
        (2, 0x02, ("bootloader", "recovery")),
        (3, 0x00, ("partition_table", "primary")),
        (0x40, 0x06, ("0x40", "0x06")),
    ],
)
def test_names_are_those_of_esp_idf(type_: int, subtype: int, names: tuple[str, str]) -> None:
    partition = Partition("x", type_, subtype, 0, 0)
    assert (partition.type_name, partition.subtype_name) == names


def test_flags_and_lookups() -> None:
    table = parse_partition_table(TABLE, place="t")
    storage = table.labelled("storage")
    assert storage is not None
    assert storage.encrypted_flag and storage.readonly_flag and storage.end == 0x220000
    assert table.containing(0x21FFFF) is storage
    assert table.containing(0x220000) is None
    assert table.labelled("missing") is None


@given(data=st.binary(max_size=400), start=st.sampled_from([b"", b"\xaa\x50", b"\xeb\xeb", TABLE[:64]]))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_in_words(start: bytes, data: bytes) -> None:
    try:
        parse_partition_table(start + data, place="t")
    except InputError as error:
        assert "SE120" <= error.code <= "SE127"
