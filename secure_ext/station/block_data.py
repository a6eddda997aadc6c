# SPDX-License-Identifier: Apache-2.0
"""What a plan burns into the block of user data: a custom MAC address, the product's own data, or both in one go.

Part of ``provision.py``: standard library only, Python 3.9 and later.
"""

from __future__ import annotations

from typing import Annotated, Literal

from secure_ext.station.frozen import frozen
from secure_ext.station.typed_document import Between, Items, Matching

_BlockBytes = Annotated[str, Matching("[0-9a-f]{24}|[0-9a-f]{64}")]
_Bits = tuple[Annotated[int, Between(0, 31)], ...]


@frozen
class BlockData:
    """The content of a block, which is no secret: nothing hides it on the chip.

    Attributes:
        file: its file in the bundle, as ``espefuse burn-block-data`` takes it.
        block: espefuse's name.
        block_number: number of the block.
        data: the bytes of the block, in hex.
        mask: the bits of the block that are the plan's, in hex; others are left as they are.
        holds: what it is.
        once: the block has check bytes: it is burned in one go, or not at all.
        wr_dis_bit: bit of WR_DIS that protects the block.
        rd_dis_bits: bits of RD_DIS that hide it.
    """

    file: Annotated[str, Matching(r"efuse_data/[a-z0-9_]+\.bin")]
    block: Annotated[str, Matching("BLOCK[0-9]+")]
    block_number: Annotated[int, Between(0, 10)]
    data: _BlockBytes
    mask: _BlockBytes
    holds: Annotated[tuple[Literal["custom_mac", "user_data"], ...], Items(least=1, different=True)]
    once: bool
    wr_dis_bit: Annotated[int, Between(0, 31)]
    rd_dis_bits: _Bits

    @property
    def content(self) -> bytes:
        """The bytes of the block, as they lie in its file."""
        return bytes.fromhex(self.data)

    @property
    def own_bits(self) -> int:
        """The bits of the block that are the plan's, the first byte lowest."""
        return int.from_bytes(bytes.fromhex(self.mask), "little")

    @property
    def burned_bits(self) -> int:
        """Those of them that are burned."""
        return int.from_bytes(self.content, "little")
