# SPDX-License-Identifier: Apache-2.0
"""A key of the firmware's own, as a profile names it: what the chip may use it for, where it comes from, its block."""

from __future__ import annotations

import re

from secure_ext.station.frozen import frozen

HMAC_PURPOSES = ("HMAC_UP", "HMAC_DOWN_ALL", "HMAC_DOWN_JTAG", "HMAC_DOWN_DIGITAL_SIGNATURE")
"""Key purposes of the HMAC peripheral: for software, for both uses of the hardware, for JTAG, for signatures."""
ECDSA_PURPOSES = ("ECDSA_KEY", "ECDSA_KEY_P192", "ECDSA_KEY_P384")
"""Key purposes of the ECDSA peripheral; the first is of P-256, and of P-192 on chips that have not the second."""
PURPOSES = (*HMAC_PURPOSES, *ECDSA_PURPOSES)
OPENS_JTAG = ("HMAC_DOWN_JTAG", "HMAC_DOWN_ALL")
"""The purposes of keys that open JTAG again (ESP-IDF, HMAC for Enabling JTAG)."""
_SYNONYMS = {"ECDSA_KEY_P256": "ECDSA_KEY"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
_BLOCK = re.compile(r"KEY[0-5]")
_MEMBERS = frozenset({"purpose", "key", "block"})
EXPECTATION = (
    "a map of names (small letters, digits, _) to maps of `purpose` "
    f"({', '.join(PURPOSES)}), `key` (a file, generate or per-device) and, if it matters, `block` (KEY0 to KEY5)"
)
"""What ``extra_keys`` must be, for messages."""


@frozen
class ExtraKeyEntry:
    """One entry of ``extra_keys``.

    Attributes:
        purpose: espefuse's name of the key purpose.
        key: as a profile writes it.
        block: ``KEY0`` to ``KEY5``; empty for the first that fits.
    """

    purpose: str
    key: str
    block: str = ""


def extra_key_entries(value: object) -> dict[str, ExtraKeyEntry] | None:
    """The entries that were parsed from YAML, by name; None if they are none."""
    if not isinstance(value, dict):
        return None
    entries = {name: _entry(one) for name, one in value.items() if isinstance(name, str) and _NAME.fullmatch(name)}
    checked = {name: entry for name, entry in entries.items() if entry is not None}
    return checked if len(checked) == len(value) else None


def _entry(value: object) -> ExtraKeyEntry | None:
    if not isinstance(value, dict) or not set(value) <= _MEMBERS:
        return None
    purpose, key, block = value.get("purpose"), value.get("key"), value.get("block", "")
    if not isinstance(purpose, str) or not isinstance(key, str) or not isinstance(block, str):
        return None
    purpose = _SYNONYMS.get(purpose, purpose)
    if purpose not in PURPOSES or not key or "\0" in key or (block and not _BLOCK.fullmatch(block)):
        return None
    return ExtraKeyEntry(purpose, key, block)


def extra_keys_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of ``extra_keys``."""
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{_NAME.pattern}$"},
        "additionalProperties": {
            "type": "object",
            "properties": {
                "purpose": {"enum": [*PURPOSES, *_SYNONYMS]},
                "key": {"type": "string", "minLength": 1},
                "block": {"type": "string", "pattern": f"^{_BLOCK.pattern}$"},
            },
            "required": ["purpose", "key"],
            "additionalProperties": False,
        },
    }
