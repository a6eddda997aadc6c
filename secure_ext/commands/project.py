"""The commands that plan and make: ``plan`` and ``bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from secure_ext.front import (
    decision_from_options,
    print_json,
    project_options,
    show_next,
    shown_errors,
    shown_progress,
)


@click.command()
@project_options
def plan(output_format: str, **options: Any) -> None:
    """Show the plan: every step, its reason, and what becomes irreversible. Touches no key.

    \b
    Example:
        secure-provision plan --format json
    """
    with shown_errors(output_format):
        from secure_ext.report import plan_data, plan_text  # noqa: PLC0415 (loaded when used)

        decision = decision_from_options(**options)
        if output_format == "json":
            print_json(plan_data(decision))
        else:
            click.echo(plan_text(decision))
            show_next("bundle")


@click.command()
@project_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Directory of the bundle. [default: <build-dir>/secure]"
)
def bundle(output: Path | None, output_format: str, build_dir: Path, **options: Any) -> None:
    """Sign, encrypt, check, and write the bundle with its provisioning script.

    \b
    Example:
        secure-provision bundle --profile production.yaml -o release/board-0001

    Keys that are generated for a bundle are kept when it is made again in the same place.
    """
    with shown_errors(output_format):
        from secure_ext.bundle.write import write_bundle  # noqa: PLC0415 (loaded when used)
        from secure_ext.esp_idf.menu import read_menu  # noqa: PLC0415 (loaded when used)
        from secure_ext.report import bundle_data, bundle_text, findings_text  # noqa: PLC0415 (loaded when used)

        decision = decision_from_options(build_dir, **options)
        stopping = [finding for finding in decision.findings if finding.stops]
        if len(stopping) > 1:
            click.echo(findings_text(stopping), err=True)
        with shown_progress() as progress:
            made = write_bundle(decision, output or read_menu(build_dir).output, progress)
        if output_format == "json":
            print_json(bundle_data(decision, made))
        else:
            click.echo(bundle_text(decision, made))
