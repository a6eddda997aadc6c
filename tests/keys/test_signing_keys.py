# SPDX-License-Identifier: Apache-2.0
"""Signing keys: what is read, what is refused and under which code, and that no key ever shows in a message."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ext.errors import InputError
from secure_ext.keys.signing import (
    SignatureScheme,
    VerificationKey,
    generate_signing_key,
    key_file_is_exposed,
    load_signing_key,
    load_verification_key,
)

CURVES: dict[str, ec.EllipticCurve] = {
    "P-192": ec.SECP192R1(),
    "P-224": ec.SECP224R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
    "brainpoolP256r1": ec.BrainpoolP256R1(),
}


def _private_pem(key: Any, password: bytes | None = None, old: bool = False) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    form = serialization.PrivateFormat.TraditionalOpenSSL if old else serialization.PrivateFormat.PKCS8
    return cast(bytes, key.private_bytes(serialization.Encoding.PEM, form, encryption))


def _public_pem(private: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return cast(bytes, private.public_key().public_bytes(serialization.Encoding.PEM, form))


def _even_modulus() -> bytes:
    public = rsa.RSAPublicNumbers(65537, (1 << 3071) + 2).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _file(directory: Path, data: bytes, name: str = "key.pem") -> Path:
    path = directory / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="session")
def pems() -> dict[SignatureScheme, bytes]:
    return {scheme: generate_signing_key(scheme) for scheme in SignatureScheme}


@pytest.fixture(scope="session")
def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


BadFile = Callable[[ec.EllipticCurvePrivateKey], bytes]


def _on_curve(curve: ec.EllipticCurve) -> BadFile:
    return lambda _: _private_pem(ec.generate_private_key(curve))


# What no loader takes: name, bytes of the file, code, a word that the cause must say.
BAD_FILES: list[tuple[str, BadFile, str, str]] = [
    ("empty", lambda _: b"", "SE602", "not in PEM"),
    ("text", lambda _: b"hello\n", "SE602", "not in PEM"),
    ("random", lambda _: bytes(range(256)), "SE602", "not in PEM"),
    (
        "der",
        lambda key: key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "SE602",
        "not in PEM",
    ),
    ("encrypted pkcs8", lambda key: _private_pem(key, b"hunter2"), "SE603", "passphrase"),
    ("encrypted sec1", lambda key: _private_pem(key, b"hunter2", old=True), "SE603", "passphrase"),
    (
        "certificate",
        lambda _: b"-----BEGIN CERTIFICATE-----\nMAAw\n-----END CERTIFICATE-----\n",
        "SE605",
        "CERTIFICATE",
    ),
    (
        "openssh",
        lambda key: key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ),
        "SE605",
        "OPENSSH",
    ),
    ("cut off", lambda key: _private_pem(key)[:-40], "SE606", "incomplete"),
    (
        "not base64",
        lambda _: b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        "SE606",
        "damaged",
    ),
    (
        "not base64, public",
        lambda _: b"-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n",
        "SE606",
        "damaged",
    ),
    (
        "no key in the base64",
        lambda _: b"-----BEGIN EC PRIVATE KEY-----\nMAAw\n-----END EC PRIVATE KEY-----\n",
        "SE606",
        "damaged",
    ),
    ("rsa 2048", lambda _: _private_pem(rsa.generate_private_key(65537, 2048)), "SE607", "2048 bits"),
    ("rsa 2048 public", lambda _: _public_pem(rsa.generate_private_key(65537, 2048)), "SE607", "2048 bits"),
    ("rsa exponent 3", lambda _: _private_pem(rsa.generate_private_key(3, 3072)), "SE608", "exponent 3"),
    *((name, _on_curve(curve), "SE609", name) for name, curve in CURVES.items()),
    ("ed25519", lambda _: _private_pem(ed25519.Ed25519PrivateKey.generate()), "SE610", "Ed25519"),
    ("x25519", lambda _: _private_pem(x25519.X25519PrivateKey.generate()), "SE610", "X25519"),
    ("dsa", lambda _: _private_pem(dsa.generate_private_key(2048)), "SE610", "DSA"),
    ("two keys", lambda key: _private_pem(key) + _private_pem(key), "SE611", "2 keys"),
    ("private and public", lambda key: _private_pem(key) + _public_pem(key), "SE611", "2 keys"),
]


@pytest.mark.parametrize(("make", "code", "says"), [bad[1:] for bad in BAD_FILES], ids=[bad[0] for bad in BAD_FILES])
def test_unusable_file_is_refused_by_both_loaders(
    tmp_path: Path, p256: ec.EllipticCurvePrivateKey, make: BadFile, code: str, says: str
) -> None:
    path = _file(tmp_path, make(p256))
    errors: list[InputError] = []
    for load in (load_verification_key, load_signing_key):
        try:
            load(path)
        except InputError as error:
            errors.append(error)
    first, second = errors
    assert first.code == code
    assert second.code in (code, "SE604")
    assert says in first.cause
    assert first.cure
    assert first.place == str(path)


def test_even_modulus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_verification_key(_file(tmp_path, _even_modulus()))
    assert caught.value.code == "SE606"


def test_halves_of_two_keys_are_refused(tmp_path: Path) -> None:
    one, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    points = [
        key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        for key in (one, other)
    ]
    der = one.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    body = base64.encodebytes(der.replace(points[0], points[1]))
    path = _file(tmp_path, b"-----BEGIN EC PRIVATE KEY-----\n" + body + b"-----END EC PRIVATE KEY-----\n")
    for load in (load_signing_key, load_verification_key):
        with pytest.raises(InputError) as caught:
            load(path)
        assert caught.value.code == "SE606"


def test_ed25519_public_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_verification_key(_file(tmp_path, _public_pem(ed25519.Ed25519PrivateKey.generate())))
    assert caught.value.code == "SE610"
    assert "Ed25519" in caught.value.cause


UNKNOWN_CURVE = {  # sect233k1, made by OpenSSL: recent releases of cryptography know no binary curve
    "private": b"""-----BEGIN PRIVATE KEY-----
