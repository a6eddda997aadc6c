"""Secure Boot V2 signatures: espsecure accepts ours, we accept espsecure's, and every change is noticed."""

from __future__ import annotations

import importlib.metadata
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_ext.errors import CheckError, InputError, SecureProvisionError
from secure_ext.images.secure_boot import (
    MAX_BLOCKS,
    SECTOR,
    add_signatures,
    is_signed,
    public_key_digest,
    read_signature_blocks,
    sign,
    signed_content,
    verify,
    verify_block,
)
from secure_ext.images.signature_block import BLOCK_SIZE
from secure_ext.keys.signing import (
    SignatureScheme,
    SigningKey,
    VerificationKey,
    generate_signing_key,
    load_signing_key,
    load_verification_key,
)

IMAGE = bytes(range(256)) * 20 + b"tail"
ECDSA = [SignatureScheme.ECDSA256, SignatureScheme.ECDSA384]
KEY_OFFSET = {SignatureScheme.RSA3072: 36, SignatureScheme.ECDSA256: 36, SignatureScheme.ECDSA384: 52}
SIGNATURE_OFFSET = {SignatureScheme.RSA3072: 812, SignatureScheme.ECDSA256: 101, SignatureScheme.ECDSA384: 149}


@dataclass(frozen=True)
class Keyring:
    """Three keys of one scheme, their private and their public files."""

    private: tuple[Path, ...]
    public: tuple[Path, ...]
    keys: tuple[SigningKey, ...]

    @property
    def verifiers(self) -> tuple[VerificationKey, ...]:
        return tuple(key.verification_key for key in self.keys)


Keyrings = dict[SignatureScheme, Keyring]


@pytest.fixture(scope="session")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Keyrings:
    directory = tmp_path_factory.mktemp("signing_keys")
    return {scheme: _keyring(scheme, directory) for scheme in SignatureScheme}


