# SPDX-License-Identifier: Apache-2.0
"""A signed image that was changed: every single bit is noticed, also where the CRC was made right again."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signed_samples import KEY_OFFSET, SIGNATURE_OFFSET, Keyrings, flip, shared_rings, shared_signed_images, with_crc  # noqa: F401 (fixtures)

from secure_ext.errors import CheckError, InputError, SecureProvisionError
from secure_ext.formats.secure_boot import (
    SECTOR,
    add_signatures,
    read_signature_blocks,
    sign,
    verify,
    verify_block,
)
from secure_ext.formats.signature_block import BLOCK_SIZE
from secure_ext.keys.signing import SignatureScheme


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_single_bit_can_change_unnoticed(
    rings: Keyrings, signed_images: dict[SignatureScheme, bytes], data: st.DataObject
) -> None:
    scheme = data.draw(st.sampled_from(list(SignatureScheme)))
    image = signed_images[scheme]
    area = data.draw(st.sampled_from([(0, len(image) - SECTOR), (len(image) - SECTOR, len(image))]))
    changed = flip(image, data.draw(st.integers(area[0], area[1] - 1)), data.draw(st.integers(0, 7)))
    with pytest.raises(SecureProvisionError) as caught:
        verify(changed, rings[scheme].verifiers[:2], place="app.bin")
    assert caught.value.code in ("SE524", "SE525", "SE527")
    with pytest.raises(SecureProvisionError):
        add_signatures(changed, rings[scheme].keys[2:], place="app.bin")


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_changed_content_is_named(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, scheme: SignatureScheme
) -> None:
    changed = flip(signed_images[scheme], 100)
    with pytest.raises(CheckError) as caught:
        verify(changed, rings[scheme].verifiers[:2], place="app.bin")
    assert caught.value.code == "SE527"
    assert caught.value.place == "app.bin, signature block 1"


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_wrong_crc_is_named(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, scheme: SignatureScheme
) -> None:
    changed = flip(signed_images[scheme], -SECTOR + BLOCK_SIZE + 1196)
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
    changed = with_crc(flip(signed_images[scheme], -SECTOR + BLOCK_SIZE + SIGNATURE_OFFSET[scheme]), block=1)
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
    changed = with_crc(flip(signed_images[scheme], -SECTOR + KEY_OFFSET[scheme] + 5))
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
    changed = with_crc(flip(signed_images[SignatureScheme.RSA3072], -SECTOR + offset))
    for check in (
        lambda: verify(changed, rings[SignatureScheme.RSA3072].verifiers[:2], place="app.bin"),
        lambda: add_signatures(changed, rings[SignatureScheme.RSA3072].keys[2:], place="app.bin"),
    ):
        with pytest.raises(CheckError) as caught:
            check()
        assert caught.value.code == "SE529"


def test_other_exponent_in_a_block_is_refused(signed_images: dict[SignatureScheme, bytes], rings: Keyrings) -> None:
    changed = with_crc(flip(signed_images[SignatureScheme.RSA3072], -SECTOR + 420, 1))
    with pytest.raises(InputError) as caught:
        add_signatures(changed, rings[SignatureScheme.RSA3072].keys[2:], place="app.bin")
    assert caught.value.code == "SE608"


def test_changed_padding_does_not_make_an_image_unsigned(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings
) -> None:
    ring = rings[SignatureScheme.ECDSA256]
    changed = flip(signed_images[SignatureScheme.ECDSA256], -SECTOR + 1200)
    with pytest.raises(CheckError) as caught:
        verify(changed, ring.verifiers[:2], place="app.bin")
    assert caught.value.code == "SE525"
    with pytest.raises(InputError) as refused:
        sign(changed, ring.keys[:1], place="app.bin")
    assert refused.value.code == "SE523"


def test_garbage_after_the_blocks_is_refused(signed_images: dict[SignatureScheme, bytes], rings: Keyrings) -> None:
    with pytest.raises(CheckError) as caught:
        verify(
            flip(signed_images[SignatureScheme.ECDSA256], -1), rings[SignatureScheme.ECDSA256].verifiers[:2], place="x"
        )
    assert caught.value.code == "SE525"


@pytest.mark.parametrize("scheme", SignatureScheme)
@pytest.mark.parametrize("offset", [4, 1196], ids=["claimed hash", "CRC"])
def test_block_that_a_chip_would_skip_does_not_verify(
    signed_images: dict[SignatureScheme, bytes], rings: Keyrings, scheme: SignatureScheme, offset: int
) -> None:
    changed = flip(signed_images[scheme], -SECTOR + offset)
    changed = changed if offset == 1196 else with_crc(changed)
    block = read_signature_blocks(changed, "app.bin")[0]
    assert not verify_block(changed, block, rings[scheme].verifiers[0])
