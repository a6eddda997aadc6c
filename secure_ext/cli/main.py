# SPDX-License-Identifier: Apache-2.0
"""The console script ``secure-provision``: all commands, and what is common to them."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click

from secure_ext import __version__
from secure_ext.cli.front import shown_errors
from secure_ext.cli.secret_prompt import take_secrets_from_environment
from secure_ext.station.no_core import no_core_files

_IN_ESP_IDF = "secure_ext.cli.esp_idf.setup"
_MODULES = {
    name: f"secure_ext.cli.commands.{name}"
    for name in (
        *("configure", "doctor", "plan", "bundle", "verify", "rehearse", "flash", "audit", "ota", "update"),
        *("keys", "profile", "demo"),
    )
} | {"idf": _IN_ESP_IDF, "component-dir": _IN_ESP_IDF}


class _LoadedWhenAsked(Mapping[str, click.Command]):
    """The commands by name: a module with all that it needs is loaded when its command runs, or shows its help."""

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = getattr(importlib.import_module(_MODULES[name]), name.replace("-", "_"))
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class _Group(click.Group):
    """What a command does before and after its own work ends with a code, too."""

    def invoke(self, ctx: click.Context) -> Any:
        with shown_errors():
            return super().invoke(ctx)


@click.group(cls=_Group, commands=_LoadedWhenAsked(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="secure-provision")
@click.pass_context
def cli(context: click.Context) -> None:
    """Sign, encrypt and provision ESP-IDF projects from the host.

    \b
    Example, from an ESP-IDF project:
        idf.py build
        secure-provision doctor
        secure-provision bundle --signing-key signing_key.pem
        python build/secure/provision.py --port PORT

    Exit codes: 0 done, 1 a check found something wrong, 2 wrong usage, 3 input missing or unsupported, 4 an external
    tool failed, 5 the device is in a state that forbids going on.
    """
    take_secrets_from_environment(context)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script."""
    no_core_files()
    # A polite kill, a closed terminal and Ctrl-\\ clean up like Ctrl-C does.
    for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    cli(arguments, prog_name="secure-provision")
