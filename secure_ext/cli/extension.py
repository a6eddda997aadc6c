# SPDX-License-Identifier: Apache-2.0
"""The front for idf.py: every command of the console script as an action, and a guard on `idf.py flash`.

idf.py imports it at every start, so it imports little: not cryptography, not esptool.
"""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secure_ext.cli.command_names import COMMAND_NAMES
from secure_ext.cli.esp_idf.guard import warn_before_flashing
from secure_ext.cli.esp_idf.idf_actions import ACTION_NAMES, ACTIONS, Action


def action_extensions(base_actions: dict[str, Any], project_path: str) -> dict[str, Any]:  # noqa: ARG001 (idf.py's)
    """What idf.py calls; it gets what to add, or nothing if it came here before by another way."""
    if ACTIONS[0].name in base_actions.get("actions", {}):
        return {}
    try:
        return _extension()
    except Exception as error:  # whatever is broken here, idf.py must go on
        print(f"WARNING: the secure-* actions of idf.py cannot be loaded: {error}. {_cure()}", file=sys.stderr)  # noqa: T201
        return {}


def _extension() -> dict[str, Any]:
    from secure_ext.cli.esp_idf.options import idf_arguments, idf_options  # noqa: PLC0415
    from secure_ext.cli.main import cli  # noqa: PLC0415 (whatever is wrong with it must be caught)

    existing = [action for action in ACTIONS if action.command in cli.commands]
    actions: dict[str, Any] = {}
    for action in existing:
        command = cli.commands[action.command]
        actions[action.name] = {
            "callback": _callback(action, command),
            "help": _help(command.help or "", action),
            "short_help": command.get_short_help_str(limit=100),
            "arguments": idf_arguments(command),
            "options": idf_options(command),
            "order_dependencies": [
                *("reconfigure", "menuconfig", "clean", "fullclean", "all", "app", "bootloader", "partition-table"),
                *(earlier.name for earlier in existing[: existing.index(action)]),
            ],
        }
    return {"version": "1", "actions": actions, "global_action_callbacks": [warn_before_flashing]}


def _help(text: str, action: Action) -> str:
    """The command's help with idf.py's example in place of its own."""
    example = f"\b\nExample:\n    idf.py {action.example}"
    return "\n\n".join(example if part.startswith("\b") else part for part in inspect.cleandoc(text).split("\n\n"))


def _callback(action: Action, command: Any) -> Callable[..., None]:
    def run(_: str, ctx: Any, args: Any, **options: Any) -> None:
        import click  # noqa: PLC0415 (idf.py imports it late, too)

        if action.builds:
            if not _hook_signs(Path(args.build_dir)):
                _hide_secrets(ctx)
            _build(ctx, args)
        _hide_secrets(ctx)
        known = {parameter.name for parameter in command.params}
        shared = {name: args[name] for name in ("port", "baud") if name in known}
        ctx.meta[COMMAND_NAMES] = ACTION_NAMES
        omitted = {p.name: None for p in command.params if isinstance(p, click.Argument) and not p.required}
        _call(command.callback, ctx, build_dir=Path(args.build_dir), **omitted, **shared, **options)

    return run


def _hook_signs(build_dir: Path) -> bool:
    """Whether the build ends with the hook that makes the bundle: it needs passphrases and PINs itself."""
    from secure_ext.build.menu import read_json_or_nothing  # noqa: PLC0415

    sdkconfig = build_dir / "config" / "sdkconfig.json"
    if not sdkconfig.exists():  # the first build: nobody knows yet
        return True
    return read_json_or_nothing(sdkconfig).get("SECURE_PROVISION_BUNDLE_ON_BUILD") is True


def _hide_secrets(ctx: Any) -> None:
    from secure_ext.cli.secret_prompt import take_secrets_from_environment  # noqa: PLC0415
    from secure_ext.station.no_core import no_core_files  # noqa: PLC0415

    no_core_files()
    take_secrets_from_environment(ctx)


def _build(ctx: Any, args: Any) -> None:
    """Builds as `idf.py build` does; that action itself would end by recommending `idf.py flash`."""
    from idf_py_actions.tools import ensure_build_directory, run_target  # noqa: PLC0415 (only there is in idf.py)

    ensure_build_directory(args, ctx.info_name)
    run_target("all", args)


def _call(function: Callable[..., Any], ctx: Any, **options: Any) -> None:
    """Runs a command; its errors end as idf.py's do: wrong usage as FatalError, the others with our exit code."""
    import click  # noqa: PLC0415 (idf.py imports it late, too)
    from idf_py_actions.errors import FatalError  # noqa: PLC0415 (only there is in idf.py)

    from secure_ext.cli.front import Failed, shown_errors  # noqa: PLC0415
    from secure_ext.errors import ToolError  # noqa: PLC0415

    try:
        try:
            with shown_errors():
                function(**options)
        except ImportError as error:
            missing = ToolError("SE901", f"ESP-IDF's Python environment is not complete: {error}", cure=_cure())
            raise Failed(missing, as_json=False) from None
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        if error.exit_code == click.UsageError.exit_code:
            raise FatalError(shown.getvalue().rstrip(), ctx) from None
        click.echo(shown.getvalue(), err=True, nl=False)
        raise SystemExit(error.exit_code) from None


def _cure() -> str:
    return f"Run: {sys.executable} -m pip install idf-secure-provision"
