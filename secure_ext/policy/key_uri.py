# SPDX-License-Identifier: Apache-2.0
"""Keys that are named by a URI: the kinds there are, by scheme; `secure_ext.keys.uri_signers` has how each is opened.

A new kind is a line here, a line there, and a file that reads and opens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from secure_ext.policy.pkcs11_uri import SCHEME, parse_pkcs11_uri


class KeyUri(Protocol):
    """A URI that was read; its text is for messages, without secrets."""

    @property
    def library(self) -> str | None:
        """The library that opening it loads into this process; None if it names none."""


class _Parser(Protocol):
    def __call__(self, text: str, *, place: str) -> KeyUri: ...


PARSERS: Mapping[str, _Parser] = {SCHEME: parse_pkcs11_uri}
"""By the beginning of the text."""


def is_key_uri(text: str) -> bool:
    """Whether a key is named by a URI of a kind that is known, and not by a file."""
    return text.startswith(tuple(PARSERS))


def parse_key_uri(text: str, *, place: str) -> KeyUri:
    """The URI in a text of which `is_key_uri` is true. Raises UsageError SE642, SE643 for a bad PKCS#11 URI."""
    parser = next(parser for scheme, parser in PARSERS.items() if text.startswith(scheme))
    return parser(text, place=place)
