# SPDX-License-Identifier: Apache-2.0
"""The command ``doctor``: what would brick, weaken or surprise."""

from __future__ import annotations

import functools
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from secure_ext.cli.front import decision_from_options, print_json, project_options, show_next, shown_errors

if TYPE_CHECKING:
    from secure_ext.doctor.decide import Decision
    from secure_ext.doctor.rule import Finding


@click.command()
@functools.partial(project_options, formats=("text", "json", "sarif"))
@click.option("--explain", metavar="CODE", help="Explain one code, such as SP065, and look at nothing.")
@click.option("--select", multiple=True, metavar="CODES", help="Only these: codes or beginnings, such as SP06,SP080.")
@click.option("--ignore", multiple=True, metavar="CODES", help="Not these: codes or beginnings. Repeatable.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Findings that are known already.",
)
@click.option(
    "--write-baseline",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Write what is found now as baseline.",
)
@click.option(
    "--configuration",
    is_flag=True,
    help="Look at a project that is configured and not built: all checks that need no image.",
)
def doctor(
    *,
    explain: str | None,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    baseline: Path | None,
    write_baseline: Path | None,
    output_format: str,
    **options: Any,
) -> None:
    """Find what would brick, weaken or surprise, before anything is made.

    \b
    Example:
        secure-provision doctor -B build --profile production.yaml
        secure-provision doctor --configuration
        secure-provision doctor --explain SP065
        secure-provision doctor --format sarif > doctor.sarif

    Errors that can never be accepted are shown whatever is selected, ignored or known.
    """
    with shown_errors(output_format):
        from secure_ext.doctor import select as selection  # noqa: PLC0415 (loaded when used)

        if explain is not None:
            _explain(explain, output_format)
            return
        from secure_ext.bundle.key_material import check_key_files  # noqa: PLC0415 (loaded when used)
        from secure_ext.bundle.nvs import check_nvs_images  # noqa: PLC0415 (loaded when used)

        selection.chosen((), select, ignore)
        fingerprints = selection.read_baseline(baseline) if baseline else frozenset()
        decision = decision_from_options(**options)
        check_key_files(decision.policy, decision.build.chip)
        check_nvs_images(decision.images)
        findings = selection.chosen(decision.findings, select, ignore)
        if write_baseline is not None:
            number = selection.write_baseline(write_baseline, findings)
            click.echo(f"{write_baseline}: {number} finding{'' if number == 1 else 's'} written as known", err=True)
            fingerprints = selection.read_baseline(write_baseline)
        known = [finding for finding in findings if selection.is_known(finding, fingerprints)]
        stops = any(finding.stops for finding in findings if finding not in known)
        if output_format == "sarif":
            _show_sarif(decision, findings, known, baseline or write_baseline, options, stops=stops)
        elif output_format == "json":
            _show_json(findings, known, stops=stops)
        else:
            shown = [finding for finding in findings if finding not in known]
            _show_text(shown, len(known), stops=stops or options["configuration"])
    if stops:
        sys.exit(1)


def _show_text(shown: Sequence[Finding], known: int, *, stops: bool) -> None:
    from secure_ext.cli.show.findings import findings_text  # noqa: PLC0415 (loaded when used)

    counted = f"; {known} known finding{'' if known == 1 else 's'} not shown" if known else ""
    click.echo(findings_text(shown) + counted)
    if not stops:
        show_next("plan")


def _show_json(findings: Sequence[Finding], known: Sequence[Finding], *, stops: bool) -> None:
    from secure_ext.cli.show.findings import findings_data  # noqa: PLC0415 (loaded when used)

    data = [
        {**shown, "known": finding in known, "fingerprint": finding.fingerprint}
        for shown, finding in zip(findings_data(findings), findings, strict=True)
    ]
    print_json({"findings": data, "exit_code": int(stops)})


def _show_sarif(
    decision: Decision,
    findings: Sequence[Finding],
    known: Sequence[Finding],
    baseline: Path | None,
    options: dict[str, Any],
    *,
    stops: bool,
) -> None:
    from secure_ext.build.menu import with_menu  # noqa: PLC0415 (loaded when used)
    from secure_ext.cli.show.sarif import repository_root, sarif_document  # noqa: PLC0415 (loaded when used)
    from secure_ext.doctor.locate import Locator  # noqa: PLC0415 (loaded when used)

    build = decision.build
    document = sarif_document(
        findings,
        locate=Locator(build, decision.images, with_menu(build.build_dir, options)["profile"]).locate,
        root=repository_root(build.project_dir or build.build_dir.resolve().parent),
        is_known=known.__contains__ if baseline else None,
        exit_code=int(stops),
    )
    print_json(document)


def _explain(code: str, output_format: str) -> None:
    from secure_ext.doctor.select import rule_of  # noqa: PLC0415 (loaded when used)

    rule = rule_of(code)
    never = rule.never_acceptable
    if output_format != "text":
        print_json(
            {
                "code": rule.code,
                "severity": rule.severity.value,
                "title": rule.title,
                "explanation": rule.explanation,
                "cure": rule.cure,
                "source": rule.source,
                "concerns": rule.concerns.value,
                "can_be_accepted": not never,
                "why": rule.why,
            }
        )
        return
    click.echo(f"{rule.code}  {rule.severity.value}  {rule.title}\n")
    fill = functools.partial(textwrap.fill, width=100, break_long_words=False, break_on_hyphens=False)
    click.echo(fill(rule.explanation))
    click.echo(f"\nconcerns: {'bundles and updates' if rule.concerns.value == 'both' else rule.concerns.value}")
    if rule.is_error:
        sometimes = "in some builds it can be accepted" if callable(rule.acceptable) else "it can be accepted"
        click.echo(fill(f"{'it can never be accepted' if never else sometimes}: {rule.why}", subsequent_indent="  "))
    click.echo(fill(f"what to do: {rule.cure}", subsequent_indent="  "))
    click.echo(fill(f"source: {rule.source}", subsequent_indent="  "))
