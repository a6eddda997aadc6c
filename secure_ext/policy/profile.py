# SPDX-License-Identifier: Apache-2.0
"""Reading a profile: YAML in, checked values out; unknown keys are refused with the nearest name."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path

from secure_ext.errors import InputError, UsageError
from secure_ext.policy.extra_key import EXPECTATION as EXTRA_KEYS_EXPECTATION
from secure_ext.policy.extra_key import ExtraKeyEntry, extra_key_entries
from secure_ext.policy.settings import SETTINGS, Kind, Setting
from secure_ext.policy.signing_entry import EXPECTATION, SigningEntry, signing_entry
from secure_ext.reading import PROFILE_LIMIT, parse_yaml, read_file
from secure_ext.station.frozen import frozen

Value = (
    str
    | int
    | bool
    | tuple[str, ...]
    | tuple[str | SigningEntry, ...]
    | Mapping[str, str]
    | Mapping[str, int]
    | Mapping[str, ExtraKeyEntry]
)
_KEY_MATERIAL = re.compile(
    r"(?:0x)?[0-9a-fA-F]{32,}|(?:[0-9a-fA-F]{2}[:,-]){15,}[0-9a-fA-F]{2}|[A-Za-z0-9+/]{22,}={1,2}"
)
"""Sixteen bytes or more, in hex or in base64; no path is written like that."""
_LONGEST_SHOWN = 60
"""Characters of a wrong value that a message repeats."""
_BY_KEY = {setting.key: setting for setting in SETTINGS}
_TOP_LEVEL = {setting.key for setting in SETTINGS if "." not in setting.key}
_SECTIONS = {setting.key.partition(".")[0] for setting in SETTINGS if "." in setting.key}


@frozen
class Profile:
    """The settings a user gave. `folder` is what its paths are relative to.

    `from_options` names the keys that the command line has set, `sha256` is the hash of the file, None without one.
    """

    folder: Path
    values: Mapping[str, Value] = field(default_factory=dict)
    from_options: frozenset[str] = frozenset()
    sha256: str | None = None

    def text(self, key: str) -> str | None:
        """The value of a CHOICE or TEXT setting, None if not given."""
        value = self.values.get(key)
        return None if value is None else str(value)

    def flag(self, key: str) -> bool | None:
        """The value of a FLAG setting, None if not given."""
        value = self.values.get(key)
        return None if value is None else bool(value)

    def integer(self, key: str) -> int | None:
        """The value of an INTEGER setting, None if not given."""
        value = self.values.get(key)
        return value if isinstance(value, int) else None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """The value of a TEXT_LIST setting, None if not given."""
        value = self.values.get(key)
        return tuple(str(item) for item in value) if isinstance(value, tuple) else None

    def signing_entries(self, key: str) -> tuple[SigningEntry, ...] | None:
        """The value of a KEY_LIST setting, None if not given."""
        value = self.values.get(key)
        if not isinstance(value, tuple):
            return None
        return tuple(item if isinstance(item, SigningEntry) else SigningEntry(item) for item in value)

    def mapping(self, key: str) -> Mapping[str, str]:
        """The value of a TEXT_MAP setting, empty if not given."""
        value = self.values.get(key)
        return {name: str(text) for name, text in value.items()} if isinstance(value, Mapping) else {}

    def numbers(self, key: str) -> Mapping[str, int]:
        """The value of a NUMBER_MAP setting, empty if not given."""
        value = self.values.get(key)
        entries = value.items() if isinstance(value, Mapping) else ()
        return {name: number for name, number in entries if isinstance(number, int)}

    def extra_keys(self, key: str) -> Mapping[str, ExtraKeyEntry]:
        """The value of an EXTRA_KEYS setting, empty if not given."""
        value = self.values.get(key)
        entries = value.items() if isinstance(value, Mapping) else ()
        return {name: entry for name, entry in entries if isinstance(entry, ExtraKeyEntry)}


def load_profile(path: Path) -> Profile:
    """Reads and checks a profile.

    Raises InputError SE301 (unreadable), UsageError SE302 (not YAML), SE303 (unknown key), SE304 (wrong value).
    """
    try:
        content = read_file(path, PROFILE_LIMIT)
        document = parse_yaml(content)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text"
        raise InputError(
            "SE301",
            f"the profile cannot be read: {reason}",
            cure="check the path; `secure-provision profile --init profile.yaml` writes a new one",
            place=str(path),
        ) from None
    except ValueError as error:
        raise UsageError(
            "SE302",
            f"the profile is not valid YAML: {error}",
            cure="correct the line that is named; strings with a colon need quotes",
            place=str(path),
        ) from None
    return replace(check_profile(document, path), sha256=hashlib.sha256(content).hexdigest())


def check_profile(document: object, path: Path) -> Profile:
    """Checks a parsed profile; `path` is where it comes from. Raises UsageError SE303, SE304."""
    if not isinstance(document, dict) or document.get("schema") != 1:
        raise _wrong_value(path, "schema", "the profile must be a mapping that says `schema: 1`")
    values: dict[str, Value] = {}
    for key, value in document.items():
        if key in _SECTIONS:
            if value is None:
                continue
            if not isinstance(value, dict):
                raise _wrong_value(path, str(key), f"{key} is a section with keys of its own, not {value!r}")
            for name, inner in value.items():
                values[f"{key}.{name}"] = _checked(path, f"{key}.{name}", inner)
        else:
            values[str(key)] = _checked(path, str(key), value, known=key in _TOP_LEVEL)
    return Profile(path.parent, values)


def _checked(path: Path, key: str, value: object, *, known: bool = True) -> Value:
    setting = _BY_KEY.get(key) if known else None
    if setting is None:
        nearest = difflib.get_close_matches(key, [*_BY_KEY, *_SECTIONS], n=1, cutoff=0.5)
        raise UsageError(
            "SE303",
            f"the profile has an unknown key {key if len(key) <= _LONGEST_SHOWN else '(a long text)'!r}",
            cure=f"did you mean {nearest[0]!r}?" if nearest else "`secure-provision profile --init -` lists all keys",
            place=f"{path}: {key if len(key) <= _LONGEST_SHOWN else '...'}",
        )
    if _has_key_material(value):
        raise UsageError(
            "SE304",
            f"{key} seems to hold a key itself; a profile names the file that a key is in",
            cure="put the key into a file with `secure-provision keys generate` or by hand (mode 0600), name that file "
            "here, and count the key as seen by everybody who has read the profile",
            place=f"{path}: {key}",
        )
    checked = _value(setting, value)
    if checked is None:
        shown = repr(value) if "pin-value" not in repr(value) and len(repr(value)) <= _LONGEST_SHOWN else "this"
        raise _wrong_value(path, key, f"{shown} is not a value for {key}: {_expectation(setting)}")
    return checked


def _has_key_material(value: object) -> bool:
    """Whether a text, or one in a list or a map, is PEM, or a long number in hex or base64 and nothing else."""
    if isinstance(value, list):
        return any(map(_has_key_material, value))
    if isinstance(value, dict):
        return any(_has_key_material(inner) for name, inner in value.items() if name != "digest")  # that is public
    return isinstance(value, str) and ("-----BEGIN" in value or bool(_KEY_MATERIAL.fullmatch("".join(value.split()))))


def _value(setting: Setting, value: object) -> Value | None:
    kind = setting.kind
    checked: Value | None = None
    if kind is Kind.CHOICE:
        # YAML 1.1 reads off as false and 128 as a number
        text = "off" if value is False else str(value)
        checked = text if text in setting.choices else None
    elif kind is Kind.FLAG:
        checked = value if isinstance(value, bool) else None
    elif kind is Kind.INTEGER:
        in_range = type(value) is int and setting.limits[0] <= value <= setting.limits[1]
        checked = value if in_range and isinstance(value, int) else None
    elif kind is Kind.TEXT:
        checked = value if isinstance(value, str) and _is_text(value) else None
    elif kind is Kind.TEXT_LIST:
        is_list = isinstance(value, list) and all(map(_is_text, value))
        checked = tuple(value) if isinstance(value, list) and is_list and _are_allowed(setting, value) else None
    elif kind is Kind.KEY_LIST:
        entries = [signing_entry(item) for item in value] if isinstance(value, list) else [None]
        checked = tuple(entry for entry in entries if entry is not None) if None not in entries else None
    elif kind is Kind.EXTRA_KEYS:
        checked = extra_key_entries(value)
    elif kind is Kind.NUMBER_MAP:
        low, high = setting.limits
        is_map = isinstance(value, dict) and all(map(_is_text, value))
        are_numbers = isinstance(value, dict) and all(type(one) is int and low <= one <= high for one in value.values())
        checked = dict(value) if isinstance(value, dict) and is_map and are_numbers else None
    elif isinstance(value, dict) and all(map(_is_text, [*value, *value.values()])):
        checked = dict(value) if _are_allowed(setting, value.values()) else None
    return checked


def _are_allowed(setting: Setting, values: Iterable[object]) -> bool:
    return not setting.choices or set(values) <= set(setting.choices)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "\0" not in value


def _expectation(setting: Setting) -> str:
    if setting.choices:
        listed = ", ".join(setting.choices)
        plural = {Kind.TEXT_MAP: "a map whose values are ", Kind.TEXT_LIST: "a list whose entries are "}
        return f"{plural.get(setting.kind, '')}one of {listed}"
    if setting.kind is Kind.NUMBER_MAP:
        return f"a map whose values are whole numbers from {setting.limits[0]} to {setting.limits[1]}"
    if setting.kind is Kind.INTEGER:
        return f"a whole number from {setting.limits[0]} to {setting.limits[1]}"
    return {
        Kind.FLAG: "true or false",
        Kind.TEXT: "a text",
        Kind.TEXT_LIST: "a list of texts",
        Kind.KEY_LIST: EXPECTATION,
        Kind.EXTRA_KEYS: EXTRA_KEYS_EXPECTATION,
        Kind.TEXT_MAP: "a map of texts",
    }[setting.kind]


def _wrong_value(path: Path, key: str, cause: str) -> UsageError:
    cure = "correct this key of the profile; `secure-provision profile --init -` shows what each takes"
    return UsageError("SE304", cause, cure=cure, place=f"{path}: {key}")
