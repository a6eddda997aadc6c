# SPDX-License-Identifier: Apache-2.0
"""The ways in which a secret can be written, for the tests that search for it where it must not be."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def forms(secret: bytes) -> Iterator[bytes]:
    """The ways in which programs print a secret."""
    for data in (secret, secret[::-1]):
        yield data
        for separator in ("", " ", ":", ", ", "-", "\\x"):
            text = separator.join(f"{byte:02x}" for byte in data)
            yield text.encode()
            yield text.upper().encode()
        yield base64.b64encode(data).rstrip(b"=")
        yield base64.urlsafe_b64encode(data).rstrip(b"=")
        for order in ("little", "big"):
            words = [data[i : i + 4] for i in range(0, len(data), 4)]
            numbers = [int.from_bytes(word, "little" if order == "little" else "big") for word in words]
            yield " ".join(f"{number:08x}" for number in numbers).encode()
            yield " ".join(f"{number:08x}" for number in reversed(numbers)).encode()
        yield str(int.from_bytes(data, "big")).encode()
        yield repr(data)[2:-1].encode()
        yield repr(list(data))[1:-1].encode()


def pem_forms(path: Path) -> Iterator[bytes]:
    """The lines of a private key's PEM file, and its numbers."""
    content = path.read_bytes()
    yield from (line for line in content.splitlines() if len(line) >= 32 and not line.startswith(b"-----"))
    key = serialization.load_pem_private_key(content, None)
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        secrets = [numbers.d, numbers.p, numbers.q]
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        secrets = [key.private_numbers().private_value]
    for number in secrets:
        yield from forms(number.to_bytes((number.bit_length() + 7) // 8, "big"))
