# SPDX-License-Identifier: Apache-2.0
"""Whether an image is signed, and where: as the bootloader reads it, whatever lies behind."""

from __future__ import annotations

import pytest
from signed_samples import Keyrings, shared_rings  # noqa: F401 (fixtures)

from secure_ext.errors import InputError
from secure_ext.formats.image import without_padding
from secure_ext.formats.secure_boot import SECTOR, add_signatures, is_signed, read_signature_blocks, sign, verify
from secure_ext.keys.signing import SignatureScheme
from secure_ext.sample.images import ImageSettings, make_app, make_bootloader

SETTINGS = ImageSettings("esp32c6", "4MB", 0, secure_boot=True)
IMAGES = {"bootloader": make_bootloader(SETTINGS), "app": make_app(SETTINGS, "tiny", 3000)}
BEHIND = {"erased": b"\xff" * 100, "a sector": b"\xff" * SECTOR, "zeros": bytes(5000), "data": b"data" * 2000}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("name", IMAGES)
def test_a_signed_image_stays_signed_with_whatever_is_behind_it(name: str, behind: str, rings: Keyrings) -> None:
    ring = rings[SignatureScheme.ECDSA256]
    image = sign(IMAGES[name], ring.keys[:1], place=name) + BEHIND[behind]
    assert is_signed(image) and len(read_signature_blocks(image, name)) == 1
    verify(image, ring.verifiers[:1], place=name)
    with pytest.raises(InputError, match="SE523"):
        sign(image, ring.keys[:1], place=name)
    twice = add_signatures(image, ring.keys[1:2], place=name)
    assert twice == sign(IMAGES[name], ring.keys[:2], place=name)[:-SECTOR] + twice[-SECTOR:]
    verify(twice, ring.verifiers[:2], place=name)


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("name", IMAGES)
def test_a_signature_goes_where_the_bootloader_looks_or_nowhere(name: str, behind: str, rings: Keyrings) -> None:
    keys, image = rings[SignatureScheme.ECDSA256].keys[:1], IMAGES[name] + BEHIND[behind]
    if behind == "data":
        with pytest.raises(InputError, match="SE768"):
            sign(image, keys, place=name)
    else:
        assert len(sign(image, keys, place=name)) == len(sign(IMAGES[name], keys, place=name))
        assert without_padding(image) == IMAGES[name]


def test_a_sector_that_looks_like_signatures_elsewhere_signs_nothing(rings: Keyrings) -> None:
    app = IMAGES["app"]
    sector = sign(app, rings[SignatureScheme.ECDSA256].keys[:1], place="app")[-SECTOR:]
    assert is_signed(app + sector)
    assert not is_signed(app + b"\xff" * SECTOR + sector)
