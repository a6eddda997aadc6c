# SPDX-License-Identifier: Apache-2.0
"""How the running front spells commands: ``secure-provision verify``, or ``idf.py secure-verify`` inside idf.py.

Every text that tells people what to run goes through here; texts inside the package name the console script's commands,
and idf.py's for a build. Who builds with PlatformIO is told those of ``pio``.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import click

COMMAND_NAMES = "secure_ext.cli.command_names"
"""Key in click's ``Context.meta``: the names of the commands that the running front has, as people type them."""
BUILD_COMMANDS = "secure_ext.cli.build_commands"
"""Likewise: what is typed in place of idf.py's commands for the build that the command is about."""

_PROGRAM = "secure-provision"
_NAMED = re.compile(rf"\b(?<!-){_PROGRAM} ([a-z][a-z-]*)")


def command_line(command: str, *, bundle: Path | None = None, port: str | None = None) -> str:
    """The line to type for a command that works with a bundle, and on a board if `port` is given."""
    name = _names().get(command)
    folder = "" if bundle is None else shlex.quote(str(bundle))
    if name is None:
        line = f"{_program()} {command} {folder}".rstrip()
        return f"{line} --port {port}" if port else line
    line = name.replace(" ", f" -p {port} ", 1) if port else name
    return f"{line} --bundle {folder}" if folder else line


def as_typed_here(text: str) -> str:
    """A text that names commands of the console script or of idf.py, with the names that they have for who reads it."""
    context = click.get_current_context(silent=True)
    build_commands: dict[str, str] = {} if context is None else context.meta.get(BUILD_COMMANDS, {})
    for theirs, ours in build_commands.items():
        text = text.replace(theirs, ours)
    names = _names()
    return _NAMED.sub(lambda found: names.get(found[1], f"{_program()} {found[1]}"), text) if names else text


def _names() -> dict[str, str]:
    context = click.get_current_context(silent=True)
    names: dict[str, str] = {} if context is None else context.meta.get(COMMAND_NAMES, {})
    return names


def _program() -> str:
    """The console script; inside idf.py, where nothing needs to be installed, perhaps the package by its path."""
    if not _names() or shutil.which(_PROGRAM):
        return _PROGRAM
    return f'"{sys.executable}" "{Path(__file__).resolve().parents[1]}"'
