# SPDX-License-Identifier: Apache-2.0
"""``profile``: checks a profile, or starts one."""

from __future__ import annotations

from pathlib import Path

import click

from secure_ext.cli.front import print_json, shown_errors
from secure_ext.errors import UsageError


@click.command()
@click.argument("file", type=click.Path(path_type=Path, readable=False), required=False)
@click.option("--init", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE", help="Write a new profile.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of profiles.")
def profile(file: Path | None, init: Path | None, schema: bool) -> None:
    """Check a profile FILE, or start one with every setting explained.

    \b
    Example:
        secure-provision profile --init production.yaml
        secure-provision profile production.yaml
    """
    with shown_errors():
        from secure_ext.policy.profile import load_profile  # noqa: PLC0415 (loaded when used)
        from secure_ext.policy.settings import json_schema, template  # noqa: PLC0415

        if schema:
            print_json(json_schema())
        elif init is not None and str(init) == "-":
            click.echo(template(), nl=False)
        elif init is not None:
            try:
                with init.open("x", encoding="utf-8") as new:
                    new.write(template())
            except OSError as error:
                raise UsageError(
                    "SE305",
                    f"the profile cannot be written: {error.strerror}",
                    cure="give another path",
                    place=str(init),
                ) from None
            click.echo(f"{init}: written; take the # from what you want to change")
        elif file is not None:
            settings = load_profile(file).values
            number = len(settings) - 1
            click.echo(f"{file}: valid, with {number} setting{'' if number == 1 else 's'} besides the schema version")
        else:
            raise click.UsageError("give a FILE, --init FILE or --schema")
