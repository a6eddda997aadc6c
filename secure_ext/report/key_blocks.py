# SPDX-License-Identifier: Apache-2.0
"""The key-block map: every eFuse key block, what will be in it, and who can still read or change it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from secure_ext.plan.key_block_map import Block, BlockKey
from secure_ext.report.element import Element, code, el, section

_PARTS = {"whole": "the whole block", "low": "lower half of the block", "high": "upper half of the block"}
_MEANINGS = {
    "flash_encryption_key": "The chip decrypts its flash with it.",
    "flash_encryption_key_half_1": "With the other half, the chip decrypts its flash with it.",
    "flash_encryption_key_half_2": "With the other half, the chip decrypts its flash with it.",
    "nvs_hmac_key": "The software makes from it the keys of its encrypted settings (NVS).",
    "secure_boot_digest_0": "By it the chip recognises software signed with your signing key 1.",
    "secure_boot_digest_1": "By it the chip recognises software signed with your signing key 2.",
    "secure_boot_digest_2": "By it the chip recognises software signed with your signing key 3.",
    **dict.fromkeys(
        (f"extra_key_{number}" for number in range(6)), "The software has the chip use it, and cannot read it."
    ),
}
_SIGNS = {
    "all": "the bootloader and the app",
    "bootloader": "the bootloader only",
    "nothing": "nothing in this folder: a spare that can take over later",
}


def key_blocks_section(blocks: tuple[Block, ...], *, are_placed_at_station: bool = False) -> Element:
    """The part of the page about the key blocks."""
    return section(
        "key-blocks",
        "Key blocks",
        el(
            "p",
            f"A key block is a row of eFuses that holds {'one key' if len(blocks) > 1 else 'the keys'}. "
            f"{_used(blocks)} What is burned into a block stays there for ever.",
        ),
        el(
            "p",
            "On a board that has another key in one of these blocks, the station puts the key of flash encryption and "
            "the digests into free ones.",
        )
        if are_placed_at_station
        else None,
        el("ul", _blocks(blocks), class_="blocks"),
    )


def _blocks(blocks: tuple[Block, ...]) -> Iterator[Element]:
    """A card for each block with keys, one line for each run of empty ones."""
    for is_empty, run in groupby(blocks, lambda block: not block.keys):
        if is_empty:
            yield _empty(list(run))
        else:
            yield from (_block(block) for block in run)


def _empty(run: list[Block]) -> Element:
    if len(run) == 1:
        return el("li", el("p", code(run[0].name), ": empty. The plan leaves it alone."), class_="block empty")
    names = (code(run[0].name), " to ", code(run[-1].name))
    return el("li", el("p", *names, ": empty. The plan leaves them alone."), class_="block empty")


def _block(block: Block) -> Element:
    return el("li", el("h3", code(block.name)), [_key(key) for key in block.keys], class_="block")


def _key(key: BlockKey) -> Element:
    purpose = code(key.purpose) if key.purpose else "fixed by the chip"
    changing = "Nobody can change it." if key.write_protected else el("strong", "It can still be changed.")
    if key.read_protected:
        reading = "Nobody can read it, not even the software."
    else:
        reading = "Anyone may read it: it is public, and the chip must see it."
    return el(
        "div",
        el("p", el("strong", key.title)),
        el("p", _MEANINGS[key.role]),
        el(
            "dl",
            _pair("Purpose", purpose),
            _pair("Reading", _lock("locked" if key.read_protected else "open"), reading),
            _pair("Changing", _lock("locked" if key.write_protected else "open"), changing),
            _pair("Its key signs", _SIGNS.get(key.signs, key.signs)) if key.signs else None,
            _pair("Place", _PARTS[key.part]) if key.part != "whole" else None,
            _pair("Fingerprint", code(key.fingerprint) if key.fingerprint else "each board has its own"),
        ),
    )


def _pair(term: str, *description: Element | str) -> Element:
    return el("div", el("dt", term), el("dd", *description))


def _lock(state: str) -> Element:
    """A padlock, closed or open."""
    shackle = "M4 7V5a3 3 0 0 1 6 0v2" if state == "locked" else "M4 7V4a3 3 0 0 1 6-.8"
    return el(
        "svg",
        el("title", state),
        el("path", d=shackle, class_="shackle"),
        el("path", d="M2.5 7h9v6h-9z", class_="body"),
        role="img",
        viewBox="0 0 14 14",
        width=14,
        height=14,
        class_=f"lock {state}",
    )


def _used(blocks: tuple[Block, ...]) -> str:
    if len(blocks) == 1:
        return "This chip has a single one."
    return f"This chip has {len(blocks)}; the plan uses {sum(bool(block.keys) for block in blocks)} of them."
