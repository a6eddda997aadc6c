# SPDX-License-Identifier: Apache-2.0
"""The command ``audit``: a board against a plan, or against release mode."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secure_ext.cli.command_names import as_typed_here
from secure_ext.cli.commands.which_bundle import bundle_options, open_bundle
from secure_ext.cli.front import format_option, print_json, shown_errors
from secure_ext.errors import UsageError
from secure_ext.station.one_line import harmless
from secure_ext.station.revision import revision_text

if TYPE_CHECKING:
    from secure_ext.prove.audit.board import Board
    from secure_ext.prove.audit.report import AuditReport
    from secure_ext.station.plan_document import PlanDocument

_FILE = click.Path(path_type=Path, readable=False)


@click.command()
@bundle_options
@click.option("-p", "--port", help="Serial port of the board.")
@click.option("--summary", type=_FILE, metavar="FILE", help="Instead: what `espefuse summary --format json` printed.")
@click.option("--token", type=_FILE, metavar="FILE", help="Instead: what `espefuse dump --format token` wrote.")
@click.option("--virt", type=_FILE, metavar="FILE", help="Instead: virtual eFuses, as provision.py --virt keeps them.")
@click.option("--plan", type=_FILE, metavar="FILE", help="A plan.json, if the bundle is not at hand.")
@click.option("--policy", type=click.Choice(["release"]), help="No plan: is the board in release mode at all?")
@click.option("--chip", metavar="CHIP", help="With --policy: the chip it has to be; --virt needs it.")
@click.option(
    "--until",
    type=click.Choice(["burn", "seal"]),
    default="seal",
    show_default=True,
    help="The last stage that was done; a sealed board can hardly be read.",
)
@click.option("-b", "--baud", type=int, default=115200, show_default=True, help="Baud rate.")
@click.option("--before", default="default-reset", show_default=True, help="Reset before connecting.")
@click.option("--journal", type=_FILE, metavar="DIR", help="Folder of the script's records. [default: in the bundle]")
@click.option("--all", "show_all", is_flag=True, help="Also list what passed.")
@format_option()
def audit(
    *,
    bundle: Path | None,
    build_dir: Path,
    port: str | None,
    summary: Path | None,
    token: Path | None,
    virt: Path | None,
    plan: Path | None,
    policy: str | None,
    chip: str | None,
    until: str,
    baud: int,
    before: str,
    journal: Path | None,
    show_all: bool,
    output_format: str,
) -> None:
    """Compare a board with the plan of BUNDLE, eFuse by eFuse. Reads only; what cannot be seen is never called fine.

    \b
    Example:
        secure-provision audit build/secure --port COM5
        secure-provision audit build/secure --summary summary.json
        secure-provision audit --policy release --port COM5

    Ends with exit code 1 if anything that can be seen deviates.
    """
    with shown_errors(output_format):
        from secure_ext.prove.audit.report import audit_against_plan, audit_for_release  # noqa: PLC0415

        files = {name: path for name, path in (("summary", summary), ("token", token), ("virt", virt)) if path}
        _check_source(files, port, chip, policy)
        _check_reference(bundle, plan, policy, chip)
        if policy:
            report = audit_for_release(_read_board(files, _known(chip), port, baud=baud, before=before))
        else:
            document, folder = _plan_document(plan, bundle, build_dir)
            board = _read_board(files, document.chip, port, baud=baud, before=before)
            record = Path(f"{virt}.journal.json") if virt else None
            if journal:
                record = journal / f"{board.mac}.json"
            report = audit_against_plan(board, document, folder, record, is_sealed=until == "seal")
    exit_code = int(not report.passed)
    if output_format == "json":
        print_json({**report.as_dict(), "exit_code": exit_code})
    else:
        click.echo(as_typed_here(_text(report, show_all=show_all)))
    if exit_code:
        sys.exit(exit_code)


def _check_source(files: dict[str, Path], port: str | None, chip: str | None, policy: str | None) -> None:
    if len(files) > 1:
        raise _usage("two boards are given: " + " and ".join(f"--{name}" for name in files))
    if not files and not port:
        raise _usage("no board is given")
    if policy and "virt" in files and not chip:
        raise _usage("a file of virtual eFuses does not say of which chip it is")


def _check_reference(bundle: Path | None, plan: Path | None, policy: str | None, chip: str | None) -> None:
    if sum(given is not None for given in (bundle, plan, policy)) > 1:
        raise _usage("of BUNDLE, --plan and --policy only one can be what the board is compared with")
    if chip and not policy:
        raise _usage("the plan says which chip it is, --chip goes with --policy")


def _usage(cause: str) -> UsageError:
    cure = "give --port, or one of --summary, --token and --virt, and what to compare with; see --help"
    return UsageError("SE873", cause, cure=cure)


def _known(chip: str | None) -> str | None:
    from secure_ext.chips.facts import chip_facts  # noqa: PLC0415 (loaded when used)

    return chip_facts(chip).name if chip else None


def _plan_document(plan: Path | None, bundle: Path | None, build_dir: Path) -> tuple[PlanDocument, Path]:
    """The plan, and the folder in which keys and journal are looked for."""
    from secure_ext.plan.read_document import read_plan  # noqa: PLC0415 (loaded when used)

    if plan:
        return read_plan(plan), plan.parent
    opened = open_bundle(bundle, build_dir)
    return opened.plan, opened.folder


def _read_board(files: dict[str, Path], chip: str | None, port: str | None, *, baud: int, before: str) -> Board:
    from secure_ext.prove.audit.read_board import read_port, read_token, read_virtual  # noqa: PLC0415 (loaded when used)
    from secure_ext.prove.audit.summary_file import read_summary  # noqa: PLC0415

    if "summary" in files:
        return read_summary(files["summary"], chip)
    if "token" in files:
        return read_token(files["token"], chip)
    if "virt" in files:
        return read_virtual(files["virt"], str(chip))
    return read_port(str(port), chip, baud=baud, before=before)


def _text(report: AuditReport, *, show_all: bool) -> str:
    from secure_ext.checks import Outcome, checks_text, count_outcomes  # noqa: PLC0415 (loaded when used)

    board = report.board
    revision = "" if board.revision is None else f" {revision_text(board.revision)}"
    mac = f", MAC {board.mac}" if board.mac else ""
    lines = [f"{board.source[:1].upper()}{board.source[1:]}: {board.chip}{revision}{mac}"]
    lines += [f"Compared with {report.against}.", "", checks_text(report.checks, all_of_them=show_all), ""]
    lines += [f"Note: {note}." for note in report.notes]
    unseen = count_outcomes(report.checks)[Outcome.NOT_VERIFIABLE]
    if not report.passed:
        lines.append(f"This board is NOT as {report.against} wants it.")
    elif unseen:
        lines.append(f"Nothing that can be seen deviates from {report.against}.")
        lines.append(
            f"What nobody can see, and nobody has checked: {unseen} of {len(report.checks)} items, listed above."
        )
    else:
        lines.append(f"This board is as {report.against} wants it.")
    return harmless("\n".join(lines))
