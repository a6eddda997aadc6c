# SPDX-License-Identifier: Apache-2.0
"""The words of a plan document: the roles of keys, the names of blocks and files, revisions.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from typing import Annotated, Literal

from secure_ext.station.chip_facts import FACTS
from secure_ext.station.typed_document import Between, Matching, OneOf

Chip = Annotated[str, OneOf(tuple(FACTS))]
"""ESP-IDF's target names."""
Role = Literal[
    "flash_encryption_key",
    "flash_encryption_key_half_1",
    "flash_encryption_key_half_2",
    "nvs_hmac_key",
    "secure_boot_digest_0",
    "secure_boot_digest_1",
    "secure_boot_digest_2",
    "extra_key_0",
    "extra_key_1",
    "extra_key_2",
    "extra_key_3",
    "extra_key_4",
    "extra_key_5",
]
Revision = Annotated[int, Between(0, 0xFFFF)]
"""Chip or eFuse block revision, major * 100 + minor."""
Field = Annotated[str, Matching("[A-Z0-9_]+")]
"""espefuse's name of an eFuse field."""
Bits = tuple[Annotated[int, Between(0, 31)], ...]
"""Numbers of bits of WR_DIS or RD_DIS."""
BlockName = Annotated[str, Matching("BLOCK(_KEY[0-5]|[12])")]
StepId = Annotated[str, Matching("[a-z0-9-]+")]
ImageFile = Annotated[str, Matching(r"images/[A-Za-z0-9._-]+\.bin")]
