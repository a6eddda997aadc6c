# SPDX-License-Identifier: Apache-2.0
"""One setting: what the profile says, else what was built, else the default; and who said it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from secure_ext.chips.chip import Chip
from secure_ext.policy.key_uri import is_key_uri, parse_key_uri
from secure_ext.policy.paths import given_path
from secure_ext.policy.policy import KeySource
from secure_ext.policy.profile import Profile
from secure_ext.policy.refusals import Config

T = TypeVar("T")


@dataclass
class Choices:
    """What profile and build say about one setting after the other; `origins` fills with who said what counts."""

    config: Config
    chip: Chip
    profile: Profile
    origins: dict[str, str] = field(default_factory=dict)

    def choose(self, key: str, given: T | None, built: tuple[str, T | None], default: T) -> T:
        """The value of profile key `key`: from the profile, else from the build (symbol, value), else the default."""
        if given is not None:
            self.origins[key] = f"{'command line' if key in self.profile.from_options else 'profile'}: {key}"
            return given
        symbol, value = built
        if value is not None:
            self.origins[key] = f"CONFIG_{symbol}"
            return value
        return default

    def first_enabled(self, options: dict[str, T]) -> tuple[str, T | None]:
        """The first of the symbols (a Kconfig choice) that is set, with the value it stands for."""
        for symbol, value in options.items():
            if self.config.enabled(symbol):
                return symbol, value
        return "", None

    def key_source(self, text: str) -> KeySource:
        """Where the key is that a profile names so."""
        if text == "generate":
            return KeySource()
        if text == "per-device":
            return KeySource(per_device=True)
        if is_key_uri(text):
            return KeySource(uri=parse_key_uri(text, place="secure_boot.keys"))
        return KeySource(given_path(self.profile.folder, text))
