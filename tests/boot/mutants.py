# SPDX-License-Identifier: Apache-2.0
"""Everything that may be wrong with a provisioned chip: each mutant is one chip that must not pass."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from silicon import Silicon, key_blocks

from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import load_signing_key

SECTOR = 0x1000
SIGNATURE_BLOCK = 1216
RANDOM_BYTES = 12
"""Bytes that are changed in each image."""


@dataclass(frozen=True)
class Mutant:
    """A chip with one thing wrong; `code` is among the faults that must be found, empty if any will do."""

    name: str
    silicon: Silicon
    code: str = ""


def mutants(silicon: Silicon, other_key: Path, seed: int) -> Iterator[Mutant]:
    """All mutants of a chip; `other_key` signs as the owner's keys do, and is not theirs.

    An image of 0xFF that moves about in erased flash is none.
    """
    return (mutant for mutant in _candidates(silicon, other_key, seed) if mutant.silicon != silicon)


def _candidates(silicon: Silicon, other_key: Path, seed: int) -> Iterator[Mutant]:
    yield from _efuse_bits(silicon)
    yield from _key_bytes(silicon)
    yield from _protections(silicon)
    yield from _flash_bytes(silicon, random.Random(seed))
    yield from _places(silicon)
    yield from _partition_table(silicon)
    yield from _otadata(silicon)
    if silicon.made.cell.has_flash_encryption:
        yield from _encryption(silicon)
    if silicon.made.cell.has_secure_boot:
        yield from _signatures(silicon, other_key)
    yield from _other_chips(silicon)


def _efuse_bits(silicon: Silicon) -> Iterator[Mutant]:
    """Every bit of BLOCK0 the other way round, owned by a field or not; and one more bit in each block."""
    for bit in range(256):
        is_burned = silicon.data(0)[bit // 8] >> bit % 8 & 1
        change = "cleared" if is_burned else "burned"
        yield Mutant(f"BLOCK0 bit {bit} {change}", silicon.with_flip(0, bit))
    keys = {step["block_number"] for step in key_blocks(silicon)}
    for block in silicon.layout["blocks"]:
        number = block["id"]
        if number and number not in keys:
            yield Mutant(f"{block['name']}: an extra bit", silicon.with_flip(number, 255), "BC24")
    for step in silicon.steps:
        if step["kind"] == "burn_field" and silicon.field(step["field"]):
            yield Mutant(f"{step['field']} not burned", silicon.with_field(step["field"], 0), "BC22")


def _key_bytes(silicon: Silicon) -> Iterator[Mutant]:
    for step in key_blocks(silicon):
        block, name = step["block_number"], step["block"]
        first, last = (16 if step["part"] == "high" else 0), (16 if step["part"] == "low" else 32)
        for byte in range(first, last, 4):
            yield Mutant(f"{name} byte {byte}", silicon.with_flip(block, 8 * byte), "BC23")
        yield Mutant(f"{name} empty", silicon.with_data(block, bytes(32)), "BC23")
        yield Mutant(f"{name} of two equal halves", silicon.with_data(block, bytes(range(16)) * 2), "BC23")
        if silicon.chip != "esp32":
            for byte in (*range(0, 32, 8), *range(32, 44)):
                yield Mutant(
                    f"{name}: byte {byte} does not fit the code",
                    silicon.with_raw_flip(block, 8 * byte + 7),
                    "BC02",
                )


def _protections(silicon: Silicon) -> Iterator[Mutant]:
    read_disable = silicon.field("RD_DIS")
    for step in key_blocks(silicon):
        for bit in step["rd_dis_bits"]:
            code = "BC22" if "hmac" in step["role"] else "BC04"
            value = read_disable & ~(1 << bit)
            yield Mutant(f"{step['role']} readable", silicon.with_field("RD_DIS", value), code)
        for bit in step["readable_bits"]:
            value = read_disable | 1 << bit
            yield Mutant(f"{step['role']} hidden", silicon.with_field("RD_DIS", value), "BC06")
        slot = step["purpose"].removeprefix("SECURE_BOOT_DIGEST")
        if slot in ("0", "1", "2"):
            name = f"SECURE_BOOT_KEY_REVOKE{slot}"
            yield Mutant(f"digest {slot} revoked", silicon.with_field(name, 1), "BC06")
    for step in silicon.steps:
        bits = step.get("wr_dis_bits") or [step["wr_dis_bit"]] if step["kind"] != "burn_field" else []
        for bit in bits:
            value = silicon.field("WR_DIS") & ~(1 << bit)
            yield Mutant(f"WR_DIS {bit} not burned", silicon.with_field("WR_DIS", value), "BC22")


def _flash_bytes(silicon: Silicon, chance: random.Random) -> Iterator[Mutant]:
    used = []
    for name, image in silicon.images.items():
        for _ in range(RANDOM_BYTES):
            at, bit = image["offset"] + chance.randrange(image["size"]), chance.randrange(8)
            yield Mutant(f"{name}: bit {bit} at {at:#x}", silicon.with_flash_flip(at, bit))
        used.append((image["offset"], image["offset"] + image["size"]))
    for before, after in used:
        for at in (after, before - 1):
            if at >= 0x2000 and not any(start <= at < end for start, end in used):
                yield Mutant(f"a bit beside an image, at {at:#x}", silicon.with_flash_flip(at), "BC21")
    yield Mutant("the last bit of the flash", silicon.with_flash_flip(len(silicon.flash) - 1, 7), "BC21")


def _places(silicon: Silicon) -> Iterator[Mutant]:
    for name, image in silicon.images.items():
        for distance in (SECTOR, -SECTOR):
            at = image["offset"] + distance
            if at >= 0:
                yield Mutant(f"{name} moved by {distance}", _moved(silicon, name, at))
        yield Mutant(f"{name} not written", _erased(silicon, name))


def _moved(silicon: Silicon, name: str, offset: int) -> Silicon:
    return _erased(silicon, name).with_bytes(offset, silicon.stored(name))


def _erased(silicon: Silicon, name: str) -> Silicon:
    """An image that is all 0xFF is erased already; where it is decrypted, erased flash is garbage."""
    stored = silicon.stored(name)
    return silicon.with_bytes(silicon.images[name]["offset"], b"\xff" * len(stored))


def _partition_table(silicon: Silicon) -> Iterator[Mutant]:
    table = silicon.plain("partition-table")
    md5 = table.index(b"\xeb\xeb")
    end = md5 + 32
    entries = table[:md5]
    bigger = entries[:8] + struct.pack("<I", 0x100000) + entries[12:]
    outside = entries[:-28] + struct.pack("<I", len(silicon.flash)) + entries[-24:]
    tables = {
        "MD5 wrong": (table[: md5 + 16] + bytes([table[md5 + 16] ^ 1]) + table[md5 + 17 :], "BC14"),
        "MD5 left out": (entries + table[end:] + b"\xff" * 32, "BC14"),
        "MD5 twice": (table[:end] + table[md5:end] + table[end + 32 :], "BC14"),
        "an entry changed": (bytes([*table[:12], table[12] ^ 1, *table[13:]]), "BC14"),
        "empty": (b"\xff" * len(table), "BC14"),
        "no end": ((entries[:32] * 96)[: len(table)], "BC14"),
        "entries overlap": (_table(bigger), "BC15"),
        "an entry beyond the flash": (_table(outside), "BC15"),
        "no app": (_table(entries[:32]), "BC17"),
    }
    for name, (content, code) in tables.items():
        changed = silicon.with_plain("partition-table", content.ljust(len(table), b"\xff"))
        yield Mutant(f"partition table: {name}", changed, code)


def _table(entries: bytes) -> bytes:
    return entries + b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(entries, usedforsecurity=False).digest()


def _otadata(silicon: Silicon) -> Iterator[Mutant]:
    blank = b"\xff" * 0x2000
    chosen = {
        "garbage": (bytes(range(256)) * 32, "BC16"),
        "a wrong CRC": (_ota_entry(1, crc=0) + blank[32:], "BC16"),
        "the second copy is garbage": (blank[:SECTOR] + b"\x11" * 32 + blank[SECTOR + 32 :], "BC16"),
        "an aborted app": (_ota_entry(1, state=4) + blank[32:], "BC16"),
        "the empty slot": (_ota_entry(2) + blank[32:], "BC07"),
        "the empty slot in the second copy": (
            _ota_entry(1).ljust(SECTOR, b"\xff") + _ota_entry(2) + blank[:4064],
            "BC07",
        ),
    }
    for name, (content, code) in chosen.items():
        yield Mutant(f"otadata: {name}", silicon.with_plain("otadata", content), code)


def _ota_entry(sequence: int, state: int = 0xFFFFFFFF, crc: int | None = None) -> bytes:
    number = struct.pack("<I", sequence)
    return number + b"\xff" * 20 + struct.pack("<II", state, zlib.crc32(number, 0xFFFFFFFF) if crc is None else crc)


def _encryption(silicon: Silicon) -> Iterator[Mutant]:
    for name, image in silicon.images.items():
        offset = image["offset"]
        if image["encrypted"]:
            plain = silicon.plain(name)
            yield Mutant(f"{name} left plain", silicon.with_bytes(offset, plain), "BC19")
            for other in (offset + 0x80, offset ^ 0x100000):
                wrong = silicon.encrypted(plain, other)
                yield Mutant(f"{name} for {other:#x}", silicon.with_bytes(offset, wrong), "BC19")
        else:
            aligned = silicon.stored(name).ljust(-(-image["size"] // 32) * 32, b"\xff")
            wrong = silicon.encrypted(aligned, offset)[: image["size"]]
            yield Mutant(f"{name} encrypted", silicon.with_bytes(offset, wrong), "BC19")


def _signatures(silicon: Silicon, other_key: Path) -> Iterator[Mutant]:
    """The signature sector of bootloader and app; what is wrong stays encrypted as it should be."""
    names = [name for name, image in silicon.images.items() if image["signed"]]
    keys = [load_signing_key(path) for path in silicon.made.signing_keys]
    stranger = load_signing_key(other_key)
    for name in names:
        plain = silicon.plain(name)
        content, sector = plain[:-SECTOR], plain[-SECTOR:]
        blocks = [sector[at : at + SIGNATURE_BLOCK] for at in range(0, len(keys) * SIGNATURE_BLOCK, SIGNATURE_BLOCK)]
        rest = sector[len(keys) * SIGNATURE_BLOCK :]
        first, others = blocks[0], b"".join(blocks[1:])
        by_stranger = sign(content, [stranger], place=name)[-SECTOR:][:SIGNATURE_BLOCK]
        sectors = {
            "none": (b"\xff" * SECTOR, "BC12"),
            "by another key": (by_stranger + others + rest, "BC13"),
            "by another key alone": (by_stranger.ljust(SECTOR, b"\xff"), "BC12"),
            "first block missing": (b"\xff" * SIGNATURE_BLOCK + others + rest, "BC12"),
            "CRC wrong": (first[:1196] + bytes([first[1196] ^ 1]) + first[1197:] + others + rest, "BC11"),
            "CRC of a changed signature right": (_with_crc(first, 900) + others + rest, "BC11"),
            "CRC of a changed public key right": (_with_crc(first, 40) + others + rest, "BC11"),
            "CRC of a changed digest right": (_with_crc(first, 4) + others + rest, "BC11"),
            "CRC of a changed version right": (_with_crc(first, 1) + others + rest, "BC11"),
            "something behind it": (sector[:-1] + b"\xfe", "BC11"),
            "its last bytes changed": (first[:-1] + b"\1" + others + rest, "BC11"),
        }
        if len(keys) > 1:
            sectors["the last one missing"] = (b"".join(blocks[:-1]).ljust(SECTOR, b"\xff"), "BC13")
            sectors["one twice"] = (first * 2 + b"".join(blocks[2:]) + rest, "BC13")
        for what, (changed, code) in sectors.items():
            yield Mutant(
                f"{name}: signature: {what}",
                silicon.with_plain(name, content + changed),
                code,
            )
        yield Mutant(f"{name}: signed for another image", _signed_twice(silicon, name, names), "BC11")
        if silicon.images[name]["encrypted"]:
            offset = silicon.images[name]["offset"]
            ciphertext = silicon.encrypted(content, offset)
            tail = sign(ciphertext, keys, place=name)[-SECTOR:]
            yield Mutant(
                f"{name}: encrypted, then signed",
                silicon.with_bytes(offset, ciphertext + tail),
                "BC12",
            )
            hidden = ciphertext + silicon.encrypted(tail, offset + len(content))
            yield Mutant(
                f"{name}: encrypted, then signed, then the signature encrypted",
                silicon.with_bytes(offset, hidden),
                "BC11",
            )


def _signed_twice(silicon: Silicon, name: str, names: list[str]) -> Silicon:
    other = next(other for other in names if other != name)
    return silicon.with_plain(name, silicon.plain(name)[:-SECTOR] + silicon.plain(other)[-SECTOR:])


def _with_crc(block: bytes, at: int) -> bytes:
    if block[1] == 3 and at == 900:
        at = 120  # the signature of ECDSA
    changed = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 : 1196]
    return changed + struct.pack("<I", zlib.crc32(changed)) + block[1200:]


def _other_chips(silicon: Silicon) -> Iterator[Mutant]:
    """Images that are right in themselves, signed by the right keys, and not for this chip or not what was built."""
    for name in ("bootloader", "sample"):
        yield Mutant(f"{name} for another chip", rebuilt(silicon, name, 12, b"\x63\0"), "BC08")
        yield Mutant(f"{name} for a later revision", rebuilt(silicon, name, 15, b"\x0f\x27"), "BC09")
        yield Mutant(f"{name} with a wrong checksum", rebuilt(silicon, name, 40, b"\xa5"), "BC10")
        yield Mutant(f"{name} is another build", rebuilt(silicon, name, 9, b"\x5a"), "BC19")
    yield Mutant("sample for earlier revisions", rebuilt(silicon, "sample", 17, b"\x01\0", late=True), "BC09")


def rebuilt(silicon: Silicon, name: str, at: int, content: bytes, *, late: bool = False) -> Silicon:
    """An image with some bytes changed, its SHA-256 and its signatures made anew."""
    image = silicon.images[name]
    plain = silicon.plain(name)
    signed = plain[:-SECTOR] if image["signed"] else plain
    length = hashed_length(signed)
    changed = signed[:at] + content + signed[at + len(content) : length]
    whole = changed + hashlib.sha256(changed).digest() + signed[length + 32 :]
    keys = [load_signing_key(path) for path in silicon.made.signing_keys]
    result = silicon.with_plain(name, sign(whole, keys, place=name) if image["signed"] else whole)
    return _at_late_revision(result) if late else result


def _at_late_revision(silicon: Silicon) -> Silicon:
    name = next(name for name in ("WAFER_VERSION_MINOR", "WAFER_VERSION_MINOR_LO") if name in silicon.layout["fields"])
    return silicon.with_field(name, 3)


def hashed_length(image: bytes) -> int:
    position = 24
    for _ in range(image[1]):
        position += 8 + int.from_bytes(image[position + 4 : position + 8], "little")
    return (position + 16) // 16 * 16