def _keyring(scheme: SignatureScheme, directory: Path) -> Keyring:
    private, public = [], []
    for number in range(MAX_BLOCKS):
        private.append(directory / f"{scheme.value}_{number}.pem")
        private[-1].write_bytes(generate_signing_key(scheme))
        public.append(directory / f"{scheme.value}_{number}.pub.pem")
        public_key = load_verification_key(private[-1]).public_key
        public[-1].write_bytes(
            public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    return Keyring(tuple(private), tuple(public), tuple(load_signing_key(path) for path in private))


def _espsecure(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run espsecure, with the spelling of the installed release: 4.x has underscores where 5.x has hyphens."""
    words = [command, *map(str, arguments)]
    if int(importlib.metadata.version("esptool").split(".")[0]) < 5:
        words = [word if "/" in word else word[:2] + word[2:].replace("-", "_") for word in words]
    return subprocess.run([sys.executable, "-m", "espsecure", *words], capture_output=True, text=True, check=False)


def _espsecure_accepts(image: bytes, key: Path, directory: Path) -> bool:
    path = directory / "to_verify.bin"
    path.write_bytes(image)
    return _espsecure("verify-signature", "--version", "2", "--keyfile", key, path).returncode == 0


def _espsecure_signs(image: bytes, keys: tuple[Path, ...], directory: Path, *options: str) -> bytes:
    source, target = directory / "to_sign.bin", directory / "signed.bin"
    source.write_bytes(image)
    result = _espsecure("sign-data", source, "--version", "2", "--output", target, *options, "--keyfile", *keys)
    assert result.returncode == 0, result.stdout + result.stderr
    return target.read_bytes()


def _flip(image: bytes, offset: int, bit: int = 0) -> bytes:
    changed = bytearray(image)
    changed[offset] ^= 1 << bit
    return bytes(changed)


def _with_crc(image: bytes, block: int = 0) -> bytes:
    """The image with the CRC of one block made right again, as somebody would who changes it on purpose."""
    start = len(image) - SECTOR + block * BLOCK_SIZE
    crc = struct.pack("<I", zlib.crc32(image[start : start + 1196]))
    return image[: start + 1196] + crc + image[start + 1200 :]


# What espsecure says of our signatures, and we of espsecure's


@pytest.fixture(scope="session")
def ecdsa_blocks_judged(rings: Keyrings, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many ECDSA blocks the installed espsecure looks at: 4.8 stops after the first, even in its own images."""
    directory = tmp_path_factory.mktemp("probe")
    ring = rings[SignatureScheme.ECDSA256]
    image = _espsecure_signs(IMAGE, ring.private[:2], directory)
    return MAX_BLOCKS if _espsecure_accepts(image, ring.public[1], directory) else 1


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("scheme", SignatureScheme)
def test_espsecure_accepts_our_signatures(
    tmp_path: Path, rings: Keyrings, ecdsa_blocks_judged: int, scheme: SignatureScheme, count: int
) -> None:
    ring = rings[scheme]
    image = sign(IMAGE, ring.keys[:count], place="app.bin")
    judged = min(count, ecdsa_blocks_judged) if scheme in ECDSA else count
    for path in ring.public[:judged]:
        assert _espsecure_accepts(image, path, tmp_path)
    assert count == 3 or not _espsecure_accepts(image, ring.public[-1], tmp_path)


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_we_accept_what_espsecure_signs_and_appends(tmp_path: Path, rings: Keyrings, scheme: SignatureScheme) -> None:
    ring = rings[scheme]
    image = _espsecure_signs(IMAGE, ring.private[:2], tmp_path)
    verify(image, ring.verifiers[:2], place="app.bin")
    image = _espsecure_signs(image, ring.private[2:], tmp_path, "--append-signatures")
    verify(image, ring.verifiers, place="app.bin")
    assert signed_content(image) == signed_content(sign(IMAGE, ring.keys, place="app.bin"))
    blocks = read_signature_blocks(image, "app.bin")
    assert [block.scheme for block in blocks] == [scheme] * 3
    assert [block.key_digest for block in blocks] == [public_key_digest(key) for key in ring.verifiers]
    assert [block.verification_key(place="app.bin") for block in blocks] == list(ring.verifiers)
    assert all(block.crc_valid for block in blocks)


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_both_tools_write_the_same_bytes_but_for_the_random_signature(
    tmp_path: Path, rings: Keyrings, scheme: SignatureScheme
) -> None:
    ours = sign(IMAGE, rings[scheme].keys[:1], place="app.bin")
    theirs = _espsecure_signs(IMAGE, rings[scheme].private[:1], tmp_path)
    start = len(ours) - SECTOR
    signature = start + SIGNATURE_OFFSET[scheme]
    assert ours[:signature] == theirs[:signature]
    assert ours[start + 1200 :] == theirs[start + 1200 :]
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_each_tool_adds_to_the_signatures_of_the_other(
    tmp_path: Path, rings: Keyrings, ecdsa_blocks_judged: int, scheme: SignatureScheme
) -> None:
    ring = rings[scheme]
    image = _espsecure_signs(IMAGE, ring.private[:1], tmp_path)
    image = add_signatures(image, ring.keys[1:2], place="app.bin")
    image = _espsecure_signs(image, ring.private[2:], tmp_path, "--append-signatures")
    verify(image, ring.verifiers, place="app.bin")
    if scheme not in ECDSA or ecdsa_blocks_judged > 1:
        assert _espsecure_accepts(image, ring.public[1], tmp_path)


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_digest_is_the_one_espsecure_writes(tmp_path: Path, rings: Keyrings, scheme: SignatureScheme) -> None:
    target = tmp_path / "digest.bin"
    result = _espsecure("digest-sbv2-public-key", "--keyfile", rings[scheme].public[0], "--output", target)
    assert result.returncode == 0, result.stdout + result.stderr
    assert public_key_digest(rings[scheme].verifiers[0]) == target.read_bytes()


def test_p192_signature_of_espsecure_is_reported_as_unsupported(tmp_path: Path) -> None:
    key = tmp_path / "p192.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP192R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(InputError) as caught:
        read_signature_blocks(_espsecure_signs(IMAGE, (key,), tmp_path), "app.bin")
    assert caught.value.code == "SE526"
    assert caught.value.place == "app.bin, signature block 1"


# Any image


@settings(max_examples=40, deadline=None)
@given(
    image=st.one_of(
        st.binary(max_size=3 * SECTOR),
        st.builds(lambda n, b: b * n, st.sampled_from([SECTOR, 2 * SECTOR, SECTOR - 1, SECTOR + 1]), st.just(b"\xe7")),
    ),
    scheme=st.sampled_from(ECDSA),
    count=st.integers(1, 3),
)
def test_any_image_is_padded_signed_and_proved(
    rings: Keyrings, image: bytes, scheme: SignatureScheme, count: int
) -> None:
    ring = rings[scheme]
    signed = sign(image, ring.keys[:count], place="app.bin")
    content = signed_content(signed)
    assert len(signed) % SECTOR == 0
    assert len(signed) - len(content) == SECTOR
    assert content.startswith(image)
    assert len(content) - len(image) < SECTOR
    assert set(content[len(image) :]) <= {0xFF}
    assert signed.endswith(b"\xff" * (SECTOR - count * BLOCK_SIZE))
    verify(signed, ring.verifiers[:count][::-1], place="app.bin")


@settings(max_examples=100, deadline=None)
@given(image=st.binary(max_size=2 * SECTOR + 8))
def test_unsigned_image_is_not_taken_for_a_signed_one(image: bytes) -> None:
    for candidate in (
        image,
        image[:SECTOR].ljust(SECTOR, b"\xe7"),
        b"\xe7\x02\x00\x00" + image[:4000].ljust(4092, b"\xff"),
    ):
        assert not is_signed(candidate)
        assert read_signature_blocks(candidate, "app.bin") == ()
        assert signed_content(candidate) == candidate


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_single_bit_can_change_unnoticed(
    rings: Keyrings, signed_images: dict[SignatureScheme, bytes], data: st.DataObject
) -> None:
    scheme = data.draw(st.sampled_from(list(SignatureScheme)))
    image = signed_images[scheme]
    area = data.draw(st.sampled_from([(0, len(image) - SECTOR), (len(image) - SECTOR, len(image))]))
    changed = _flip(image, data.draw(st.integers(area[0], area[1] - 1)), data.draw(st.integers(0, 7)))
    with pytest.raises(SecureProvisionError) as caught:
        verify(changed, rings[scheme].verifiers[:2], place="app.bin")
    assert caught.value.code in ("SE524", "SE525", "SE527")
    with pytest.raises(SecureProvisionError):
        add_signatures(changed, rings[scheme].keys[2:], place="app.bin")


@pytest.fixture(scope="session")
def signed_images(rings: Keyrings) -> dict[SignatureScheme, bytes]:
    return {scheme: sign(IMAGE, ring.keys[:2], place="app.bin") for scheme, ring in rings.items()}


# Changes on purpose: the CRC is made right again


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_changed_content_is_named(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, scheme: SignatureScheme
) -> None:
    changed = _flip(signed_images[scheme], 100)
    with pytest.raises(CheckError) as caught:
        verify(changed, rings[scheme].verifiers[:2], place="app.bin")
    assert caught.value.code == "SE527"
    assert caught.value.place == "app.bin, signature block 1"


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_wrong_crc_is_named(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, scheme: SignatureScheme
) -> None:
    changed = _flip(signed_images[scheme], -SECTOR + BLOCK_SIZE + 1196)
    assert [block.crc_valid for block in read_signature_blocks(changed, "app.bin")] == [True, False]
    with pytest.raises(CheckError) as caught:
        verify(changed, rings[scheme].verifiers[:2], place="app.bin")
    assert caught.value.code == "SE525"
    assert caught.value.place == "app.bin, signature block 2"


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_changed_signature_is_named(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, scheme: SignatureScheme
) -> None:
    ring = rings[scheme]
    changed = _with_crc(_flip(signed_images[scheme], -SECTOR + BLOCK_SIZE + SIGNATURE_OFFSET[scheme]), block=1)
    first, second = read_signature_blocks(changed, "app.bin")
    assert verify_block(changed, first, ring.verifiers[0])
    assert not verify_block(changed, second, ring.verifiers[1])
    with pytest.raises(CheckError) as caught:
        verify(changed, ring.verifiers[:2], place="app.bin")
    assert caught.value.code == "SE529"
    assert "key 2 of 2" in caught.value.cause
    with pytest.raises(CheckError) as caught:
        add_signatures(changed, ring.keys[2:], place="app.bin")
    assert caught.value.code == "SE529"
    assert "signature block 2" in caught.value.cause


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_changed_public_key_is_named(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, scheme: SignatureScheme
) -> None:
    changed = _with_crc(_flip(signed_images[scheme], -SECTOR + KEY_OFFSET[scheme] + 5))
    with pytest.raises(CheckError) as caught:
        verify(changed, rings[scheme].verifiers[:2], place="app.bin")
    assert caught.value.code == "SE529"
    assert "key 1 of 2" in caught.value.cause
    with pytest.raises(CheckError) as caught:
        add_signatures(changed, rings[scheme].keys[2:], place="app.bin")
    assert caught.value.code == ("SE529" if scheme is SignatureScheme.RSA3072 else "SE525")


@pytest.mark.parametrize("offset", [424, 808])
def test_wrong_montgomery_constant_is_refused(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, offset: int
) -> None:
    # The signature is still right, but a chip computes with these numbers and would reject it.
    changed = _with_crc(_flip(signed_images[SignatureScheme.RSA3072], -SECTOR + offset))
    for check in (
        lambda: verify(changed, rings[SignatureScheme.RSA3072].verifiers[:2], place="app.bin"),
        lambda: add_signatures(changed, rings[SignatureScheme.RSA3072].keys[2:], place="app.bin"),
    ):
        with pytest.raises(CheckError) as caught:
            check()
        assert caught.value.code == "SE529"


def test_other_exponent_in_a_block_is_refused(signed_images: dict[SignatureScheme, bytes], rings: Keyrings) -> None:
    changed = _with_crc(_flip(signed_images[SignatureScheme.RSA3072], -SECTOR + 420, 1))
    with pytest.raises(InputError) as caught:
        add_signatures(changed, rings[SignatureScheme.RSA3072].keys[2:], place="app.bin")
    assert caught.value.code == "SE608"


def test_changed_padding_does_not_make_an_image_unsigned(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings
) -> None:
    ring = rings[SignatureScheme.ECDSA256]
    changed = _flip(signed_images[SignatureScheme.ECDSA256], -SECTOR + 1200)
    with pytest.raises(CheckError) as caught:
        verify(changed, ring.verifiers[:2], place="app.bin")
    assert caught.value.code == "SE525"
    with pytest.raises(InputError) as refused:
        sign(changed, ring.keys[:1], place="app.bin")
    assert refused.value.code == "SE523"


def test_garbage_after_the_blocks_is_refused(signed_images: dict[SignatureScheme, bytes], rings: Keyrings) -> None:
    with pytest.raises(CheckError) as caught:
        verify(
            _flip(signed_images[SignatureScheme.ECDSA256], -1), rings[SignatureScheme.ECDSA256].verifiers[:2], place="x"
        )
    assert caught.value.code == "SE525"


# Whose signatures


def test_foreign_and_missing_signatures_are_told_apart(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings
) -> None:
    ring = rings[SignatureScheme.ECDSA256]
    image = signed_images[SignatureScheme.ECDSA256]
    with pytest.raises(CheckError) as caught:
        verify(image, ring.verifiers[:1], place="app.bin")
    assert caught.value.code == "SE528"
    assert public_key_digest(ring.verifiers[1]).hex() in caught.value.cause
    assert caught.value.place == "app.bin, signature block 2"
    with pytest.raises(CheckError) as caught:
        verify(image, ring.verifiers, place="app.bin")
    assert caught.value.code == "SE529"
    assert "key 3 of 3" in caught.value.cause
    assert public_key_digest(ring.verifiers[2]).hex() in caught.value.cause


def test_key_of_another_scheme_does_not_verify(signed_images: dict[SignatureScheme, bytes], rings: Keyrings) -> None:
    image = signed_images[SignatureScheme.ECDSA384]
    block = read_signature_blocks(image, "app.bin")[0]
    for scheme in (SignatureScheme.RSA3072, SignatureScheme.ECDSA256):
        assert not verify_block(image, block, rings[scheme].verifiers[0])


@pytest.mark.parametrize("image", [b"", IMAGE, bytes(SECTOR), bytes(2 * SECTOR)], ids=len)
def test_unsigned_image_is_refused(rings: Keyrings, image: bytes) -> None:
    ring = rings[SignatureScheme.ECDSA256]
    for check in (
        lambda: verify(image, ring.verifiers, place="app.bin"),
        lambda: add_signatures(image, ring.keys, place="app.bin"),
    ):
        with pytest.raises(CheckError) as caught:
            check()
        assert caught.value.code == "SE524"


# Keys that make no sense together

Pick = Callable[[Keyrings], list[SigningKey]]
P256, P384, RSA = SignatureScheme.ECDSA256, SignatureScheme.ECDSA384, SignatureScheme.RSA3072
BAD_KEYS: dict[str, tuple[Pick, str]] = {
    "none": (lambda _: [], "SE520"),
    "four": (lambda rings: [*rings[P256].keys, rings[P384].keys[0]], "SE520"),
    "twice": (lambda rings: [*rings[P256].keys[:2], rings[P256].keys[0]], "SE521"),
    "curves mixed": (lambda rings: [rings[P256].keys[0], rings[P384].keys[0]], "SE522"),
    "schemes mixed": (lambda rings: [rings[RSA].keys[0], rings[P256].keys[0]], "SE522"),
}


@pytest.mark.parametrize(("pick", "code"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_unusable_list_of_keys_is_refused(rings: Keyrings, pick: Pick, code: str) -> None:
    with pytest.raises(InputError) as caught:
        sign(IMAGE, pick(rings), place="app.bin")
    assert caught.value.code == code
    assert caught.value.place == "app.bin"


@pytest.mark.parametrize(
    ("pick", "code"),
    [
        (lambda _: [], "SE520"),
        (lambda rings: [*rings[P256].keys[2:], *rings[P384].keys[:1]], "SE520"),
        (lambda rings: [rings[P256].keys[0]], "SE521"),
        (lambda rings: [rings[P384].keys[0]], "SE522"),
    ],
    ids=["none", "too many", "twice", "mixed"],
)
def test_unusable_addition_is_refused(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, pick: Pick, code: str
) -> None:
    with pytest.raises(InputError) as caught:
        add_signatures(signed_images[P256], pick(rings), place="app.bin")
    assert caught.value.code == code


def test_signed_image_is_not_signed_again(signed_images: dict[SignatureScheme, bytes], rings: Keyrings) -> None:
    with pytest.raises(InputError) as caught:
        sign(signed_images[P256], rings[P256].keys[2:], place="app.bin")
    assert caught.value.code == "SE523"


def test_verifying_against_nothing_is_refused(signed_images: dict[SignatureScheme, bytes]) -> None:
    with pytest.raises(InputError) as caught:
        verify(signed_images[P256], [], place="app.bin")
    assert caught.value.code == "SE520"


def test_signature_bytes_do_not_flood_a_message(signed_images: dict[SignatureScheme, bytes]) -> None:
    block = read_signature_blocks(signed_images[P256], "app.bin")[0]
    assert len(repr(block)) < 400


@pytest.mark.parametrize("scheme", SignatureScheme)
@pytest.mark.parametrize("offset", [4, 1196], ids=["claimed hash", "CRC"])
def test_block_that_a_chip_would_skip_does_not_verify(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, scheme: SignatureScheme, offset: int
) -> None:
    changed = _flip(signed_images[scheme], -SECTOR + offset)
    changed = changed if offset == 1196 else _with_crc(changed)
    block = read_signature_blocks(changed, "app.bin")[0]
    assert not verify_block(changed, block, rings[scheme].verifiers[0])
