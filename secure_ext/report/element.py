# SPDX-License-Identifier: Apache-2.0
"""HTML as a tree that escapes everything when it is written: there is no way to put markup into it as text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Union

from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.revision import revision_range

_VOID = frozenset({"meta", "br", "hr"})
# No character of HTML (control, surrogate, noncharacter), or one that turns the direction of the text around it.
_UNFIT = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
    r"|[" + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 17)) + "]"
)

Node = Union["Element", str]


@frozen
class Element:
    """A tag with attributes and content; text in it is text."""

    tag: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: tuple[Node, ...] = ()


def el(tag: str, *children: Node | Iterable[Node] | None, **attributes: str | int | float | None) -> Element:
    """An element. In attributes' names ``_`` means ``-``, at the end nothing; a value None leaves one out."""
    content: list[Node] = []
    for child in children:
        if isinstance(child, (str, Element)):
            content.append(child)
        elif child is not None:
            content.extend(child)
    named = {
        name.rstrip("_").replace("_", "-"): _number(value) for name, value in attributes.items() if value is not None
    }
    return Element(tag, named, tuple(content))


def markup(node: Node) -> str:
    """The node as HTML."""
    if isinstance(node, str):
        return html.escape(fit(node), quote=False)
    attributes = "".join(f' {name}="{html.escape(fit(value))}"' for name, value in node.attributes.items())
    if node.tag in _VOID:
        return f"<{node.tag}{attributes}>"
    return f"<{node.tag}{attributes}>{''.join(markup(child) for child in node.children)}</{node.tag}>"


def fit(text: str) -> str:
    """The text with a mark in place of every character that HTML does not allow or that hides what is written."""
    return _UNFIT.sub("\ufffd", text)


def code(text: str) -> Element:
    """A name of the machine's world, in its own type; may be broken anywhere."""
    return el("code", text)


def command(text: str) -> Element:
    """A command as it is typed, kept in one line if that is wide enough."""
    return el("code", text, class_="command")


def sentence(text: str) -> str:
    """The text as a sentence; a name at its beginning is left as it is."""
    first = text.split(" ", 1)[0]
    begun = text[:1].upper() + text[1:] if first.islower() and first.replace("-", "").isalpha() else text
    return begun if begun.endswith((".", "!", "?")) else begun + "."


def revisions(plan: PlanDocument) -> str:
    """The chip revisions that a plan document is for."""
    return revision_range(plan.min_revision, plan.max_revision)


def section(identifier: str, title: str, *children: Node | Iterable[Node] | None) -> Element:
    """A part of the page that the contents lead to."""
    return el("section", el("h2", title, id=identifier), *children, aria_labelledby=identifier)


def table(caption: str, heads: tuple[str, ...], rows: Iterable[tuple[Node, ...]], class_: str | None = None) -> Element:
    """A table whose rows become cards on a narrow screen; the first cell of a row names it."""
    body = [
        el(
            "tr",
            el("th", cells[0], scope="row"),
            [el("td", cell, data_head=head) for head, cell in zip(heads[1:], cells[1:], strict=True)],
        )
        for cells in rows
    ]
    head = el("thead", el("tr", [el("th", text, scope="col") for text in heads]))
    return el("table", el("caption", caption), head, el("tbody", body), class_=class_)


def _number(value: str | int | float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
