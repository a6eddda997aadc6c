# SPDX-License-Identifier: Apache-2.0
"""``rehearse``: a bundle's own script on a virtual chip."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from secure_ext.cli.command_names import command_line
from secure_ext.cli.commands.which_bundle import bundle_options, older_option, open_bundle, refuse_older
from secure_ext.cli.front import format_option, print_json, shown_errors, shown_progress
from secure_ext.station.typed_document import document_data

if TYPE_CHECKING:
    from secure_ext.bundle.read import FinishedBundle
    from secure_ext.prove.rehearsal.script_run import NewChip


@click.command()
@bundle_options
@click.option("--power-cuts", "cuts", is_flag=True, help="Also interrupt the script everywhere, and run it again.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --power-cuts: cut at every N-th register write of a burn.",
)
@click.option(
    "--flash-size", type=click.IntRange(1, 128), metavar="MB", help="Flash of the virtual chip, a power of 2."
)
@click.option("--revision", metavar="MAJOR.MINOR", help="Revision of the virtual chip. [default: the plan's least]")
@click.option("--burned", multiple=True, metavar="BLOCK:BIT", help="Burned on the virtual chip already. Repeatable.")
@click.option(
    "--assume",
    multiple=True,
    metavar="NAME=VALUE",
    help="Of how long a real board takes. Repeatable.",
)
@click.option("--qemu", is_flag=True, help="Also run the script against Espressif's QEMU, and boot the result.")
@click.option(
    "--qemu-dir", type=click.Path(path_type=Path, readable=False), metavar="DIR", help="Where QEMU is, if not on PATH."
)
@click.option("--serve", is_flag=True, help="Rehearse nothing: keep a new virtual chip up, to try commands by hand.")
@click.option(
    "--tcp-port", type=int, default=0, metavar="PORT", help="With --serve: its TCP port. [default: a free one]"
)
@older_option
@format_option()
def rehearse(
    *,
    bundle: Path | None,
    build_dir: Path,
    cuts: bool,
    every: int | None,
    flash_size: int | None,
    revision: str | None,
    burned: tuple[str, ...],
    assume: tuple[str, ...],
    qemu: bool,
    qemu_dir: Path | None,
    serve: bool,
    tcp_port: int,
    older_bundle: bool,
    output_format: str,
) -> None:
    """Run the script of BUNDLE on a virtual chip, and check that the chip boots.

    \b
    Example:
        secure-provision rehearse build/secure
        secure-provision rehearse build/secure --power-cuts

    The outcome becomes part of the bundle; `flash` asks for it. With --serve:
    espefuse and esptool can be tried on the chip until Ctrl-C.
    """
    with shown_errors(output_format):
        from secure_ext.bundle.read import store_rehearsal  # noqa: PLC0415 (loaded when used)
        from secure_ext.cli.show.rehearsal import rehearsal_text  # noqa: PLC0415
        from secure_ext.documents.rehearsal import CheckedBy  # noqa: PLC0415
        from secure_ext.per_device.throw_away import bundle_of_a_board  # noqa: PLC0415
        from secure_ext.prove.rehearsal.power_cuts import power_cuts  # noqa: PLC0415
        from secure_ext.prove.rehearsal.qemu import find_emulator, rehearse_in_qemu  # noqa: PLC0415
        from secure_ext.prove.rehearsal.rehearse import rehearse_bundle  # noqa: PLC0415

        if every and not cuts:
            raise click.UsageError("--every needs --power-cuts")
        new = _new_chip(flash_size, revision, burned, assume)
        opened = open_bundle(bundle, build_dir)
        refuse_older(opened, build_dir, accepted=older_bundle)
        if serve:
            _serve(opened, new, tcp_port)
            return
        emulator = find_emulator(opened.plan.chip, qemu_dir) if qemu else None
        with shown_progress() as progress, bundle_of_a_board(opened) as ready:
            outcome = dataclasses.replace(rehearse_bundle(ready, progress, new), bundle=opened.identity)
            if emulator and outcome.passed:
                emulated = rehearse_in_qemu(ready, progress, emulator)
                outcome = dataclasses.replace(outcome, means=(*outcome.means, emulated))
            if cuts and outcome.passed:
                report = power_cuts(ready, progress, every=every)
                counts = ", ".join(f"{number} {end}" for end, number in report.counts.items())
                means = CheckedBy("power cuts, and the script again after each", report.passed, (counts,))
                outcome = dataclasses.replace(outcome, means=(*outcome.means, means), power_cuts=report.report)
        store_rehearsal(opened, outcome.outcome)
        if output_format == "json":
            print_json(document_data(outcome.outcome))
        else:
            click.echo(rehearsal_text(outcome))
            if not outcome.means[0].passed:
                click.echo(outcome.script_output, err=True)
    if not outcome.passed:
        sys.exit(1)


def _new_chip(
    flash_size: int | None, revision: str | None, burned: tuple[str, ...], assume: tuple[str, ...]
) -> NewChip:
    from secure_ext.prove.rehearsal.script_run import NewChip  # noqa: PLC0415 (loaded when used)
    from secure_ext.prove.virtual_chip.wire_clock import Assumptions  # noqa: PLC0415 (loaded when used)

    try:
        Assumptions.of_words(assume)
    except ValueError as error:
        names = ", ".join(field.name for field in dataclasses.fields(Assumptions))
        raise click.UsageError(f"--assume is NAME=VALUE with one of {names}, not {error}") from None

    if flash_size and flash_size & (flash_size - 1):
        raise click.UsageError("--flash-size is a power of 2")
    if revision and not re.fullmatch(r"\d\.\d{1,2}", revision):
        raise click.UsageError("--revision is written as MAJOR.MINOR, such as 0.3")
    if not all(re.fullmatch(r"\d{1,2}:\d{1,3}", item) for item in burned):
        raise click.UsageError("--burned is written as BLOCK:BIT, such as 0:45")
    major, _, minor = (revision or "").partition(".")
    return NewChip(
        flash_size=flash_size * 0x100000 if flash_size else None,
        revision=int(major) * 100 + int(minor) if revision else None,
        burned=tuple((int(block), int(bit)) for block, _, bit in (item.partition(":") for item in burned)),
        assume=assume,
    )


def _serve(bundle: FinishedBundle, new: NewChip, tcp_port: int) -> None:
    from secure_ext.bundle.private_folder import virtual_chip_folder  # noqa: PLC0415
    from secure_ext.prove.rehearsal.script_run import chip_for  # noqa: PLC0415
    from secure_ext.prove.virtual_chip.process import ChipProcess  # noqa: PLC0415 (loaded when used)

    options = dataclasses.replace(chip_for(bundle, new), port=tcp_port)
    with virtual_chip_folder() as folder, ChipProcess(options, folder / "chip") as chip:
        click.echo(f"A new virtual {options.chip} is on {chip.url} until you press Ctrl-C. Each connection resets it.")
        click.echo(f"  python -m espefuse --chip {options.chip} --port {chip.url} summary")
        click.echo(f"  python -m esptool --chip {options.chip} --port {chip.url} --no-stub --after no-reset flash-id")
        if bundle.has_per_device_keys:
            click.echo(f"  {command_line('flash', bundle=bundle.folder, port=chip.url)}")
        else:
            click.echo(f"  python {bundle.script} --port {chip.url}")
        try:
            chip.wait()
        except KeyboardInterrupt:
            click.echo("gone, with all that was burned on it")
