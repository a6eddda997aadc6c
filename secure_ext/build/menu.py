# SPDX-License-Identifier: Apache-2.0
"""What the menu "Secure provisioning" says, read from what the build recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secure_ext.build.recorded_paths import find_recorded
from secure_ext.policy.paths import given_path
from secure_ext.reading import read_json
from secure_ext.station.frozen import frozen

_PREFIX = "SECURE_PROVISION_"
TARGET = "{target}"
"""In a path of the menu: the chip, so that each has its own."""


@frozen
class Menu:
    """The menu's settings; a path is absolute, and None where the menu leaves it open.

    Attributes:
        fail_on_doctor_errors: whether an error found by the doctor fails the build.
        flash_guard: whether `idf.py flash` warns on a project that is provisioned.
        output: directory of the bundle.
        profile: the profile.
        signing_keys: secure boot signing keys.
        flash_encryption_key: the flash encryption key.
    """

    fail_on_doctor_errors: bool
    flash_guard: bool
    output: Path
    profile: Path | None
    signing_keys: tuple[Path, ...]
    flash_encryption_key: Path | None


def read_menu(build_dir: Path) -> Menu:
    """The menu's settings for a build directory; the defaults where it has none, or is not a build directory."""
    config = read_json_or_nothing(build_dir / "config" / "sdkconfig.json")
    base, target = _project_dir(build_dir), str(config.get("IDF_TARGET", ""))

    def paths(name: str) -> tuple[Path, ...]:
        return _paths(config.get(_PREFIX + name), base, target)

    profile, key, output = paths("PROFILE"), paths("FLASH_KEY"), paths("OUTPUT_DIR")
    return Menu(
        fail_on_doctor_errors=config.get(_PREFIX + "FAIL_ON_DOCTOR_ERRORS") is not False,
        flash_guard=config.get(_PREFIX + "FLASH_GUARD") is not False,
        output=output[0] if output else build_dir / "secure",
        profile=profile[0] if profile else None,
        signing_keys=paths("SIGNING_KEYS"),
        flash_encryption_key=key[0] if key else None,
    )


def with_menu(build_dir: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command, completed from the menu. A profile among the options replaces all of the menu."""
    if options.get("profile"):
        return dict(options)
    menu = read_menu(build_dir)
    given = {name: value for name, value in options.items() if value or value is False}
    defaults = {
        "profile": menu.profile,
        "signing_key": menu.signing_keys,
        "flash_encryption_key": menu.flash_encryption_key,
    }
    return {**options, **defaults, **given}


def read_json_or_nothing(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one if there is no such."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _project_dir(build_dir: Path) -> Path:
    description = read_json_or_nothing(build_dir / "project_description.json")
    found = find_recorded(build_dir, description.get("build_dir"), description.get("project_path"))
    return found or build_dir.resolve().parent


def _paths(value: object, base: Path, target: str) -> tuple[Path, ...]:
    """The paths in a text, separated by semicolons; relative ones are relative to the project.

    ``{target}`` stands for the chip, ``~`` for the user's own folder.
    """
    if not isinstance(value, str):
        return ()
    return tuple(given_path(base, part.strip().replace(TARGET, target)) for part in value.split(";") if part.strip())
