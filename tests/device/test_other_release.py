# SPDX-License-Identifier: Apache-2.0
"""A board of another release of the owner's trusts his signing key now, and is not one that only holds its digest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from secure_ext.station.chip_state import ChipState
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.verdict import trusts_our_signing_key

DIGEST = bytes(range(32))


def state(purpose: str, number: int = 5, **values: int) -> ChipState:
    """A chip that holds the digest in a block, whose neighbours are empty."""
    blocks = {other: bytes(32) for other in range(3, 10)}
    texts = {f"KEY_PURPOSE_{other}": "USER" for other in range(6)} | {"KEY_PURPOSE_1": purpose}
    return ChipState({"SECURE_BOOT_EN": 1, **values}, texts, {}, {}, {**blocks, number: DIGEST}, 3, "020000000001")


@pytest.mark.parametrize(
    ("chip", "trusts"),
    [
        (state("SECURE_BOOT_DIGEST0"), True),
        (state("SECURE_BOOT_DIGEST1", SECURE_BOOT_KEY_REVOKE0=1), True),
        (state("SECURE_BOOT_DIGEST1", SECURE_BOOT_KEY_REVOKE1=1), False),
        (state("USER"), False),
        (state("HMAC_UP"), False),
        (state("SECURE_BOOT_DIGEST0", 3), False),
        (state("SECURE_BOOT_DIGEST0", SECURE_BOOT_EN=0), False),
    ],
)
def test_only_a_digest_in_use_says_that_it_is_trusted(chip: ChipState, trusts: bool) -> None:
    plan: Any = SimpleNamespace(keys=[SimpleNamespace(is_digest=True, fingerprint=fingerprint(DIGEST))])
    assert trusts_our_signing_key(plan, chip) is trusts
