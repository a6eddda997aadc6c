# SPDX-License-Identifier: Apache-2.0
"""``plan``: every step and its reason, or what changes between two releases."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from secure_ext.cli.front import decision_from_options, print_json, project_options, show_next, shown_errors


@click.command()
@project_options
@click.option(
    "--diff",
    type=click.Path(path_type=Path, readable=False),
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
        from secure_ext.cli.commands.plan_diff import show_diff  # noqa: PLC0415 (loaded when used)

        with shown_errors(output_format):
            exit_code = show_diff(*diff, output_format)
        sys.exit(exit_code)
    with shown_errors(output_format):
        from secure_ext.cli.show.decision import plan_data, plan_lines  # noqa: PLC0415 (loaded when used)
        from secure_ext.cli.show.maps import show  # noqa: PLC0415

        decision = decision_from_options(**options)
        if output_format == "json":
            print_json(plan_data(decision))
        else:
            show(plan_lines(decision))
            show_next("doctor" if any(finding.stops for finding in decision.findings) else "bundle")
