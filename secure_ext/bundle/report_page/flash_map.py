"""The flash map: drawings to scale, of the whole flash and of the parts too small to see in it, and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from secure_ext.bundle.report_page.element import Element, Node, code, el, section, table
from secure_ext.plan.flash_map import Area, FlashMap, PlacedImage, size_text

_WIDTH = 340
_COLUMN = 84
_LABEL_X = 112
_MARGIN = 12
_LINE = 17
_WHOLE_HEIGHT = 480
_LEAST_HEIGHT = 240
_READABLE = 16

_LEGEND = (
    ("signed-encrypted", "image, signed and encrypted"),
    ("encrypted", "image, encrypted"),
    ("signed", "image, signed; anyone can read it"),
    ("plain", "image, plain: anyone can read it"),
    ("room-encrypted", "empty now; what the firmware writes there is encrypted"),
    ("room", "empty now; what the firmware writes there is not encrypted by flash encryption"),
    ("unused", "belongs to nothing"),
    ("overhang", "image reaching over the end of its partition"),
)


@dataclass(frozen=True)
class View:
    """A window of the flash that is drawn at one scale: `start` and `end` are addresses, `height` is in pixels."""

    title: str
    start: int
    end: int
    height: float
    areas: tuple[Area, ...]

    def y(self, address: float) -> float:
        """Where an address is in the drawing, in pixels from its top."""
        return _MARGIN + (address - self.start) * self.height / (self.end - self.start)


def flash_map_section(flash: FlashMap) -> Element:
    """The part of the page about the flash."""
    drawings = views(flash)
    used = {name for area in flash.areas for name in _looks(area)}
    return section(
        "flash-map",
        "Flash map",
        el(
            "p",
            "The flash is the board's long-term memory. Each partition is a drawer of fixed size in it. What the "
            "bundle puts "
            "into a drawer is an image; it is usually smaller than the drawer. Every drawing is to scale.",
        ),
        el(
            "ul",
            [el("li", el("span", class_=f"swatch {look}"), text) for look, text in _LEGEND if look in used],
            class_="legend",
        ),
        el("div", [drawing(view, f"map-{number}") for number, view in enumerate(drawings)], class_="maps"),
        _table(flash),
        _about_nvs(flash),
    )


def _about_nvs(flash: FlashMap) -> Element | None:
    labels = [area.label for area in flash.used if area.kind == "data, nvs"]
    if not labels:
        return None
    why = "NVS has an encryption of its own, which the firmware turns on."
    return el("p", f"Flash encryption never covers {', '.join(labels)}: {why}", class_="source")


def views(flash: FlashMap) -> tuple[View, ...]:
    """The whole flash, then each run of neighbours that are too small to be seen there."""
    height = max(_WHOLE_HEIGHT, _LINE * len(flash.used))
    whole = View(f"Whole flash, {size_text(flash.size)}", 0, flash.size, float(height), flash.areas)
    return (whole, *(_enlarged(run, whole) for run in _small_runs(flash, height)))


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


def _enlarged(run: tuple[Area, ...], whole: View) -> View:
    start, end = run[0].offset, max(area.end for area in run)
    smallest = min(area.size for area in run if area.size)
    used = sum(not area.is_unused for area in run)
    height = min(max(_READABLE * (end - start) / smallest, _LEAST_HEIGHT), max(_WHOLE_HEIGHT, _LINE * used))
    times = height / (end - start) / (whole.height / whole.end)
    return View(f"0x{start:06x} to 0x{end:06x}, enlarged {times:.0f} times", start, end, float(height), run)


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
    for image in area.images:
        inside = min(image.size, max(area.end - image.offset, 0))
        described = f"{image.name}: {image.treatment}, {size_text(image.size)} at 0x{image.offset:06x}"
        yield _rectangle(view, image.offset, inside, f"image {_image_look(image)}", described)
        if image.end > area.end:
            over = min(image.end, view.end) - area.end
            yield _rectangle(
                view, area.end, over, "image overhang", f"{image.name} reaches over the end of {area.label}"
            )


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


def _labels(view: View) -> Iterator[Element]:
    """The names beside the column, moved apart where they would overlap, each with a line to its area."""
    named = [area for area in view.areas if not area.is_unused]
    middles = [view.y((area.offset + area.end) / 2) for area in named]
    for area, middle, y in zip(named, middles, spread(middles, _MARGIN + view.height), strict=True):
        yield el(
            "path", d=f"M{_COLUMN} {middle:.2f}L{_COLUMN + 8} {middle:.2f}L{_LABEL_X - 10} {y:.2f}h6", class_="leader"
        )
        yield el(
            "text",
            el("tspan", f"0x{area.offset:06x}", class_="address"),
            el("tspan", area.label, dx=8, class_="name"),
            x=_LABEL_X,
            y=y,
            dy="0.35em",
        )


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
    heads = ("Name", "Kind", "Address", "Room", "Filled by the bundle", "Protection")
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
