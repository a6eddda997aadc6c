# SPDX-License-Identifier: Apache-2.0
"""The flash map and the key-block map for a terminal: the same text as in a log, with colour where there is some."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

import click

from secure_ext.bundle.manifest import partition_rows
from secure_ext.doctor.decide import Decision
from secure_ext.plan.document import plan_document
from secure_ext.plan.flash_map import Area, FlashMap, PlacedImage, flash_map, partition_areas, size_text
from secure_ext.plan.key_block_map import Block, key_block_map
from secure_ext.station.one_line import printable

Line = tuple[tuple[str, str], ...]
"""Pieces of a line: text, and the name of a style of rich or nothing."""

_COLUMNS = 32
_STYLES = {"signed + encrypted": "green", "encrypted": "blue", "signed": "magenta", "plain": "yellow"}


def map_lines(decision: Decision) -> Iterator[Line]:
    """Both maps of what a decision would make."""
    images = [
        PlacedImage(image.name, image.role.value, image.offset, image.final_size, image.sign, image.encrypt)
        for image in decision.images
    ]
    plan = plan_document(decision.plan, decision.chip)
    areas = partition_areas(partition_rows(decision))
    yield from flash_lines(flash_map(decision.build.flash_size, areas, images, plan.kept))
    yield (("", ""),)
    names = [block.name for block in decision.chip.key_blocks]
    yield from key_block_lines(key_block_map(names, plan))


def flash_lines(flash: FlashMap) -> Iterator[Line]:
    """One line for each part of the flash, with a bar that is to scale."""
    column = size_text(-(-flash.size // _COLUMNS))
    yield ((f"flash map: {size_text(flash.size)}, {column} a column; # written, - kept free", "bold"),)
    for area in flash.areas:
        style = _STYLES.get(area.treatment, "dim" if not area.images else "red")
        name = area.label if not area.is_unused else "-"
        filled = f"{size_text(area.written)} used" if area.images else ""
        over = f", REACHES {size_text(area.overhang)} OVER ITS END" if area.overhang else ""
        yield (
            ("  |", ""),
            (bar(area, flash.size), style),
            (f"|  0x{area.offset:06x}  {size_text(area.size):>9}  {filled:>16}  {printable(name):16}  ", ""),
            (area.treatment, style),
            (over, "bold red"),
        )


def bar(area: Area, size: int) -> str:
    """Where an area is in a flash of `size` bytes: every column that it touches, also by a single byte."""
    if area.is_unused:
        return " " * _COLUMNS
    return "".join(_cell(area, size * index, size * (index + 1)) for index in range(_COLUMNS))


def _cell(area: Area, start: int, end: int) -> str:
    """One column; `start` and `end` are addresses times the number of columns, so that nothing is rounded."""
    if any(image.offset * _COLUMNS < end and image.end * _COLUMNS > start for image in area.images):
        return "#"
    return "-" if area.offset * _COLUMNS < end and area.end * _COLUMNS > start else " "


def key_block_lines(blocks: Iterable[Block]) -> Iterator[Line]:
    """One line for each key, and for each block that stays empty."""
    yield (("key blocks", "bold"),)
    for block in blocks:
        if not block.keys:
            yield (("  ", ""), (f"{block.name:10}  empty", "dim"))
        for key in block.keys:
            part = "" if key.part == "whole" else f" ({key.part} half)"
            yield (
                (f"  {block.name:10}  {key.title + part:34}  {key.purpose or 'fixed purpose':22}  ", ""),
                (key.protections, "green"),
            )


def plain(lines: Iterable[Line]) -> str:
    """The lines without colour."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def show(lines: Iterable[Line]) -> None:
    """Prints the lines on stdout, in colour on a terminal unless NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        click.echo(plain(lines))
        return
    from rich.console import Console  # noqa: PLC0415 (slow to import, and only needed on a terminal)
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    for line in lines:
        console.print(Text.assemble(*((text, style) for text, style in line)), soft_wrap=True)