MH0CAQAwEAYHKoZIzj0CAQYFK4EEABoEZjBkAgEBBB1yaaDM05CgoG7Z464bMxpq
6Xqrk6wjnjEuhCtLRqFAAz4ABAA8lMch66kaEGUYWlxXZvy+ls46hfdI5yMZEWMI
ZAE9ufsXJRUiMS6XkQoopIP4mdZDZPpUzlVQwlRsMA==
-----END PRIVATE KEY-----
""",
    "public": b"""-----BEGIN PUBLIC KEY-----
MFIwEAYHKoZIzj0CAQYFK4EEABoDPgAEADyUxyHrqRoQZRhaXFdm/L6WzjqF90jn
IxkRYwhkAT25+xclFSIxLpeRCiikg/iZ1kNk+lTOVVDCVGww
-----END PUBLIC KEY-----
""",
}


@pytest.mark.parametrize("pem", UNKNOWN_CURVE.values(), ids=UNKNOWN_CURVE)
def test_curve_that_the_library_may_not_know_is_refused(tmp_path: Path, pem: bytes) -> None:
    with pytest.raises(InputError) as caught:
        load_verification_key(_file(tmp_path, pem))
    assert caught.value.code in ("SE609", "SE610")


@pytest.mark.parametrize("load", [load_signing_key, load_verification_key, key_file_is_exposed])
def test_missing_file_is_refused(tmp_path: Path, load: Callable[[Path], object]) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path / "none.pem")
    assert caught.value.code == "SE601"
    assert "No such file" in caught.value.cause


@pytest.mark.parametrize("load", [load_signing_key, load_verification_key])
def test_directory_is_refused(tmp_path: Path, load: Callable[[Path], object]) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert caught.value.code == "SE601"


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_public_key_cannot_sign(tmp_path: Path, pems: dict[SignatureScheme, bytes], scheme: SignatureScheme) -> None:
    private = serialization.load_pem_private_key(pems[scheme], password=None)
    with pytest.raises(InputError) as caught:
        load_signing_key(_file(tmp_path, _public_pem(private)))
    assert caught.value.code == "SE604"


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_every_usual_form_of_a_key_is_read_as_the_same_key(
    tmp_path: Path, pems: dict[SignatureScheme, bytes], scheme: SignatureScheme
) -> None:
    private = serialization.load_pem_private_key(pems[scheme], password=None)
    expected = load_signing_key(_file(tmp_path, pems[scheme], "generated.pem"))
    assert expected.scheme is scheme
    forms = {
        "pkcs8": _private_pem(private),
        "crlf": pems[scheme].replace(b"\n", b"\r\n"),
        "byte order mark": b"\xef\xbb\xbf" + pems[scheme],
        "text before": b"Bag Attributes\n  friendlyName: key\n" + pems[scheme],
        "curve parameters before": b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + pems[scheme],
    }
    for name, pem in forms.items():
        path = _file(tmp_path, pem, name)
        assert load_signing_key(path).verification_key == expected.verification_key, name
        assert load_verification_key(path) == expected.verification_key, name
    public = load_verification_key(_file(tmp_path, _public_pem(private), "public.pem"))
    assert public == expected.verification_key
    assert hash(public) == hash(expected.verification_key)
    assert public.scheme is scheme


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_signature_is_valid_for_its_digest_and_key_only(
    tmp_path: Path, pems: dict[SignatureScheme, bytes], scheme: SignatureScheme
) -> None:
    key = load_signing_key(_file(tmp_path, pems[scheme]))
    digest = hashlib.new(scheme.hash_name, b"image").digest()
    signature = key.sign(digest)
    assert key.verification_key.is_valid_signature(signature, digest)
    assert not key.verification_key.is_valid_signature(signature, bytes(len(digest)))
    assert not key.verification_key.is_valid_signature(signature[:-1] + bytes([signature[-1] ^ 1]), digest)


def test_keys_of_different_origin_differ(tmp_path: Path, pems: dict[SignatureScheme, bytes]) -> None:
    one = load_verification_key(_file(tmp_path, pems[SignatureScheme.ECDSA256]))
    other = load_verification_key(_file(tmp_path, generate_signing_key(SignatureScheme.ECDSA256)))
    assert one != other
    assert one != "not a key"


def test_unknown_object_is_no_verification_key() -> None:
    with pytest.raises(InputError) as caught:
        VerificationKey.from_public_key(object(), place="token")
    assert caught.value.code == "SE610"


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_private_key_never_shows(tmp_path: Path, pems: dict[SignatureScheme, bytes], scheme: SignatureScheme) -> None:
    private = serialization.load_pem_private_key(pems[scheme], password=None)
    if isinstance(private, rsa.RSAPrivateKey):
        secret = private.private_numbers().d
    else:
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        secret = private.private_numbers().private_value
    body = pems[scheme].decode().splitlines()[1:-1]
    key = load_signing_key(_file(tmp_path, pems[scheme]))
    shown = [repr(key), str(key), repr(key.verification_key), str(key.verification_key)]
    for broken in (
        pems[scheme][: len(pems[scheme]) // 2],
        pems[scheme].replace(body[1].encode(), b""),
        pems[scheme] * 2,
    ):
        with pytest.raises(InputError) as caught:
            load_signing_key(_file(tmp_path, broken))
        shown += [repr(caught.value), str(caught.value), str(caught.value.as_dict())]
    for text in shown:
        assert f"{secret:x}" not in text.lower()
        assert str(secret) not in text
        assert not any(line[:16] in text for line in body)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_file_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, pems: dict[SignatureScheme, bytes], data: st.DataObject
) -> None:
    pem = bytearray(pems[data.draw(st.sampled_from([SignatureScheme.ECDSA256, SignatureScheme.ECDSA384]))])
    for _ in range(data.draw(st.integers(1, 4))):
        pem[data.draw(st.integers(0, len(pem) - 1))] = data.draw(st.integers(0, 255))
    path = _file(tmp_path_factory.getbasetemp(), bytes(pem), "fuzzed.pem")
    for load in (load_signing_key, load_verification_key):
        try:
            load(path)
        except InputError as error:
            assert error.code.startswith("SE6")


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=200), label=st.sampled_from(["PRIVATE KEY", "EC PRIVATE KEY", "PUBLIC KEY"]))
def test_arbitrary_der_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, label: str
) -> None:
    text = f"-----BEGIN {label}-----\n{base64.b64encode(body).decode()}\n-----END {label}-----\n"
    path = _file(tmp_path_factory.getbasetemp(), text.encode(), "arbitrary.pem")
    with pytest.raises(InputError):
        load_verification_key(path)


@pytest.mark.skipif(os.name != "posix", reason="file modes mean nothing here")
@pytest.mark.parametrize(("mode", "exposed"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_exposed_key_file(tmp_path: Path, mode: int, exposed: bool) -> None:
    path = _file(tmp_path, b"key")
    path.chmod(mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert key_file_is_exposed(path) is exposed
