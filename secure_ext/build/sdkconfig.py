# SPDX-License-Identifier: Apache-2.0
"""The project's Kconfig values: as the build used them, and as the sdkconfig says now.

``config/sdkconfig.json`` in the build directory is what the build used, so it is the truth. The sdkconfig may have been
changed since; `differences` tells. Its text is read here line by line, because esp-idf-kconfig reads an sdkconfig only
together with the Kconfig files that declare the type of each symbol, and a finished build does not carry those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from secure_ext.build.files import read_bytes, read_json
from secure_ext.station.frozen import frozen

BUILT_CONFIG = "config/sdkconfig.json"
"""Where the build directory keeps the values that the build used."""

Value = bool | int | str

_SET = re.compile(r"CONFIG_(\w+)=(.*)")
_NOT_SET = re.compile(r"# CONFIG_(\w+) is not set")
_DEPRECATED = "# Deprecated options for backward compatibility"
_NUMBER = re.compile(r"-?(0[xX][0-9a-fA-F]+|\d+)")
_ESCAPED = re.compile(r"\\(.)")
_RELEVANT = re.compile(r"SECURE_|NVS_|PARTITION_TABLE_|BOOTLOADER_|ESPTOOLPY_FLASHSIZE|\w*_REV_MIN|IDF_TARGET$")


@frozen
class SdkConfig:
    """Kconfig symbols and their values; names are given without ``CONFIG_``."""

    values: Mapping[str, Value]

    def defines(self, name: str) -> bool:
        """Whether the symbol exists in this configuration, whatever its value."""
        return name in self.values

    def enabled(self, name: str) -> bool:
        """Whether the symbol is a bool and set to yes."""
        return self.values.get(name) is True

    def integer(self, name: str) -> int | None:
        """The value of an int or hex symbol; None if it does not exist or is of another type."""
        value = self.values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, name: str) -> str | None:
        """The value of a string symbol; None if it does not exist or is of another type."""
        value = self.values.get(name)
        return value if isinstance(value, str) else None


@frozen
class ConfigDifference:
    """A symbol whose value in the sdkconfig is not the one that was built; None stands for "not there"."""

    name: str
    built: Value | None
    sdkconfig: Value | None


def read_built_config(build_dir: Path) -> SdkConfig:
    """The values that the build used.

    Raises:
        InputError: SE102, SE103 or SE108.
    """
    content = read_json(build_dir / BUILT_CONFIG, build_dir)
    return SdkConfig({name: value for name, value in content.items() if isinstance(value, (bool, int, str))})


def read_sdkconfig(path: Path) -> SdkConfig:
    """The values in the text of an sdkconfig; the old names at its end are left out.

    Raises:
        InputError: SE108, when the file cannot be read.
    """
    values: dict[str, Value] = {}
    for line in read_bytes(path).decode("utf-8", errors="replace").split("\n"):
        text = line.strip()
        if text == _DEPRECATED:
            break
        if match := _SET.fullmatch(text):
            values[match[1]] = _value(match[2])
        elif match := _NOT_SET.fullmatch(text):
            values[match[1]] = False
    return SdkConfig(values)


def differences(built: SdkConfig, sdkconfig: SdkConfig) -> tuple[ConfigDifference, ...]:
    """The symbols about chip, flash and security that the sdkconfig has otherwise than the build, by name.

    A bool that is "not set" and one that is not there mean the same.
    """
    names = sorted(name for name in {*built.values, *sdkconfig.values} if _RELEVANT.match(name))
    return tuple(
        ConfigDifference(name, built.values.get(name), sdkconfig.values.get(name))
        for name in names
        if _set_value(built, name) != _set_value(sdkconfig, name)
    )


def _set_value(config: SdkConfig, name: str) -> Value | None:
    value = config.values.get(name)
    return None if value is False else value


def _value(text: str) -> Value:
    """A value as Kconfig writes it: ``y``, ``n``, a number, or a string in quotes."""
    if text in ("y", "n"):
        return text == "y"
    if _NUMBER.fullmatch(text):
        return int(text, 0 if "x" in text.lower() else 10)
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text
