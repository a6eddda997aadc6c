# SPDX-License-Identifier: Apache-2.0
"""A signing key as a profile names it: which key it is, and which images are signed with it."""

from __future__ import annotations

import enum
import re

from secure_ext.station.frozen import frozen

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_MEMBERS = frozenset({"key", "digest", "signs"})


class Signs(str, enum.Enum):
    """What a secure boot key signs. Its digest is burned in any case, so that boards trust it.

    ESP-IDF (``docs/en/security/secure-boot-v2.rst``, Key Revocation): the bootloader, which is never updated, can be
    signed with several keys; applications should be signed with only one key at a time.
    """

    ALL = "all"
    BOOTLOADER = "bootloader"
    NOTHING = "nothing"

    def covers(self, *, is_bootloader: bool) -> bool:
        """Whether an image needs a signature by such a key."""
        return self is Signs.ALL or (self is Signs.BOOTLOADER and is_bootloader)


@frozen
class SigningEntry:
    """One entry of ``secure_boot.keys``: `key` as a profile writes it, or the `digest` of its public half in hex."""

    key: str = ""
    digest: str = ""
    signs: Signs = Signs.ALL


EXPECTATION = (
    "a list of keys; each is a text, or a map of `key` (or `digest`: 64 hexadecimal digits, for a key that signs "
    f"nothing) and `signs` ({', '.join(sorted(signs.value for signs in Signs))})"
)
"""What an entry must be, for messages."""


def is_digest(text: str) -> bool:
    """Whether a text is the digest of a public key, as ``keys digest`` prints it."""
    return _DIGEST.fullmatch(text) is not None


def signing_entry(value: object) -> str | SigningEntry | None:
    """The entry that was parsed from YAML, a text as it is; None if it is not one."""
    if isinstance(value, str):
        return value if value and "\0" not in value else None
    if not isinstance(value, dict) or not set(value) <= _MEMBERS or ("key" in value) == ("digest" in value):
        return None
    key, digest = value.get("key"), value.get("digest")
    signs = value.get("signs", Signs.ALL.value if digest is None else Signs.NOTHING.value)
    if not isinstance(signs, str) or signs not in {known.value for known in Signs}:
        return None
    if digest is not None:
        fits = isinstance(digest, str) and is_digest(digest) and signs == Signs.NOTHING.value
        return SigningEntry(digest=digest.lower(), signs=Signs.NOTHING) if fits else None
    return SigningEntry(key, "", Signs(signs)) if isinstance(key, str) and key and "\0" not in key else None


def entry_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of an entry."""
    text = {"type": "string", "minLength": 1}
    return {
        "oneOf": [
            text,
            {
                "type": "object",
                "properties": {"key": text, "signs": {"enum": [signs.value for signs in Signs]}},
                "required": ["key"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {
                    "digest": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
                    "signs": {"const": Signs.NOTHING.value},
                },
                "required": ["digest"],
                "additionalProperties": False,
            },
        ]
    }
