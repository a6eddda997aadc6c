# SPDX-License-Identifier: Apache-2.0
"""Which bundle a command works on: the one that is named, or the one of the build directory."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from secure_ext.cli.front import Function, build_dir_option
from secure_ext.errors import UsageError
from secure_ext.station.one_line import one_line

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
    whole = build_dir_option("ESP-IDF build directory, whose bundle is taken if no BUNDLE is named.")(whole)
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

    Of several with the same keys it is the one that was made last. If their keys differ it is the one that is chosen at
    the terminal: which of them a board gets is for ever. Raises UsageError SE907 if nobody chooses.
    """
    from secure_ext.build.menu import read_json_or_nothing, read_menu  # noqa: PLC0415
    from secure_ext.bundle.record import bundles_made  # noqa: PLC0415 (loaded when used)

    if bundle:
        return bundle
    default = read_menu(build_dir).output
    found = [made.folder for made in bundles_made(build_dir)]
    if default.resolve() not in found and (default / "manifest.json").is_file():
        found.insert(0, default.resolve())
    if not found:
        return default
    manifests = {folder: read_json_or_nothing(folder / "manifest.json") for folder in found}
    if len({str(manifest.get("keys")) for manifest in manifests.values()}) > 1:
        return _chosen(manifests, build_dir)
    return default if found[-1] == default.resolve() else found[-1]


def _chosen(manifests: dict[Path, dict[str, Any]], build_dir: Path) -> Path:
    """The bundle that a person at the terminal chooses. Raises UsageError SE907 if there is none, or no choice."""
    cause = f"this build directory has {len(manifests)} bundles with different keys"
    if _is_at_a_terminal():
        click.echo(f"warning: {cause}", err=True)
        for number, (folder, manifest) in enumerate(manifests.items(), 1):
            click.echo(
                f"  {number}  {folder} (made {one_line(str(manifest.get('created', 'at some time')))})", err=True
            )
        answer = click.prompt("Which one?", default="none", err=True)
        if answer.isdecimal() and 1 <= int(answer) <= len(manifests):
            return list(manifests)[int(answer) - 1]
    raise UsageError(
        "SE907",
        f"{cause}: {', '.join(map(str, manifests))}",
        cure="say which one with --bundle DIR; delete one that no board was made with and nobody needs",
        place=str(build_dir),
    )


def _is_at_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def refuse_older(bundle: FinishedBundle, build_dir: Path, *, accepted: bool) -> None:
    """Stops, or asks at a terminal, if `bundle` is of this build directory and the build has changed since.

    A bundle that is not of it, or whose build is gone, is taken: it is a release. Raises UsageError SE908.
    """
    from secure_ext.build.menu import read_menu  # noqa: PLC0415
    from secure_ext.bundle.of_build import changes_since, is_of_build  # noqa: PLC0415 (loaded when used)

    if accepted or not is_of_build(bundle.folder, build_dir, read_menu(build_dir).output):
        return
    changes = changes_since(bundle, build_dir)
    if not changes:
        return
    shown = ", ".join(changes[:4]) + (", ..." if len(changes) > 4 else "")
    cause = f"the bundle is older than the build: {shown} changed since"
    if _is_at_a_terminal():
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
