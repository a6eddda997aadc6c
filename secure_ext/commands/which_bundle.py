"""Which bundle a command works on: the one that is named, or the one of the build directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from secure_ext.front import Function

if TYPE_CHECKING:
    from secure_ext.bundle.read import FinishedBundle


def bundle_options(command: Function) -> Function:
    """Which bundle: the one that is named, or the one of the build directory."""
    command = click.argument("bundle", type=click.Path(path_type=Path), required=False)(command)
    return click.option(
        "-B",
        "--build-dir",
        type=click.Path(path_type=Path),
        default="build",
        show_default=True,
        help="ESP-IDF build directory, whose bundle is taken if no BUNDLE is named.",
    )(command)


def open_bundle(bundle: Path | None, build_dir: Path) -> FinishedBundle:
    """The bundle that `bundle_options` chose. Raises as `read_bundle` does."""
    from secure_ext.bundle.read import read_bundle  # noqa: PLC0415 (loaded when used)
    from secure_ext.esp_idf.menu import read_menu  # noqa: PLC0415

    return read_bundle(bundle or read_menu(build_dir).output)
