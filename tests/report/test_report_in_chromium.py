# SPDX-License-Identifier: Apache-2.0
"""report.html in a real browser: silent, to scale to the pixel, readable in light, dark, on a phone and printed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.typed_documents import changed, data_of

from secure_ext.bundle.write import Bundle
from secure_ext.report.page import render_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no program called chromium")

MEASURE = """() => [...document.querySelectorAll('svg[data-start]')].map(svg => ({
  start: Number(svg.dataset.start), end: Number(svg.dataset.end),
  rectangles: [...svg.querySelectorAll('rect')].map(r => {
    const box = r.getBoundingClientRect();
    return {offset: Number(r.dataset.offset), size: Number(r.dataset.size), image: r.classList.contains('image'),
            top: box.top, height: box.height, left: box.left, width: box.width};
  })
}))"""

TEXTS = """() => {
  const colour = text => text.match(/[\\d.]+/g).map(Number);
  const shade = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const contrast = (a, b) => {
    const [x, y] = [shade(a), shade(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ['title', 'desc'].includes(node.tagName)) continue;
    const style = getComputedStyle(node);
    const ink = node.namespaceURI.endsWith('svg') ? style.fill : style.color;
    found.push([contrast(colour(ink), behind(node)), walker.currentNode.data.slice(0, 40)]);
  }
  for (const cell of document.querySelectorAll('td')) {
    found.push([contrast(colour(getComputedStyle(cell, '::before').color), behind(cell)), cell.dataset.head]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def page_file(made_bundle: Callable[[str], Bundle], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything on it: findings of each kind, open doors, every treatment of an image, a label of W's."""
    bundle = made_bundle("esp32c3")
    findings = [
        {"code": "SP001", "severity": severity, "place": "here", "cause": "it is", "cure": "mend it", "accepted": True}
        for severity in ("error", "warning", "info")
    ]
    data = data_of(bundle.manifest)
    treatments = [(True, True), (True, False), (False, True), (False, False)]
    images = [
        {**image, "signed": signed, "encrypted": encrypted}
        for image, (signed, encrypted) in zip(data["images"], treatments, strict=True)
    ]
    rows = [{**row, "label": "W" * 16 if row["label"] == "storage" else row["label"]} for row in data["partitions"]]
    manifest = changed(bundle.manifest, findings=findings, project="W" * 60, images=images, partitions=rows)
    plan = replace(bundle.plan, steps=tuple(step for step in bundle.plan.steps if "jtag" not in step.id))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_report(manifest, plan, None), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    pages = []

    def open_page(path: Path, width: int = 1100, scheme: str = "light", media: str = "screen") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.noise = []
        page.on("console", lambda message: page.noise.append(message.text))
        page.on("pageerror", lambda error: page.noise.append(str(error)))
        page.on("request", lambda request: page.noise.append(request.url))
        page.emulate_media(media=media, color_scheme=scheme)
        page.goto(path.as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()


@pytest.mark.parametrize("width", [1100, 320])
def test_the_flash_map_is_to_scale(
    width: int, made_bundle: Callable[[str], Bundle], opened: Callable[..., Any], bundle: Bundle
) -> None:
    """Every rectangle is where offset and size in the manifest say, in every drawing."""
    page = opened(bundle.folder / "report.html", width)
    drawings = page.evaluate(MEASURE)
    whole = drawings[0]
    assert (whole["start"], whole["end"]) == (0, bundle.manifest.flash_size)
    places = {(row["offset"], row["size"]) for row in whole["rectangles"]}
    images = {(row["offset"], row["size"]) for row in whole["rectangles"] if row["image"]}
    assert images == {(image.offset, image.size) for image in bundle.manifest.images}
    assert {(row.offset, row.size) for row in bundle.manifest.partitions} <= places
    assert len(drawings) > 1, "the small partitions are drawn enlarged, too"
    for drawing in drawings:
        areas = [row for row in drawing["rectangles"] if not row["image"]]
        top = min(row["top"] for row in areas)
        scale = (max(row["top"] + row["height"] for row in areas) - top) / (drawing["end"] - drawing["start"])
        assert scale * (drawing["end"] - drawing["start"]) > 200
        for row in drawing["rectangles"]:
            assert row["top"] == pytest.approx(top + (row["offset"] - drawing["start"]) * scale, abs=0.01)
            assert row["height"] == pytest.approx(row["size"] * scale, abs=0.01)
            assert (row["left"], row["width"]) == (areas[0]["left"], areas[0]["width"])


def test_nothing_is_fetched_and_nothing_complains(page_file: Path, opened: Callable[..., Any]) -> None:
    page = opened(page_file)
    assert page.noise == [page_file.as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("media", ["screen", "print"])
def test_every_text_has_enough_contrast(media: str, scheme: str, page_file: Path, opened: Callable[..., Any]) -> None:
    found = opened(page_file, scheme=scheme, media=media).evaluate(TEXTS)
    assert len(found) > 150
    assert min(found)[0] >= 4.5, min(found)


SWATCHES = """() => [...document.querySelectorAll('.swatch')].map(s => {
  const style = getComputedStyle(s);
  return [s.className, style.backgroundColor, style.borderTopColor, getComputedStyle(document.body).backgroundColor];
})"""


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_of_the_map_stand_out_from_the_paper(
    scheme: str, page_file: Path, opened: Callable[..., Any]
) -> None:
    """Every image by its colour, everything by its edge; no two looks share a colour."""
    found = opened(page_file, scheme=scheme).evaluate(SWATCHES)
    assert len(found) == len({colour for _, colour, _, _ in found}) == 7
    for look, colour, edge, paper in found:
        assert contrast(edge, paper) >= 3
        assert contrast(colour, paper) >= 3 or look.split()[1] in ("room", "room-encrypted", "unused"), look


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_are_different_papers(scheme: str, page_file: Path, opened: Callable[..., Any]) -> None:
    paper = opened(page_file, scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    printed = opened(page_file, scheme=scheme, media="print").evaluate(
        "getComputedStyle(document.body).backgroundColor"
    )
    assert printed == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_the_screen(width: int, page_file: Path, opened: Callable[..., Any]) -> None:
    page = opened(page_file, width)
    wide = page.evaluate(
        "[...document.querySelectorAll('body :not(svg *)')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_keyboard_reaches_everything(page_file: Path, opened: Callable[..., Any]) -> None:
    page = opened(page_file)
    reached = []
    for _ in range(page.locator("a").count()):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('href')"))
        assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0"), "what has the focus is seen"
    assert reached[0] == "#summary" and len(set(reached)) == len(reached) - 1
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector(':target').id") == reached[-1][1:]


def test_it_prints(page_file: Path, opened: Callable[..., Any]) -> None:
    page = opened(page_file)
    assert page.pdf(format="A4").startswith(b"%PDF-")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
