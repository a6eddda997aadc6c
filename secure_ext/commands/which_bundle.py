"""Which bundle a command works on: the one that is named, or the one of the build directory."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from secure_ext.errors import UsageError
from secure_ext.front import Function

if TYPE_CHECKING:
    from secure_ext.bundle.read import FinishedBundle


def bundle_options(command: Function) -> Function:
    """Which bundle: the one that is named, or the one of the build directory."""

    @functools.wraps(command)
    def with_one_bundle(*, bundle: Path | None, bundle_option: Path | None, **options: Any) -> Any:
        if bundle and bundle_option:
            raise click.UsageError("name the bundle once: as BUNDLE, or with --bundle")
        return command(bundle=bundle or bundle_option, **options)

    whole = click.argument("bundle", type=click.Path(path_type=Path, readable=False), required=False)(with_one_bundle)
    whole = click.option(
        "--bundle",
        "bundle_option",
        type=click.Path(path_type=Path, readable=False),
        metavar="DIR",
        help="The same as BUNDLE.",
    )(whole)
    whole = click.option(
        "-B",
        "--build-dir",
        type=click.Path(path_type=Path, readable=False),
        default="build",
        show_default=True,
        help="ESP-IDF build directory, whose bundle is taken if no BUNDLE is named.",
    )(whole)
    return cast("Function", whole)


older_option = click.option(
    "--older-bundle", is_flag=True, help="Take a bundle of this build directory that is older than the build."
)
"""The option of every command that works with a bundle on a chip; `refuse_older` takes its value."""


def open_bundle(bundle: Path | None, build_dir: Path) -> FinishedBundle:
    """The bundle that `bundle_options` chose, and names it on stderr. Raises as `read_bundle` and `bundle_place` do."""
    from secure_ext.bundle.read import read_bundle  # noqa: PLC0415 (loaded when used)

    opened = read_bundle(bundle_place(bundle, build_dir))
    made = opened.manifest.created
    click.echo(f"bundle: {opened.folder} ({opened.plan.chip}, made {made})", err=True)
    return opened


def bundle_place(bundle: Path | None, build_dir: Path) -> Path:
    """Where the bundle is: as named; else the only one of the build directory.

    Of several with the same keys it is the one that was made last. Raises UsageError SE907 if their keys differ: which
    of them a board gets is for ever.
    """
    from secure_ext.bundle.record import bundles_made  # noqa: PLC0415 (loaded when used)
    from secure_ext.esp_idf.menu import read_json_or_nothing, read_menu  # noqa: PLC0415

    if bundle:
        return bundle
    default = read_menu(build_dir).output
    found = [made.folder for made in bundles_made(build_dir)]
    if default.resolve() not in found and (default / "manifest.json").is_file():
        found.insert(0, default.resolve())
    if not found:
        return default
    keys = {str(read_json_or_nothing(folder / "manifest.json").get("keys")) for folder in found}
    if len(keys) > 1:
        raise UsageError(
            "SE907",
            f"this build directory has {len(found)} bundles with different keys: {', '.join(map(str, found))}",
            cure="say which one with --bundle DIR; delete one that no board was made with and nobody needs",
            place=str(build_dir),
        )
    return default if found[-1] == default.resolve() else found[-1]


def refuse_older(bundle: FinishedBundle, build_dir: Path, *, accepted: bool) -> None:
    """Stops, or asks at a terminal, if `bundle` is of this build directory and the build has changed since.

    A bundle that is not of it, or whose build is gone, is taken: it is a release. Raises UsageError SE908.
    """
    from secure_ext.bundle.of_build import changes_since, is_of_build  # noqa: PLC0415 (loaded when used)
    from secure_ext.esp_idf.menu import read_menu  # noqa: PLC0415

    if accepted or not is_of_build(bundle.folder, build_dir, read_menu(build_dir).output):
        return
    changes = changes_since(bundle, build_dir)
    if not changes:
        return
    shown = ", ".join(changes[:4]) + (", ..." if len(changes) > 4 else "")
    cause = f"the bundle is older than the build: {shown} changed since"
    if sys.stdin.isatty() and sys.stderr.isatty():
        click.echo(f"warning: {cause}", err=True)
        if click.confirm("Go on with the older bundle?", default=False, err=True):
            return
    raise UsageError(
        "SE908",
        cause,
        cure="make it again with `secure-provision bundle`, and the same options; or, if it is the older one that "
        "boards are to get, give --older-bundle",
        place=str(bundle.folder),
    )
