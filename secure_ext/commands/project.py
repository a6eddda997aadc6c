"""The commands that read a project and make nothing: ``doctor`` and ``plan``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from secure_ext.front import decision_from_options, print_json, project_options, show_next, shown_errors


@click.command()
@project_options
def doctor(output_format: str, **options: Any) -> None:
    """Find what would brick, weaken or surprise, before anything is made.

    \b
    Example:
        secure-provision doctor -B build --profile production.yaml
    """
    with shown_errors(output_format):
        from secure_ext.bundle.key_material import check_key_files  # noqa: PLC0415 (loaded when used)
        from secure_ext.bundle.nvs import check_nvs_images  # noqa: PLC0415 (loaded when used)
        from secure_ext.report import findings_data, findings_text  # noqa: PLC0415 (loaded when used)

        decision = decision_from_options(**options)
        check_key_files(decision.policy)
        check_nvs_images(decision.images)
        stops = any(finding.stops for finding in decision.findings)
        if output_format == "json":
            print_json({"findings": findings_data(decision.findings), "exit_code": int(stops)})
        else:
            click.echo(findings_text(decision.findings))
            if not stops:
                show_next("plan")
    if stops:
        sys.exit(1)


@click.command()
@project_options
@click.option(
    "--diff",
    type=click.Path(path_type=Path),
    nargs=2,
    metavar="OLD NEW",
    help="Compare two bundles, or their plan.json, instead; exit code 1 if NEW is weaker.",
)
def plan(diff: tuple[Path, Path] | None, output_format: str, **options: Any) -> None:
    """Show the plan: every step, its reason, and what becomes irreversible. Touches no key.

    \b
    Example:
        secure-provision plan --format json
        secure-provision plan --diff releases/1.0 build/secure
    """
    if diff:
        from secure_ext.commands.plan_diff import show_diff  # noqa: PLC0415 (loaded when used)

        with shown_errors(output_format):
            exit_code = show_diff(*diff, output_format)
        sys.exit(exit_code)
    with shown_errors(output_format):
        from secure_ext.report import plan_data, plan_lines  # noqa: PLC0415 (loaded when used)
        from secure_ext.terminal_maps import show  # noqa: PLC0415

        decision = decision_from_options(**options)
        if output_format == "json":
            print_json(plan_data(decision))
        else:
            show(plan_lines(decision))
            show_next("bundle")
