# SPDX-License-Identifier: Apache-2.0
"""The flash map: drawings to scale, of the whole flash and of the parts too small to see in it, and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secure_ext.plan.flash_map import Area, FlashMap, PlacedImage, size_text
from secure_ext.report.element import Element, Node, code, el, section, table
from secure_ext.station.frozen import frozen

_WIDTH = 340
_COLUMN = 84
_LABEL_X = 112
_MARGIN = 12
_LINE = 17
_WHOLE_HEIGHT = 480
_LEAST_HEIGHT = 240
_READABLE = 16
_POINT = 8
_HATCH = 7
_LEAST_BRACKET = 8

_LEGEND = (
    ("signed-encrypted", "image, signed and encrypted"),
    ("encrypted", "image, encrypted"),
    ("signed", "image, signed; anyone can read it"),
    ("plain", "image, plain: anyone can read it"),
    ("room-encrypted", "empty partition, or empty rest of one; what the software writes there is encrypted"),
    ("room", "empty partition, or empty rest of one; flash encryption does not cover it"),
    ("unused", "belongs to nothing"),
    ("overhang", "image reaching over the end of its partition"),
)


@frozen
class View:
    """A window of the flash that is drawn at one scale: `start` and `end` are addresses, `height` is in pixels.

    `enlarged` are the runs of small neighbours that have drawings of their own, each with how it is called.
    """

    title: str
    start: int
    end: int
    height: float
    areas: tuple[Area, ...]
    enlarged: tuple[tuple[str, tuple[Area, ...]], ...] = ()

    def y(self, address: float) -> float:
        """Where an address is in the drawing, in pixels from its top."""
        return _MARGIN + (address - self.start) * self.height / (self.end - self.start)


def flash_map_section(flash: FlashMap, boot: str | None = None) -> Element:
    """The part of the page about the flash; `boot` is the partition that a new board starts, if the bundle says so."""
    drawings = views(flash)
    used = {name for area in flash.areas for name in _looks(area)}
    return section(
        "flash-map",
        "Flash map",
        el(
            "p",
            "The flash is the board's long-term memory. Each partition is a drawer of fixed size in it. What the "
            "bundle puts into a drawer is an image; it is usually smaller than the drawer, and a line shows where it "
            "ends. Every drawing is to scale. An address is where a part begins; an image's size counts its "
            "signatures.",
        ),
        el(
            "ul",
            [el("li", el("span", class_=f"swatch {look}"), text) for look, text in _LEGEND if look in used],
            class_="legend",
        ),
        el("div", [drawing(view, f"map-{number}") for number, view in enumerate(drawings)], class_="maps"),
        _table(flash),
        el("p", "A new board starts the software in ", code(boot), ", and no other.") if boot else None,
        _about_nvs(flash),
    )


def _about_nvs(flash: FlashMap) -> Element | None:
    labels = [area.label for area in flash.used if area.kind == "data, nvs"]
    if not labels:
        return None
    why = "NVS has an encryption of its own, which the software turns on."
    return el("p", f"Flash encryption never covers {', '.join(labels)}: {why}", class_="source")


def views(flash: FlashMap) -> tuple[View, ...]:
    """The whole flash, then each run of neighbours that are too small to be seen there."""
    height = max(_WHOLE_HEIGHT, _LINE * len(flash.areas))
    runs = list(_small_runs(flash, height))
    names = ["the enlargement"] if len(runs) == 1 else [f"enlargement {number}" for number in range(1, len(runs) + 1)]
    whole = View(
        f"Whole flash, {size_text(flash.size)}",
        0,
        flash.size,
        float(height),
        flash.areas,
        tuple(zip(names, runs, strict=True)),
    )
    return (whole, *(_enlarged(name, run, whole) for name, run in whole.enlarged))


def _small_runs(flash: FlashMap, height: int) -> Iterator[tuple[Area, ...]]:
    """Runs of at least two used areas, each too small to be readable, with the small holes between them."""
    run: list[Area] = []
    for area in (*flash.areas, None):
        if area is not None and area.size * height < _READABLE * flash.size:
            run.append(area)
            continue
        while run and run[-1].is_unused:
            run.pop()
        while run and run[0].is_unused:
            run.pop(0)
        if sum(not small.is_unused for small in run) > 1:
            yield tuple(run)
        run = []


def _enlarged(name: str, run: tuple[Area, ...], whole: View) -> View:
    start, end = run[0].offset, max(area.end for area in run)
    smallest = min(area.size for area in run if area.size)
    height = min(max(_READABLE * (end - start) / smallest, _LEAST_HEIGHT), max(_WHOLE_HEIGHT, _LINE * len(run)))
    times = height / (end - start) / (whole.height / whole.end)
    called = name.removeprefix("the ").capitalize()
    return View(f"{called}, {times:.0f} times as large", start, end, float(height), run)


def drawing(view: View, identifier: str) -> Element:
    """One view as SVG; every rectangle carries its address and length in bytes as ``data-offset`` and ``data-size``."""
    total = int(view.height) + 2 * _MARGIN
    title, description = f"{identifier}-title", f"{identifier}-text"
    rectangles = [node for area in view.areas for node in _rectangles(view, area)]
    svg = el(
        "svg",
        el("title", f"Flash map: {view.title}", id=title),
        el("desc", "; ".join(_describe(area) for area in view.areas), id=description),
        rectangles,
        _labels(view),
        role="img",
        aria_labelledby=f"{title} {description}",
        viewBox=f"0 0 {_WIDTH} {total}",
        width=_WIDTH,
        height=total,
        data_start=view.start,
        data_end=view.end,
    )
    return el("figure", el("figcaption", view.title), svg)


def _rectangles(view: View, area: Area) -> Iterator[Element]:
    yield _rectangle(view, area.offset, area.size, f"area {_room_look(area)}", _describe(area))
    if _room_look(area) == "room":
        yield el("path", d=_hatching(view.y(area.offset), view.y(area.end)), class_="hatching")
    for image in area.images:
        inside = min(image.size, max(area.end - image.offset, 0))
        described = f"{image.name}: {image.treatment}, {size_text(image.size)} at 0x{image.offset:06x}"
        yield _rectangle(view, image.offset, inside, f"image {_image_look(image)}", described)
        if image.end > area.end:
            over = min(image.end, view.end) - area.end
            yield _rectangle(
                view, area.end, over, "image overhang", f"{image.name} reaches over the end of {area.label}"
            )
        elif image.end < area.end:
            yield el("path", d=f"M0 {view.y(image.end):.2f}h{_COLUMN}", class_="end")


def _hatching(top: float, bottom: float) -> str:
    """Slanted lines across the column from `top` to `bottom`."""
    lines = []
    for start in range(int(top // _HATCH) * _HATCH, int(bottom) + _COLUMN, _HATCH):
        upper, lower = max(top, start - _COLUMN), min(bottom, start)
        if upper < lower:
            lines.append(f"M{start - lower:.2f} {lower:.2f}L{start - upper:.2f} {upper:.2f}")
    return "".join(lines)


def _rectangle(view: View, offset: int, size: int, look: str, described: str) -> Element:
    return el(
        "rect",
        el("title", described),
        class_=look,
        x=0,
        y=view.y(offset),
        width=_COLUMN,
        height=view.y(offset + size) - view.y(offset),
        data_offset=offset,
        data_size=size,
    )


@frozen
class _Label:
    """A name beside the column: `y` is where it points, `bracket` where the run that it stands for begins and ends."""

    address: int
    text: str
    y: float
    look: str = "name"
    bracket: tuple[float, float] | None = None


def _labels(view: View) -> Iterator[Element]:
    """The names beside the column, moved apart where they would overlap, each with a line to what it names."""
    labels = sorted(_named(view), key=lambda label: label.y)
    for label, y in zip(labels, spread([label.y for label in labels], _MARGIN + view.height), strict=True):
        if label.bracket:
            top, bottom = label.bracket
            yield el("path", d=f"M{_COLUMN + 2} {top:.2f}h6V{bottom:.2f}h-6", class_="bracket")
        yield el(
            "path",
            d=f"M{_COLUMN + (8 if label.bracket else 0)} {label.y:.2f}L{_COLUMN + 10} {label.y:.2f}"
            f"L{_LABEL_X - 10} {y:.2f}h6",
            class_="leader",
        )
        yield el(
            "text",
            el("tspan", f"0x{label.address:06x}", class_="address"),
            el("tspan", label.text, dx=8, class_=label.look),
            x=_LABEL_X,
            y=y,
            dy="0.35em",
        )


def _named(view: View) -> Iterator[_Label]:
    """One label for each run that is enlarged elsewhere, and one for each other part that is used or large enough."""
    for name, run in view.enlarged:
        top, bottom = view.y(run[0].offset), view.y(max(area.end for area in run))
        middle, half = (top + bottom) / 2, max((bottom - top) / 2, _LEAST_BRACKET / 2)
        yield _Label(run[0].offset, f"see {name}", middle, "name", (middle - half, middle + half))
    elsewhere = {area.offset for _, run in view.enlarged for area in run}
    for area in view.areas:
        height = view.y(area.end) - view.y(area.offset)
        y = view.y(area.offset) + min(height / 2, _POINT)
        if area.is_unused:
            if height >= _LINE:
                yield _Label(area.offset, "belongs to nothing", y, "address")
        elif area.offset not in elsewhere:
            yield _Label(area.offset, area.label, y)


def spread(wanted: Sequence[float], bottom: float, line: float = _LINE) -> list[float]:
    """Positions in the order of `wanted`, close to them, at least `line` apart, and none behind `bottom`."""
    placed: list[float] = []
    for y in wanted:
        placed.append(max(y, placed[-1] + line) if placed else y)
    limit = bottom
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - line
    return placed


def _image_look(image: PlacedImage) -> str:
    return image.treatment.replace(" + ", "-")


def _room_look(area: Area) -> str:
    if area.is_unused:
        return "unused"
    return "room-encrypted" if area.encrypted else "room"


def _looks(area: Area) -> Iterator[str]:
    yield _room_look(area)
    yield from (_image_look(image) for image in area.images)
    if area.overhang:
        yield "overhang"


def _describe(area: Area) -> str:
    if area.is_unused:
        return f"unused, {size_text(area.size)} at 0x{area.offset:06x}"
    return f"{area.label}: {area.treatment}, {size_text(area.size)} at 0x{area.offset:06x}"


def _table(flash: FlashMap) -> Element:
    rows = [_row(area) for area in flash.used]
    heads = ("Name", "Kind", "Address", "Size", "Filled by the bundle", "Protection")
    return table("What lies where, by address", heads, rows, class_="cards")


def _row(area: Area) -> tuple[Node, ...]:
    filled: Node = "nothing: stays erased"
    if area.images:
        filled = f"{size_text(area.written)} ({_share(area.written, area.size)})"
    if area.overhang:
        filled = el("strong", f"{filled}; {size_text(area.overhang)} reach over its end")
    return (area.label, area.kind, code(f"0x{area.offset:06x}"), size_text(area.size), filled, area.treatment)


def _share(part: int, whole: int) -> str:
    percent = part * 100 / whole if whole else 0
    return f"{percent:.0f} %" if percent >= 1 else "under 1 %"
