# SPDX-License-Identifier: Apache-2.0
"""A PKCS#11 URI (RFC 7512): which key in which token; read strictly, because it decides what a board will trust."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from secure_ext.errors import UsageError
from secure_ext.station.frozen import frozen

SCHEME = "pkcs11:"
_OF_THE_TOKEN = ("token", "serial", "manufacturer", "model", "slot-id")
_PATH = (*_OF_THE_TOKEN, "object", "id", "type")
_QUERY = ("module-path",)
_PIN = ("pin-value", "pin-source")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_EXAMPLE = "pkcs11:token=factory;object=boot-1"


@frozen
class Pkcs11Uri:
    """What a URI asks of a token and of a key pair in it; None asks nothing.

    Attributes:
        token: label of the token.
        serial: its serial number.
        manufacturer: its manufacturer.
        model: its model.
        slot_id: number of the slot it is in.
        key_label: label of the key pair (``object``).
        key_id: CKA_ID of the key pair.
        module_path: shared library of the token's maker.
    """

    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None
    key_label: str | None = None
    key_id: bytes | None = None
    module_path: str | None = None

    @property
    def library(self) -> str | None:
        """The shared library that it names."""
        return self.module_path

    def __str__(self) -> str:
        """The URI without its query, for messages."""
        number = None if self.slot_id is None else str(self.slot_id)
        texts = zip(_OF_THE_TOKEN, (self.token, self.serial, self.manufacturer, self.model, number), strict=True)
        parts = [f"{name}={quote(text, safe='')}" for name, text in [*texts, ("object", self.key_label)] if text]
        if self.key_id is not None:
            parts.append("id=" + "".join(f"%{byte:02x}" for byte in self.key_id))
        return SCHEME + ";".join(parts)


def parse_pkcs11_uri(text: str, *, place: str) -> Pkcs11Uri:
    """Read a URI such as ``pkcs11:token=factory;object=boot-1?module-path=/usr/lib/softhsm/libsofthsm2.so``.

    Args:
        text: the URI.
        place: where it stands, for messages. They never show a value of the URI, which could be a PIN.

    Raises:
        UsageError: SE642 not a URI that names a key, SE643 a PIN in it.
    """
    path, _, query = text.removeprefix(SCHEME).partition("?")
    named = [*_pairs(path, ";"), *_pairs(query, "&")]
    for name, _ in named:
        if name in _PIN:
            raise UsageError(
                "SE643",
                f"the PKCS#11 URI holds {name}: a PIN in a profile or on a command line is no secret",
                cure="take it out; the PIN is asked for, or comes from SECURE_PROVISION_PIN or --passphrase-fd",
                place=place,
            )
    path_values = _values(_pairs(path, ";"), _PATH, place)
    values = path_values | _values(_pairs(query, "&"), _QUERY, place)
    if not values.keys() & {"object", "id"}:
        raise _malformed("names no key (object or id)", place)
    if values.get("type") not in (None, b"private", b"public"):
        raise _malformed("asks for something else than a key pair (type)", place)
    slot = _text(values, "slot-id", place)
    if slot is not None and not re.fullmatch(r"[0-9]{1,20}", slot):
        raise _malformed("has a slot-id that is not a number", place)
    return Pkcs11Uri(
        token=_text(values, "token", place),
        serial=_text(values, "serial", place),
        manufacturer=_text(values, "manufacturer", place),
        model=_text(values, "model", place),
        slot_id=None if slot is None else int(slot),
        key_label=_text(values, "object", place),
        key_id=values.get("id"),
        module_path=_text(values, "module-path", place),
    )


def _pairs(text: str, separator: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in text.split(separator) if part]
    return [(name.strip(), value) for name, _, value in parts]


def _values(pairs: Iterable[tuple[str, str]], known: tuple[str, ...], place: str) -> dict[str, bytes]:
    values: dict[str, bytes] = {}
    for name, value in pairs:
        if name not in known:
            raise _malformed("has an attribute that is not supported here", place)
        if name in values or not value:
            raise _malformed(f"has {name} twice, or without a value", place)
        if _BROKEN_PERCENT.search(value):
            raise _malformed(f"has a percent sign in {name} that two hexadecimal digits do not follow", place)
        values[name] = unquote_to_bytes(value)
    return values


def _text(values: dict[str, bytes], name: str, place: str) -> str | None:
    try:
        text = values[name].decode("utf-8") if name in values else None
    except UnicodeDecodeError:
        raise _malformed(f"has a {name} that is no UTF-8 text", place) from None
    if text is not None and not text.isprintable():
        raise _malformed(f"has a {name} with unprintable characters", place)
    return text


def _malformed(why: str, place: str) -> UsageError:
    known = ", ".join(_PATH)
    return UsageError(
        "SE642",
        f"the PKCS#11 URI {why}",
        cure=f"write it as in {_EXAMPLE}; it takes {known}, and ?module-path=FILE; other characters as %XX",
        place=place,
    )
