# SPDX-License-Identifier: Apache-2.0
"""Warns before idf.py puts plaintext on boards that expect ciphertext, or deletes keys that boards carry."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_ext.reading import DOCUMENT_LIMIT, read_file

if TYPE_CHECKING:
    from secure_ext.build.menu import Menu

SWITCH = "SECURE_PROVISION_GUARD"
"""Environment variable: 0 turns the guard off."""

_RELEASE = "SECURE_FLASH_ENCRYPTION_MODE_RELEASE"
_PLAINTEXT = "writes plaintext. A provisioned board decrypts it to garbage and DOES NOT BOOT any more."
_ENCRYPTING = (
    "lets the chip encrypt what it writes. A board that was provisioned for release cannot do that any more: "
    "it refuses, or is left with an image that DOES NOT BOOT."
)
_ERASING = "erases the flash. A provisioned board DOES NOT BOOT until it gets the encrypted images of a bundle again."
_NVS = (
    "writes NVS in plaintext. The firmware of a provisioned board takes it for damaged, and begins with an empty one."
)
_CLEANING = (
    "deletes the build directory, and with it the keys of the bundle, which have no home elsewhere: an earlier release "
    "made it. Boards that carry keys of which there is no copy CAN NEVER be given another firmware."
)


def warn_before_flashing(ctx: Any, global_args: Any, tasks: list[Any]) -> None:  # noqa: ARG001 (idf.py's)
    """What idf.py calls before it runs anything; quiet unless a project with a bundle is about to be harmed.

    Whatever it may not look into, or cannot read, idf.py goes on: with a warning if it is about to flash.
    """
    try:
        _warn(global_args, tasks)
    except Exception as error:
        with contextlib.suppress(OSError):
            click.echo(
                f"WARNING: whether boards of this project were provisioned cannot be seen: {error}. If they were, do "
                f"not go on with plaintext. No such warning: {SWITCH}=0",
                err=True,
            )


def _warn(global_args: Any, tasks: list[Any]) -> None:
    names = [str(task.name) for task in tasks]
    effects = {name: effect for name in names if (effect := _effect(name))}
    if not effects or os.environ.get(SWITCH, "").lower() in {"0", "n", "no", "off", "false"}:
        return
    from secure_ext.build.menu import read_menu  # noqa: PLC0415 (most runs of idf.py flash nothing)

    build_dir = Path(global_args.build_dir)
    menu = read_menu(build_dir)
    bundle = _bundle(build_dir, menu)
    if not menu.flash_guard or bundle is None:
        return
    effects = {name: real for name, effect in effects.items() if (real := _effect_on(name, effect, bundle, build_dir))}
    release = _is_release(build_dir, Path(global_args.project_dir))
    loses_keys = _loses_keys(build_dir, menu)
    relevant = {name: effect for name, effect in effects.items() if (loses_keys if effect is _CLEANING else release)}
    if relevant:
        click.echo("\n".join(_warning(relevant, bundle)), err=True)


def _effect(action: str) -> str | None:
    """What an action does to a provisioned board, None if nothing. A partition's own target ends in -flash, too."""
    name = action.replace("_", "-")
    if name in ("fullclean", "set-target"):
        return _CLEANING
    if name == "erase-flash":
        return _ERASING
    if name in ("encrypted-flash", "encrypted-app-flash"):
        return _ENCRYPTING
    if name == "flash" or (name.endswith("-flash") and not name.startswith(("read-", "secure-"))):
        return _PLAINTEXT
    return None


def _bundle(build_dir: Path, menu: Menu) -> Path | None:
    """The bundle in the menu's place, else the last that was made elsewhere; None if there is none."""
    from secure_ext.bundle.record import bundles_made  # noqa: PLC0415 (as above)

    if (menu.output / "manifest.json").is_file():
        return menu.output
    made = bundles_made(build_dir)
    return made[-1].folder if made else None


def _effect_on(action: str, effect: str, bundle: Path, build_dir: Path) -> str | None:
    """The effect on a board that `bundle` provisioned; a partition that the chip does not decrypt takes plaintext."""
    from secure_ext.build.menu import read_json_or_nothing  # noqa: PLC0415 (as above)

    if effect not in (_PLAINTEXT, _ENCRYPTING):
        return effect
    rows = read_json_or_nothing(bundle / "manifest.json").get("partitions")
    own = action.replace("_", "-").removeprefix("encrypted-").removesuffix("-flash")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and str(row.get("label")).replace("_", "-") == own:
            if row.get("encrypted") is not False:
                return effect
            config = read_json_or_nothing(build_dir / "config" / "sdkconfig.json")
            return _NVS if row.get("subtype") == "nvs" and config.get("NVS_ENCRYPTION") is True else None
    return effect


def _warning(effects: dict[str, str], bundle: Path) -> Iterator[str]:
    yield f"WARNING: boards may have been provisioned: there is a bundle of this project in {bundle}."
    for name, effect in effects.items():
        yield f"  idf.py {name} {effect}"
    if _CLEANING in effects.values():
        yield "  what to do: run `idf.py secure-provision` before, which takes them over into their home; or copy "
        yield f"  {bundle / 'keys'} to a safe place."
    if set(effects.values()) != {_CLEANING}:
        named = shlex.quote(str(bundle))
        yield f"  what to do: a board whose provisioning is not finished: idf.py -p PORT secure-flash --bundle {named}"
        yield "  A finished board, over the air, or by cable with its flash encryption key:"
        yield f"  idf.py secure-ota --bundle {named}"
        yield f"  idf.py -p PORT secure-update --bundle {named}"
        yield "  A board that was never provisioned is not affected."
    yield f"  No such warning: {SWITCH}=0, or turn off CONFIG_SECURE_PROVISION_FLASH_GUARD in menuconfig."


def _is_release(build_dir: Path, project_dir: Path) -> bool:
    """Whether the build, or the sdkconfig if nothing is built, has flash encryption in release mode."""
    from secure_ext.build.menu import read_json_or_nothing  # noqa: PLC0415 (as above)

    built = read_json_or_nothing(build_dir / "config" / "sdkconfig.json")
    if built:
        return built.get(_RELEASE) is True
    try:
        lines = read_file(project_dir / "sdkconfig", DOCUMENT_LIMIT).decode("utf-8", "replace").splitlines()
    except OSError:
        return False
    return f"CONFIG_{_RELEASE}=y" in lines


def _loses_keys(build_dir: Path, menu: Menu) -> bool:
    """Whether the bundle goes with the build directory and has keys without a home (`secure_ext.bundle.key_home`)."""
    from secure_ext.build.menu import read_json_or_nothing  # noqa: PLC0415 (as above)

    keys, output = menu.output / "keys", menu.output.resolve()
    if not keys.is_dir() or build_dir.resolve() not in output.parents:
        return False
    inputs = read_json_or_nothing(menu.output / "manifest.json").get("inputs")
    home = inputs.get("key_home", "") if isinstance(inputs, dict) else ""
    return isinstance(home, str) and not (home and (output / home).is_dir())
