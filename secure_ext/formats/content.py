# SPDX-License-Identifier: Apache-2.0
"""What a file seems to be, judged by its content: the reason behind a refusal that a reader can act on."""

from __future__ import annotations

import enum
import math
from collections import Counter

_SAMPLE_BYTES = 4096
_LEAST_BYTES_TO_JUDGE = 1024
_RANDOM_BITS_PER_BYTE = 7.7
"""Random data of 1 KB and more has over 7.8 bits per byte, machine code of the ESP chips about 6.5."""


class Content(enum.Enum):
    """A kind of file that is easily mistaken for another one."""

    EMPTY = "empty"
    ERASED = "erased flash (every byte is 0xFF)"
    ELF = "an ELF file"
    IMAGE = "an ESP image"
    TABLE = "a binary partition table"
    TEXT = "a text file"
    CIPHERTEXT = "already encrypted (its bytes look random)"
    UNKNOWN = "of no known kind"


def recognize(data: bytes) -> Content:
    """Name the kind of file that ``data`` seems to be; a guess, for messages only."""
    if not data:
        return Content.EMPTY
    head = data[:_SAMPLE_BYTES]
    for magic, content in ((b"\x7fELF", Content.ELF), (b"\xaa\x50", Content.TABLE), (b"\xe9", Content.IMAGE)):
        if head.startswith(magic):
            return content
    if head.count(0xFF) == len(head):
        return Content.ERASED
    if _is_text(head, cut=len(data) > len(head)):
        return Content.TEXT
    return Content.CIPHERTEXT if _looks_random(head) else Content.UNKNOWN


def _is_text(head: bytes, *, cut: bool) -> bool:
    """Whether a file begins with printable text; ``cut`` says that the last character may lack its end.

    UTF-16, as some Windows editors write it, counts as text too.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return True
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if not cut or error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t" for character in text)


def _looks_random(head: bytes) -> bool:
    if len(head) < _LEAST_BYTES_TO_JUDGE:
        return False
    total = len(head)
    entropy = -sum(count / total * math.log2(count / total) for count in Counter(head).values())
    return entropy >= _RANDOM_BITS_PER_BYTE
