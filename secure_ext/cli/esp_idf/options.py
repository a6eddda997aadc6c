# SPDX-License-Identifier: Apache-2.0
"""Turns the parameters of a click command into the dictionaries from which idf.py makes its options."""

from __future__ import annotations

from typing import Any

import click

# Declared like idf.py's own ones, with which they are shared: given once, before or after the action.
SHARED_OPTIONS: dict[str, dict[str, Any]] = {
    "port": {
        "names": ["-p", "--port"],
        "help": "Serial port.",
        "scope": "global",
        "envvar": "ESPPORT",
        "type": click.Path(),
        "default": None,
    },
    "baud": {
        "names": ["-b", "--baud"],
        "help": "Baud rate of the serial port.",
        "scope": "global",
        "envvar": "ESPBAUD",
        "default": 460800,
    },
}


def idf_options(command: click.Command) -> list[dict[str, Any]]:
    """The options of `command`, but the build directory, which idf.py knows."""
    options = [param for param in command.params if isinstance(param, click.Option) and param.name != "build_dir"]
    return [dict(SHARED_OPTIONS[str(o.name)]) if o.name in SHARED_OPTIONS else _idf_option(o) for o in options]


def idf_arguments(command: click.Command) -> list[dict[str, Any]]:
    """The positional arguments of `command`, but the optional ones: idf.py would take the next action for one."""
    return [
        {"names": [param.name], "type": param.type, "nargs": param.nargs, "required": True}
        for param in command.params
        if isinstance(param, click.Argument) and param.required
    ]


def _idf_option(option: click.Option) -> dict[str, Any]:
    names = list(option.opts)
    if option.secondary_opts:
        names[-1] += "/" + option.secondary_opts[0]
    declared: dict[str, Any] = {
        "names": [str(option.name), *names],
        "help": option.help or "",
        "show_default": option.show_default,
        "hidden": option.hidden,
    }
    if option.is_flag:
        # A flag without a default is false; one whose default is None can be "not given".
        declared |= {"is_flag": True, "default": None if option.default is None else option.default is True}
    else:
        declared |= {"type": option.type, "metavar": option.metavar, "multiple": option.multiple}
        if option.nargs != 1:
            declared["nargs"] = option.nargs
        # Newer releases of click mark a missing default with an object of their own.
        if isinstance(option.default, (str, int, float)):
            declared["default"] = option.default
    return declared
