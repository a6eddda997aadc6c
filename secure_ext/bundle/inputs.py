# SPDX-License-Identifier: Apache-2.0
"""What a bundle was made from, as hashes, so that an auditor can see whether the same is at hand; and the way back."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from secure_ext.build.build import read_build
from secure_ext.build.files import read_bytes
from secure_ext.build.flasher_args import FLASHER_ARGS
from secure_ext.bundle.ways import way
from secure_ext.doctor.decide import Decision
from secure_ext.documents.manifest import Inputs, Tools
from secure_ext.policy.profile import Profile
from secure_ext.policy.signing_entry import SigningEntry, Signs

SIGNING_KEYS = "secure_boot.keys"
KEY_HOME = "keys.home"
EXTRA_KEYS = "extra_keys"
_SDKCONFIG = "config/sdkconfig.json"
_KEY_FILES = ("flash_encryption.key", "nvs.key")
_NO_FILES = ("generate", "per-device", "device")
A_FILE = "a key file"
_TOOLS = ("esptool", "cryptography")


def recorded_inputs(decision: Decision, output: Path, key_home: Path | None) -> Inputs:
    """The member ``inputs`` of the manifest: hashes of the build's and the profile's files, options, versions.

    Key files are not named: of the signing keys there is the number, of the others that there is one. The build
    directory and the home of generated keys (None if there is none) are named by the way from the bundle at `output`.
    """
    profile, build = decision.profile, decision.build
    keys = profile.from_options if profile.sha256 else frozenset(profile.values)
    options = {key: profile.values[key] for key in sorted(keys) if key not in ("schema", KEY_HOME)}
    options |= {key: options[key] if options[key] in _NO_FILES else A_FILE for key in _KEY_FILES if key in options}
    if EXTRA_KEYS in options:
        named = profile.extra_keys(EXTRA_KEYS).items()
        options[EXTRA_KEYS] = tuple(f"{name}: {one.purpose}" for name, one in named)
    if SIGNING_KEYS in options:
        options[SIGNING_KEYS] = len(profile.signing_entries(SIGNING_KEYS) or ())
    return Inputs(
        **_build_files(build.build_dir, build.partition_table_file.path),
        profile=profile.sha256,
        options={key: _plain(value) for key, value in options.items()},
        tools=Tools(platform.python_version(), *(importlib.metadata.version(name) for name in _TOOLS)),
        build_dir=way(output, build.build_dir),
        key_home=None if key_home is None else way(output, key_home),
    )


def inputs_of_build(build_dir: Path) -> dict[str, str]:
    """The part of `recorded_inputs` that a build directory answers for. Raises the InputErrors of `read_build`."""
    return _build_files(build_dir, read_build(build_dir).partition_table_file.path)


def profile_from_inputs(inputs: Inputs, profile: Profile, signing_keys: Sequence[Signs]) -> Profile:
    """The profile with the recorded options; names stand for the key files, which are not read.

    `signing_keys` tells what each key of the plan signs.
    """
    values = {**profile.values, **{key: _value(value) for key, value in inputs.options.items()}}
    if SIGNING_KEYS in values:
        values[SIGNING_KEYS] = tuple(
            SigningEntry(f"signing key {number}", signs=signs) for number, signs in enumerate(signing_keys)
        )
    return replace(profile, values=values, from_options=frozenset(inputs.options))


def _build_files(build_dir: Path, table: Path) -> dict[str, str]:
    paths = {"sdkconfig": build_dir / _SDKCONFIG, "flasher_args": build_dir / FLASHER_ARGS, "partition_table": table}
    return {name: hashlib.sha256(read_bytes(path)).hexdigest() for name, path in paths.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
