# SPDX-License-Identifier: Apache-2.0
"""Secure Boot V2 signatures: any image is signed and proved; wrong keys and foreign signatures are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_samples import ECDSA, IMAGE, Keyrings, shared_rings, shared_signed_images  # noqa: F401 (fixtures)

from secure_ext.errors import CheckError, InputError
from secure_ext.formats.secure_boot import (
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
from secure_ext.formats.signature_block import BLOCK_SIZE
from secure_ext.keys.signing import (
    SignatureScheme,
    SigningKey,
)


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
