# SPDX-License-Identifier: Apache-2.0
"""Text from outside that is shown on a terminal, or becomes a line of a script: it stays text, and one line."""

from __future__ import annotations

import re

from secure_ext.station.typed_document import NO_TEXT

_NO_TEXT = re.compile(f"[{NO_TEXT}]")


def is_one_line(text: str) -> bool:
    """Whether the text has no line breaks and no control characters."""
    return not _NO_TEXT.search(text)


def one_line(text: str) -> str:
    """The text with a question mark for each line break and control character."""
    return _NO_TEXT.sub("?", text)


def printable(text: str) -> str:
    """The text without what a terminal would obey, or does not show."""
    return "".join(character if character.isprintable() else "?" for character in text)


def harmless(text: str) -> str:
    """Several lines for a terminal, without what it would obey."""
    return "\n".join(map(one_line, text.split("\n")))
