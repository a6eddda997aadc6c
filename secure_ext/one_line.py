"""Text from outside that is shown on a terminal, or becomes a line of a script: it stays text, and one line."""

from __future__ import annotations

import re

_NO_TEXT = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, line breaks of any alphabet, and what makes text run in the other direction."""


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
