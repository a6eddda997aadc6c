# SPDX-License-Identifier: Apache-2.0
"""The flash map loses nothing of the flash, and its drawings and bars stay honest for any table."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_ext.cli.show.maps import bar, flash_lines, plain
from secure_ext.plan.flash_map import Area, FlashMap, PlacedImage, flash_map, size_text
from secure_ext.report.element import Element, Node
from secure_ext.report.flash_map import drawing, spread, views

SECTOR = 0x1000


def partition(label: str, offset: int, size: int, *, encrypted: bool = False, kind: str = "app") -> Area:
    return Area(label, f"{kind}/ota_0", offset, size, encrypted)


def image(name: str, offset: int, size: int, role: str = "data", *, signed: bool = False) -> PlacedImage:
    return PlacedImage(name, role, offset, size, signed, encrypted=True)


@st.composite
def tables(draw: st.DrawFn) -> FlashMap:
    """A table with holes, and an image in some partitions; the flash may be 16 MB or of unknown size."""
    rows, images, position = [], [], 0x9000
    for number, sectors in enumerate(draw(st.lists(st.integers(1, 0x300), min_size=1, max_size=20))):
        position += draw(st.sampled_from((0, 0, 0, SECTOR, 0x10000)))
        rows.append(partition(f"p{number}", position, sectors * SECTOR))
        if draw(st.booleans()):
            images.append(image(f"p{number}", position, draw(st.integers(1, sectors * SECTOR))))
        position += sectors * SECTOR
    images += [image("bootloader", 0x1000, 0x6123, "bootloader"), image("table", 0x8000, 0xC00, "partition_table")]
    size = draw(st.sampled_from((None, 1 << 24)))
    return flash_map(size, rows, sorted(images, key=lambda row: row.offset))


def rectangles(node: Node) -> list[Element]:
    if isinstance(node, str):
        return []
    return [node] * (node.tag == "rect") + [found for child in node.children for found in rectangles(child)]


@given(flash=tables())
def test_the_areas_are_the_whole_flash_without_holes(flash: FlashMap) -> None:
    position = 0
    for area in flash.areas:
        assert area.offset == position and area.size > 0
        position = area.end
    assert position == flash.size


@given(flash=tables())
def test_drawings_are_to_scale_and_every_small_neighbour_is_enlarged(flash: FlashMap) -> None:
    drawn = views(flash)
    assert {name for view in drawn for name in (area.label for area in view.areas)} >= {a.label for a in flash.areas}
    for view in drawn:
        assert view.start == view.areas[0].offset and view.end == view.areas[-1].end
        scale = view.height / (view.end - view.start)
        for node in rectangles(drawing(view, "map")):
            offset, size = int(node.attributes["data-offset"]), int(node.attributes["data-size"])
            assert float(node.attributes["y"]) == pytest.approx(12 + (offset - view.start) * scale, abs=1e-3)
            assert float(node.attributes["height"]) == pytest.approx(size * scale, abs=1e-3)


def nodes(node: Node, tag: str, look: str = "") -> list[Element]:
    if isinstance(node, str):
        return []
    here = [node] * (node.tag == tag and look in node.attributes.get("class", ""))
    return here + [found for child in node.children for found in nodes(child, tag, look)]


def numbers(path: Element) -> list[float]:
    return [float(text) for text in re.findall(r"-?[\d.]+", path.attributes["d"])]


@given(flash=tables())
def test_every_used_part_is_named_where_it_is_drawn_large_enough(flash: FlashMap) -> None:
    """In the whole map a run of small neighbours is one bracket; its parts are named in the enlargement."""
    whole, *enlargements = views(flash)
    drawn = [drawing(view, "map") for view in (whole, *enlargements)]
    named = [[text.children[1].children[0] for text in nodes(svg, "text")] for svg in drawn]  # type: ignore[union-attr]
    assert len(nodes(drawn[0], "path", "bracket")) == len(enlargements)
    assert sum(name.startswith("see ") for name in map(str, named[0])) == len(enlargements)
    for area in flash.used:
        assert sum(area.label in names for names in named) == 1
    for view, svg in zip((whole, *enlargements), drawn, strict=True):
        heights = [float(text.attributes["y"]) for text in nodes(svg, "text")]
        assert all(later - earlier >= 17 - 1e-3 for earlier, later in pairwise(heights))
        assert all(0 <= y <= 12 + view.height for y in heights)


@given(flash=tables())
def test_a_line_to_a_part_ends_at_that_part(flash: FlashMap) -> None:
    for view in views(flash)[1:]:
        labelled = [a for a in view.areas if not a.is_unused or view.y(a.end) - view.y(a.offset) >= 17]
        leaders = nodes(drawing(view, "map"), "path", "leader")
        for area, path in zip(labelled, leaders, strict=True):
            assert view.y(area.offset) < numbers(path)[1] < view.y(area.end)


@given(flash=tables())
def test_hatching_and_ends_of_images_stay_in_their_partition(flash: FlashMap) -> None:
    for view in views(flash):
        svg = drawing(view, "map")
        plain = [a for a in view.areas if not a.is_unused and not a.encrypted]
        for area, path in zip(plain, nodes(svg, "path", "hatching"), strict=True):
            values = numbers(path)
            assert all(-0.01 <= x <= 84.01 for x in values[::2])
            assert all(view.y(area.offset) - 0.01 <= y <= view.y(area.end) + 0.01 for y in values[1::2])
        ends = [i.end for a in view.areas for i in a.images if i.end < a.end]
        assert [numbers(path)[1] for path in nodes(svg, "path", "end")] == pytest.approx(
            [view.y(end) for end in ends], abs=0.01
        )


@given(st.lists(st.floats(12, 500), max_size=25).map(sorted))
def test_labels_never_overlap_and_stay_in_order(wanted: list[float]) -> None:
    placed = spread(wanted, 12 + 25 * 17)
    assert all(later - earlier >= 17 - 1e-6 for earlier, later in pairwise(placed))
    assert all(0 <= y <= 12 + 25 * 17 for y in placed)


@given(flash=tables())
def test_bars_show_every_column_that_is_touched(flash: FlashMap) -> None:
    for area in flash.used:
        drawn = bar(area, flash.size)
        assert len(drawn) == 32
        for column, character in enumerate(drawn):
            start, end = flash.size * column / 32, flash.size * (column + 1) / 32
            assert (character != " ") == (area.offset < end and area.end > start)
            assert (character == "#") == any(i.offset < end and i.end > start for i in area.images)


def test_an_image_over_the_end_of_its_partition_is_shown() -> None:
    flash = flash_map(1 << 22, [partition("small", 0x10000, SECTOR)], [image("large", 0x10000, SECTOR + 100)])
    (area,) = flash.used
    assert area.overhang == 100
    assert "REACHES 100 bytes OVER ITS END" in plain(flash_lines(flash))
    assert "image overhang" in [node.attributes["class"] for node in rectangles(drawing(views(flash)[0], "map"))]


def test_a_bootloader_in_the_table_is_not_drawn_twice() -> None:
    rows = [partition("boot", 0, 0x8000, kind="bootloader"), partition("table", 0x8000, SECTOR, kind="partition_table")]
    images = [image("bootloader", 0, 0x6000, "bootloader"), image("t", 0x8000, 0xC00, "partition_table")]
    assert [area.label for area in flash_map(0x10000, rows, images).used] == ["boot", "table"]


def test_names_cannot_command_the_terminal() -> None:
    flash = flash_map(1 << 22, [partition("\x1b[2J\u202eevil", 0x10000, SECTOR)], [])
    text = plain(flash_lines(flash))
    assert "\x1b" not in text and "\u202e" not in text and "evil" in text


@pytest.mark.parametrize(
    ("size", "text"),
    [(3072, "3 KiB"), (1 << 20, "1 MiB"), (0x180000, "1.5 MiB"), (1000, "1000 bytes"), (24577, "24577 bytes")],
)
def test_sizes_are_exact(size: int, text: str) -> None:
    assert size_text(size) == text
