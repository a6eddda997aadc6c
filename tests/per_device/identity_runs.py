# SPDX-License-Identifier: Apache-2.0
"""Bundles whose boards get an identity, and a reader of what boards hold that shares nothing with the maker."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import struct
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from board_runs import Station, keys_on
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding
from support.authority import IDENTITY_ROW, with_identity_row, write_authority

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.formats.flash_encryption import FlashEncryptionScheme, decrypt, flash_encryption_key
from secure_ext.policy.profile import load_profile
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions

MAGIC, CA, CERTIFICATE, PRIVATE, DS_DATA, DS_CONTEXT, SECURITY, INTEGRITY = 0xBA5EBA11, 0, 1, 2, 3, 4, 6, 9
SUBJECT = "CN={mac},serialNumber={serial},O=Example"
DS_BITS = {"esp32c3": 3072, "esp32s3": 4096}
"""Of the digital signature peripheral (ESP-IDF, SOC_DS_SIGNATURE_MAX_BIT_LEN)."""


def identity_bundle(
    folder: Path,
    chip: str,
    signing_key: Path,
    kind: str,
    *,
    flash_key: str = "per-device",
) -> FinishedBundle:
    """The bundle of a chip, made from a profile as people write it; CA and project lie beside it."""
    options = SampleOptions(
        flash_encryption="release",
        secure_boot=True,
        scheme="rsa3072",
        app_size=20_000,
        partitions=with_identity_row(),
    )
    build = make_sample_build(folder / "project", chip, options=options)
    write_authority(folder, intermediates=1)
    profile = {
        "schema": 1,
        "secure_boot": {"keys": [str(signing_key)]},
        "flash_encryption": {"key": flash_key},
        "lockdown": {"download_mode": "open"},
        "identity": {
            "key": kind,
            "ca": "ca.pem",
            "subject": SUBJECT,
            "block": "KEY4",
        },
    }
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    made = write_bundle(decide(build, load_profile(folder / "profile.yaml")), folder / "bundle", lambda _: None)
    return read_bundle(made.folder)


@dataclass
class Found:
    """What a board holds as its identity."""

    certificate: x509.Certificate
    chain: bytes
    entries: dict[int, tuple[int, bytes]]


def partition_of(board: ChipProcess, bundle: FinishedBundle) -> bytes:
    """The partition as the chip reads it, decrypted with the key that its eFuses hold."""
    raw = board.flash[IDENTITY_ROW.offset : IDENTITY_ROW.offset + IDENTITY_ROW.size]
    (step,) = (step for step in bundle.plan.keys if step.role == "flash_encryption_key")
    key = bytes.fromhex(board.efuses[str(step.block_number)])[31::-1]
    return decrypt(raw, key=flash_encryption_key(FlashEncryptionScheme.XTS, key), flash_offset=IDENTITY_ROW.offset)


def read_partition(content: bytes) -> Found:
    """Entry for entry, each with its check value, up to erased flash; the last one is the hash of all before it."""
    entries: dict[int, tuple[int, bytes]] = {}
    at = 0
    while content[at : at + 4] != b"\xff" * 4:
        magic, flags, kind, subtype, length = struct.unpack_from("<IB3xBBH", content, at)
        end = at + 12 + (length + 15) // 16 * 16
        assert (magic, subtype) == (MAGIC, 0) and kind not in entries
        assert struct.unpack_from("<I", content, end) == (zlib.crc32(content[at:end], 0xFFFFFFFF),)
        entries[kind] = (flags, content[at + 12 : at + 12 + length])
        last, at = at, end + 4
    assert set(content[at:]) == {0xFF}
    assert entries[INTEGRITY][1] == hashlib.sha256(content[:last]).digest()
    certificate = x509.load_pem_x509_certificate(entries[CERTIFICATE][1].rstrip(b"\0"))
    return Found(certificate, entries[CA][1].rstrip(b"\0"), entries)


def private_exponent(found: Found, hmac_key: bytes, chip: str) -> tuple[int, int]:
    """Exponent and modulus, as the peripheral decrypts them (ESP32-C3 technical reference manual, chapter 20)."""
    data = found.entries[DS_DATA][1]
    (words,), iv, ciphertext = struct.unpack_from("<i", data), data[4:20], data[20:]
    cipher = Cipher(algorithms.AES(hmac.digest(hmac_key, b"\xff" * 32, "sha256")), modes.CBC(iv)).decryptor()
    plain = cipher.update(ciphertext)
    size = DS_BITS[chip] // 8
    y, m, r, digest = plain[:size], plain[size : 2 * size], plain[2 * size : 3 * size], plain[3 * size : 3 * size + 32]
    inverse, length, end = struct.unpack_from("<II8s", plain, 3 * size + 32)
    assert end == b"\x08" * 8 and length == words
    assert digest == hashlib.sha256(y + m + r + plain[3 * size + 32 : 3 * size + 40] + iv).digest()
    d, n, factor = (int.from_bytes(number, "little") for number in (y, m, r))
    bits = 32 * (length + 1)
    assert factor == pow(2, 2 * bits, n) and (inverse * n + 1) % 2**32 == 0
    return d, n


def check_identity(station: Station, board: ChipProcess, mac: str) -> x509.Certificate:
    """The board's flash and eFuses are one identity, of this board, which OpenSSL accepts and the journal names."""
    bundle, chip = station.bundle, station.bundle.plan.chip
    found = read_partition(partition_of(board, bundle))
    key = keys_on(board, bundle)["extra_key_0"]
    public = found.certificate.public_key()
    assert any(key), "the key is burned"
    if isinstance(public, rsa.RSAPublicKey):
        d, n = private_exponent(found, key, chip)
        numbers = public.public_numbers()
        assert n == numbers.n and pow(pow(0x1234567, d, n), numbers.e, n) == 0x1234567
        assert found.entries[DS_CONTEXT][1] == struct.pack("<IBxH", 0, 4, public.key_size)
        secret = d.to_bytes(public.key_size // 8, "big")
        assert PRIVATE not in found.entries
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        block = bytes.fromhex(board.efuses["8"])[:32]  # BLOCK_KEY4; the peripheral's number begins with its last byte
        own = ec.derive_private_key(int.from_bytes(block, "little"), ec.SECP256R1())
        assert own.public_key() == public
        assert found.entries[SECURITY][1] == bytes([8]) + bytes(39) and found.entries[PRIVATE] == (0x08, b"")
        secret = block[::-1]
    assert found.certificate.subject.rfc4514_string().startswith(f"CN={mac},")
    check_with_openssl(found, station.folder)
    record = json.loads((bundle.folder / "journal" / f"{mac}.identity.json").read_text())
    kept = x509.load_pem_x509_certificate((bundle.folder / "journal" / f"{mac}.crt.pem").read_bytes())
    assert kept == found.certificate and int(record["serial"], 16) == kept.serial_number
    for path in station.folder.rglob("*"):
        if path.is_file() and path.parent.name != mac:  # there the virtual chip keeps its eFuses
            content = path.read_bytes()
            assert secret not in content and secret.hex().encode() not in content, path
    return found.certificate


def check_with_openssl(found: Found, folder: Path) -> None:
    """The root is trusted, the rest is what the board shows."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    issuing, root = (one.public_bytes(Encoding.PEM) for one in x509.load_pem_x509_certificates(found.chain))
    board = found.certificate.public_bytes(Encoding.PEM)
    for name, content in (("root.pem", root), ("issuing.pem", issuing), ("board.pem", board)):
        (folder / name).write_bytes(content)
    words = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "root.pem", "-untrusted", "issuing.pem"]
    done = subprocess.run([openssl, *words, "board.pem"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "board.pem: OK" in done.stdout, done.stdout + done.stderr
