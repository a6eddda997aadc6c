# SPDX-License-Identifier: Apache-2.0
"""The partition of an identity and the ciphertext in it: read back, damaged, and held against Espressif's own tool."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from secure_ext.formats.digital_signature import decrypt_rsa_key, encrypt_rsa_key
from secure_ext.formats.secure_cert import SecureCertEntry, read_secure_cert, shows_a_key, write_secure_cert

PYTHON = "SECURE_EXT_SECURE_CERT_PYTHON"
needs_espressifs_tool = pytest.mark.skipif(
    PYTHON not in os.environ, reason=f"{PYTHON} names no Python with esp-secure-cert-tool"
)
HMAC_KEY, IV = bytes(range(32)), bytes(range(16))
ENTRIES = st.lists(
    st.builds(SecureCertEntry, st.integers(0, 8), st.binary(max_size=70), st.integers(0, 255)), min_size=1, max_size=5
)


@pytest.fixture(scope="module", name="key")
def make_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@given(entries=ENTRIES, room=st.integers(0, 40))
def test_what_is_written_is_read(entries: list[SecureCertEntry], room: int) -> None:
    assert read_secure_cert(write_secure_cert(entries) + b"\xff" * room) == tuple(entries)


@given(entries=ENTRIES, data=st.data())
def test_any_damage_is_seen(entries: list[SecureCertEntry], data: st.DataObject) -> None:
    """A changed bit, a missing end: nothing is read then, and nobody can say that it shows no key."""
    content = write_secure_cert(entries)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    for damaged in (bytes(changed), content[: data.draw(st.integers(0, len(content) - 1))]):
        with pytest.raises(ValueError, match=r"entry|hash"):
            read_secure_cert(damaged)
        assert shows_a_key(damaged)


def test_which_content_shows_a_key() -> None:
    """The flag alone says that the key is in eFuse; what nobody knows may be one."""
    in_efuse = SecureCertEntry(2, b"", 0x08)
    assert not shows_a_key(write_secure_cert([SecureCertEntry(1, b"a certificate"), in_efuse]))
    assert shows_a_key(write_secure_cert([SecureCertEntry(2, b"a key")]))
    assert shows_a_key(write_secure_cert([SecureCertEntry(51, b"somebody's own")]))


@pytest.mark.parametrize("most_bits", [3072, 4096])
def test_the_ciphertext_of_a_key(key: rsa.RSAPrivateKey, most_bits: int) -> None:
    numbers = key.private_numbers()
    ciphertext = encrypt_rsa_key(key, HMAC_KEY, most_bits, IV)
    assert decrypt_rsa_key(ciphertext, HMAC_KEY, most_bits, IV) == (numbers.d, numbers.public_numbers.n)
    wrong = (
        (ciphertext, bytes(32), IV),
        (ciphertext, HMAC_KEY, bytes(16)),
        (ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]), HMAC_KEY, IV),
        (ciphertext[16:], HMAC_KEY, IV),
    )
    for text, hmac_key, iv in wrong:
        with pytest.raises(ValueError, match=r"hash|length"):
            decrypt_rsa_key(text, hmac_key, most_bits, iv)


def ask_espressifs_tool(script: str, folder: Path, question: object) -> Any:
    """What a script says that runs in the Python with the tool; both are JSON."""
    (folder / "question.json").write_text(json.dumps(question), encoding="utf-8")
    head = "import json, os; question = json.load(open('question.json'))\n"
    tail = "\njson.dump(answer, open('answer.json', 'w'))\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [os.environ[PYTHON], "-c", head + script + tail],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "answer.json").read_text(encoding="utf-8"))


READ = """
from esp_secure_cert.tlv_format_construct import EspSecureCert, TlvPartitionBuilder
open("read.bin", "wb").write(bytes.fromhex(question["content"]))
rows = EspSecureCert._parse_tlv_entries_from_bin("read.bin")
builder = TlvPartitionBuilder()
for kind, flags, data in question["entries"]:
    builder.add_tlv_entry(kind, 0, bytes.fromhex(data), flags)
builder.build_partition("made.bin", add_tlv_integrity=True)
answer = {
    "read": [[row["header"]["type"], row["header"]["flags"], row["data"].hex()] for row in rows],
    "made": open("made.bin", "rb").read().hex(),
}
"""
ENCRYPT = """
from esp_secure_cert import configure_ds
open("key.pem", "w").write(question["key"])
os.urandom = lambda size: bytes.fromhex(question["iv"])
made = configure_ds.calculate_rsa_ds_params("key.pem", None, bytes.fromhex(question["hmac"]), question["chip"])
answer = made[0].hex()
"""


@needs_espressifs_tool
def test_espressifs_tool_reads_and_writes_the_same(tmp_path: Path) -> None:
    """Entry for entry, and byte for byte if it makes a partition of the same entries."""
    entries = [
        SecureCertEntry(1, b"-----BEGIN CERTIFICATE-----\n\0"),
        SecureCertEntry(0, bytes(33)),
        SecureCertEntry(2, b"", 8),
        SecureCertEntry(6, b"\x08" + bytes(39)),
    ]
    content = write_secure_cert(entries)
    rows = [[entry.kind, entry.flags, entry.data.hex()] for entry in entries]
    answer = ask_espressifs_tool(READ, tmp_path, {"content": (content + b"\xff" * 64).hex(), "entries": rows})
    assert answer["read"][:-1] == rows and answer["read"][-1][0] == 9
    assert answer["made"] == content.hex()


@needs_espressifs_tool
@pytest.mark.parametrize(("chip", "most_bits"), [("esp32c3", 3072), ("esp32s3", 4096)])
def test_espressifs_tool_makes_the_same_ciphertext(
    chip: str, most_bits: int, key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem = key.private_bytes(serialization.Encoding.PEM, *form).decode()
    question = {"key": pem, "iv": IV.hex(), "hmac": HMAC_KEY.hex(), "chip": chip}
    answer = ask_espressifs_tool(ENCRYPT, tmp_path, question)
    assert answer == encrypt_rsa_key(key, HMAC_KEY, most_bits, IV).hex()
