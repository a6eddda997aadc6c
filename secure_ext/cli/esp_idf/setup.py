# SPDX-License-Identifier: Apache-2.0
"""Commands that connect the package with ESP-IDF: `idf install`, `idf env`, `idf after-build`, `component-dir`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from secure_ext.cli.front import build_dir_option, shown_errors
from secure_ext.errors import InputError, UsageError
from secure_ext.reading import DOCUMENT_LIMIT, read_file

ACTIONS_FOLDER = Path(__file__).resolve().parents[1] / "actions"
"""What belongs into IDF_EXTRA_ACTIONS_PATH."""

_EXTENSION = '''\
"""Adds the actions of idf-secure-provision to idf.py."""

import sys

try:
    from secure_ext.idf import action_extensions
except Exception as error:  # also of a package that this user may not read: idf.py goes on
    sys.stderr.write(f"WARNING: no secure-* actions: {error}. Run: python -m pip install idf-secure-provision\\n")

    def action_extensions(*_):
        """Add nothing."""
        return {}
'''
_MERGE = """\
from secure_ext.idf import action_extensions as secure_actions
# and in your action_extensions(base_actions, project_path), before it returns its dictionary `mine`:
secure = secure_actions(base_actions, project_path)
mine.setdefault("actions", {}).update(secure.get("actions", {}))
mine.setdefault("global_action_callbacks", []).extend(secure.get("global_action_callbacks", []))"""
_COMPONENT_FILE = "project_include.cmake"
_DISTRIBUTION = "idf-secure-provision"


@click.group()
def idf() -> None:
    """Connect with ESP-IDF: actions of idf.py, build hook.

    \b
    Example, in a project:
        secure-provision idf install
        idf.py secure-doctor

    ESP-IDF 6 finds an installed package by itself and needs none of this.
    """


@idf.command("install")
@click.option(
    "-C",
    "--project-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    show_default=True,
    help="The project.",
)
def install(project_dir: Path) -> None:
    """Give a project the secure-* actions: writes an idf_ext.py of a few lines, for every ESP-IDF from 5.3 on.

    \b
    Example:
        secure-provision idf install

    Commit the file, and everybody who builds the project has the actions. `idf env` does it for one shell instead.
    """

    with shown_errors():
        if not (project_dir / "CMakeLists.txt").is_file():
            raise UsageError(
                "SE902",
                "this is not an ESP-IDF project: it has no CMakeLists.txt",
                cure="run the command in the project, or give it with -C",
                place=str(project_dir),
            )
        file = project_dir / "idf_ext.py"
        try:
            if file.exists() and b"secure_ext" in read_file(file, DOCUMENT_LIMIT):
                click.echo(f"{file}: has the actions already")
            elif file.exists():
                raise UsageError(
                    "SE903",
                    "the project has an idf_ext.py of its own, which is not touched",
                    cure=f"add to it:\n{_MERGE}",
                    place=str(file),
                )
            else:
                file.write_text(_EXTENSION, encoding="utf-8", newline="\n")
                click.echo(f"{file}: written")
        except OSError as error:
            raise InputError(
                "SE904",
                f"the file cannot be read or written: {error.strerror}",
                cure="check the permissions of the project",
                place=str(file),
            ) from None
        _warn_of_other_python()
    click.echo("next: idf.py secure-doctor", err=True)


def _warn_of_other_python() -> None:
    environment = os.environ.get("IDF_PYTHON_ENV_PATH")
    if environment and not sys.executable.startswith(environment):
        click.echo(
            f"warning: idf.py runs the Python in {environment}, and this is {sys.executable}.\n"
            "  what to do: python -m pip install idf-secure-provision, in the shell in which idf.py works",
            err=True,
        )


@idf.command("env")
@click.option(
    "--shell",
    type=click.Choice(["sh", "fish", "powershell", "cmd"]),
    default="powershell" if os.name == "nt" else "sh",
    show_default=True,
    help="Syntax of the line.",
)
def env(shell: str) -> None:
    """Print the line that gives one shell the secure-* actions in all projects, for ESP-IDF 5.x.

    \b
    Example:
        eval "$(secure-provision idf env)"
    """
    variable = "IDF_EXTRA_ACTIONS_PATH"
    others = [part for part in os.environ.get(variable, "").split(";") if part and part != str(ACTIONS_FOLDER)]
    value = ";".join([*others, str(ACTIONS_FOLDER)])
    forms = {
        "sh": f"export {variable}={_quoted(value)}",
        "fish": f"set -gx {variable} {_quoted(value)}",
        "powershell": f"$env:{variable} = '{value}'",
        "cmd": f'set "{variable}={value}"',
    }
    click.echo(forms[shell])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@idf.command("after-build")
@build_dir_option()
def after_build(build_dir: Path) -> None:
    """Make the bundle that menuconfig asks for, if an input changed. The build runs it: target secure-bundle.

    \b
    Example:
        secure-provision idf after-build -B build
    """
    from secure_ext.cli.command_names import COMMAND_NAMES  # noqa: PLC0415 (loaded when used)
    from secure_ext.cli.esp_idf.after_build import bundle_after_build  # noqa: PLC0415
    from secure_ext.cli.esp_idf.idf_actions import ACTION_NAMES  # noqa: PLC0415
    from secure_ext.cli.secret_prompt import secrets_of_the_command  # noqa: PLC0415

    click.get_current_context().meta[COMMAND_NAMES] = ACTION_NAMES  # who builds works with idf.py
    with shown_errors():
        for line in bundle_after_build(build_dir, secrets_of_the_command()):
            click.echo(line)


@click.command("component-dir")
def component_dir() -> None:
    """Print the folder of the ESP-IDF component (menu and build hook), for EXTRA_COMPONENT_DIRS.

    \b
    Example:
        idf.py -D EXTRA_COMPONENT_DIRS="$(secure-provision component-dir)" reconfigure
    """

    with shown_errors():
        click.echo(find_component().as_posix())


def find_component() -> Path:
    """The folder of the component: the checkout the package runs from, else what came with the installed package.

    Raises InputError SE905 if the component is missing.
    """
    import importlib.metadata  # noqa: PLC0415 (takes longer to import than all of this package's part in idf.py)

    checkout = Path(__file__).resolve().parents[3]
    if (checkout / _COMPONENT_FILE).is_file():
        return checkout
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        located = Path(str(file.locate())).resolve()
        if file.name == _COMPONENT_FILE and located.is_file():
            return located.parent
    raise InputError(
        "SE905",
        "the files of the ESP-IDF component are not installed",
        cure=f"{sys.executable} -m pip install --force-reinstall --no-deps {_DISTRIBUTION}",
    )
